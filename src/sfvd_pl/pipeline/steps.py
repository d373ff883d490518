"""One step of the pipeline: does nothing when nothing changed, goes on where it was cut, keeps what it replaces."""

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfvd_pl import __version__, signals
from sfvd_pl.artifacts import Artifact, canonical_json, partial_path, process_started, require_whole
from sfvd_pl.errors import ArtifactError, ConfigError, SfvdError
from sfvd_pl.pipeline.hashing import file_hash

STATE_FILE = "step.json"
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What a file system answers that has no locks, Lustre without its option ``flock`` for one."""
LEFTOVER = re.compile(r"\.(?P<name>.+)\.partial-(?P<pid>\d+)(?:-(?P<host>.+))?")


@dataclass
class Step:
    """Something that reads files and writes files.

    Attributes:
        name: Folder of the step within the run.
        config: Everything that decides its result beside the inputs.
        inputs: Files that it reads, by name.
        outputs: Files that it writes.
        action: Does it; called with whether it goes on with an earlier attempt.
        made: Says in one line what was made.
    """

    name: str
    config: dict[str, Any]
    inputs: dict[str, Path]
    outputs: list[Path]
    action: Callable[[bool], None]
    made: Callable[[], str] = field(default=lambda: "done")

    def fingerprint(self, folder: Path) -> dict[str, str]:
        """Digests of all that decides the result, by part.

        Args:
            folder: The run's; where it lies, and how it is spelled, decides nothing.
        """
        parts = {f"input {name}": file_hash(path) for name, path in sorted(self.inputs.items())}
        parts["configuration"] = hashlib.sha256(canonical_json(_without(self.config, folder)).encode()).hexdigest()
        return parts


def _without(value: Any, folder: Path) -> Any:
    """Settings with paths in a folder told from there."""
    if isinstance(value, dict):
        return {key: _without(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(item, folder) for item in value]
    if isinstance(value, str) and Path(value).is_relative_to(folder):
        return f"RUN/{Path(value).relative_to(folder)}"
    return value


class Run:
    """A folder with one run's artifacts, and the state of its steps.

    Args:
        folder: ``data/artifacts/NAME``.
        name: Name of the run.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._held: dict[Path, tuple[int, ...]] = {}
        self.lock_files: tuple[int, ...] = ()
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, *parts: str) -> Path:
        """A path within the run."""
        return self.folder.joinpath(*parts)

    @contextmanager
    def locked(self, *, together: bool = False) -> Iterator[None]:
        """One process at a time may work on a run, or any number of those that share one step's work.

        Args:
            together: This is one of the latter.

        Raises:
            ConfigError: Another one does.
        """
        with (self.folder / ".lock").open("a+") as lock:  # NFS shares a lock only on what may be read
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if together else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in WITHOUT_LOCKS:
                    say(f"{self.folder} lies on a disk without locks: see to it that one process works on it")
                else:
                    raise ConfigError(
                        "another process is working on this run",
                        file=self.folder,
                        remedy="wait for it, or choose another RUN",
                    ) from error
            self.lock_files = (lock.fileno(),)
            if not together:
                remove_leftovers(self.folder)
            try:
                yield
            finally:
                self.lock_files = ()

    def state(self, step: str) -> dict[str, Any]:
        """What is known of a step; empty when it never started."""
        path = self.path(step, STATE_FILE)
        try:
            state = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state if isinstance(state, dict) else {}

    def _save_state(self, step: Step, state: dict[str, Any]) -> None:
        folder = self.path(step.name)
        folder.mkdir(parents=True, exist_ok=True)
        partial = partial_path(folder / STATE_FILE)
        with partial.open("w", encoding="utf-8") as file:
            file.write(json.dumps(state, indent=1))
            file.flush()
            os.fsync(file.fileno())  # emptied by a power failure, it would begin a training anew
        partial.replace(folder / STATE_FILE)

    def make_room(self, step: Step) -> None:
        """Set aside what a step made with another configuration, before processes set about it together.

        Raises:
            SfvdError: An input can't be read.
        """
        if before := self.state(step.name):
            parts = step.fingerprint(self.folder)
            if before.get("fingerprint") != parts:
                self._set_aside(step, before, parts)

    def perform(self, step: Step, *, together: bool = False, again: bool = False) -> bool:
        """Do a step if there is anything to do; returns whether there was.

        Args:
            step: What to do.
            together: Other processes may be at it too, so nothing may be set aside.
            again: Do it in any case, in place of what it made before.

        Raises:
            ArtifactError: An input is missing or broken, or what the step made was changed since.
            SfvdError: Whatever the step itself refuses.
        """
        self._check_inputs(step)
        parts, before = step.fingerprint(self.folder), self.state(step.name)
        same = before.get("fingerprint") == parts
        if not again and same and before.get("status") == "done" and all(path.exists() for path in step.outputs):
            _refuse_changed(step, before)
            version = before.get("version")
            by = "" if version in (None, __version__) else f", made by version {version}"
            say(f"{step.name}: nothing to do (inputs and configuration unchanged{by}) - {before.get('made', '')}")
            return False
        resume = same and before.get("status") == "running"
        if before and not same and not again:
            if together:
                raise ConfigError(
                    "what is there was made with other settings, and other processes may be at work on it",
                    file=self.path(step.name),
                    found=", ".join(_changed(before, parts)) + " changed",
                    remedy=f"run the stage that comes before {step.name} with these settings: it sets it aside",
                )
            self._set_aside(step, before, parts)
        spent = float(before.get("seconds", 0.0)) if resume else 0.0
        state: dict[str, Any] = {"fingerprint": parts, "version": __version__, "status": "running", "seconds": spent}
        self._save_state(step, state)
        say(f"{step.name}: " + ("going on where it stopped" if resume else "starting"))
        begun = time.monotonic()
        try:
            step.action(resume)
        finally:
            state["seconds"] = spent + time.monotonic() - begun
            self._save_state(step, state)
        missing = [str(path) for path in step.outputs if not path.exists()]
        if missing and together:
            say(f"{step.name}: nothing is left to make here; {missing[0]} is put together by another process")
            return True
        if missing:
            raise ConfigError(
                f"the step {step.name} was cut off before it was done",
                file=missing[0],
                remedy="run the same command again: it goes on where it stopped",
            )
        state |= {"status": "done", "made": step.made(), "outputs": [_described(p) for p in step.outputs]}
        self._save_state(step, state)
        say(f"{step.name}: {state['made']} ({state['seconds']:.0f} s)")
        return True

    def _check_inputs(self, step: Step) -> None:
        for name, path in step.inputs.items():
            if not path.exists():
                raise ArtifactError(
                    f"the step {step.name} lacks its {name}",
                    file=path,
                    remedy="run the stages in order: make stage1 stage2 augment segment",
                )
            if path.suffix == ".h5":
                self._require_whole(path)

    def _require_whole(self, path: Path) -> None:
        """One that held is read to the last byte again only if it was written since."""
        facts = path.stat()
        mark = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if self._held.get(path) != mark:
            require_whole(path)
            self._held[path] = mark

    def _set_aside(self, step: Step, before: dict[str, Any], parts: dict[str, str]) -> None:
        """Keep what an earlier configuration made beside the run's new results."""
        folder = self.path(step.name)
        number = 1
        while (target := folder.with_name(f"{folder.name}.previous-{number}")).exists():
            number += 1
        # The folder goes last: killed in between, the next attempt finds the old state in it and moves the rest.
        for output in step.outputs:
            if output.exists() and not output.is_relative_to(folder):
                output.rename(folder / output.name)
        for leftover in step.outputs:
            shards = leftover.with_name(f"{leftover.stem}.shards")
            if shards.is_dir():
                shards.rename(folder / shards.name)
        folder.rename(target)
        say(f"{step.name}: {', '.join(_changed(before, parts))} changed; what was there is kept in {target}")


def _changed(before: dict[str, Any], parts: dict[str, str]) -> list[str]:
    """Parts of the fingerprint that are no longer what they were."""
    old = before.get("fingerprint", {})
    return sorted(key for key in {*old, *parts} if old.get(key) != parts.get(key))


def remove_leftovers(folder: Path) -> None:
    """Delete what processes of this machine that were killed had begun to write; the run's lock is held.

    Other machines may be generating for this run at the same time: what is marked as theirs and shards are
    left alone.
    """
    for path in folder.rglob(".*.partial-*"):
        match = LEFTOVER.fullmatch(path.name)
        ours = match is not None and match["host"] in (None, socket.gethostname())
        shared = any(parent.suffix == ".shards" for parent in path.parents)
        if match is not None and ours and not shared and process_started(int(match["pid"])) is None:
            path.unlink(missing_ok=True)


def _refuse_changed(step: Step, before: dict[str, Any]) -> None:
    """What a step made must still be that: a file put in its place would pass for its result."""
    made = {output["name"]: output["content_hash"] for output in before.get("outputs", [])}
    for path in step.outputs:
        expected = made.get(path.name)
        try:
            found: object = file_hash(path)
        except ArtifactError as error:
            found = error.message
        if expected is not None and found != expected:
            raise ArtifactError(
                f"this isn't what the step {step.name} made",
                file=path,
                expected=expected,
                found=found,
                remedy="put the file back, or move it elsewhere: the step then makes it anew",
            )


def _described(path: Path) -> dict[str, Any]:
    """Name, digest and patients of what a step made."""
    patients = list(Artifact.open(path).patients) if path.suffix == ".h5" else []
    return {"name": path.name, "content_hash": file_hash(path), "patients": patients}


def say(line: str) -> None:
    """One line to the terminal, at once."""
    print(line, flush=True)


def sfvd_command(
    arguments: list[str], *, isolated: bool, keep_open: tuple[int, ...] = (), launcher: tuple[str, ...] = ()
) -> None:
    """Run ``sfvd ARGUMENTS``: in this process, or in one of its own where several devices are used.

    Lightning's launcher for several devices starts the whole command again for each of them, so a pipeline step
    must then be a command by itself. Signals are passed on to it.

    Args:
        arguments: What comes behind ``sfvd``.
        isolated: In a process of its own.
        keep_open: File descriptors that such a process shares: the run's lock, should this process be killed.
        launcher: A command that starts such processes, on other machines too, as ``srun`` does.

    Raises:
        SfvdError: The command failed.
        Stopped: It was asked to stop.
    """
    if not isolated:
        from sfvd_pl.cli.main import dispatch

        dispatch(arguments)
        return
    command = [*launcher, sys.executable, "-m", "sfvd_pl", *arguments]
    try:
        status = signals.run_child(command, keep_open=keep_open)
    except OSError as error:
        raise ConfigError(
            "the launcher can't be started",
            key="--launcher",
            expected="a command such as srun",
            found=f"{command[0]}: {error.strerror}",
        ) from error
    if status:
        raise SfvdError(
            "a command of the pipeline failed",
            key=" ".join(["sfvd", *arguments[:2]]),
            expected="exit status 0",
            found=status,
            remedy="see its messages above; run the same make target again to go on",
        )
