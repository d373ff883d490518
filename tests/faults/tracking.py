"""A training and Weights & Biases, when either is in trouble: ``python -m tests.faults.tracking``.

A toy training (real processes, real files) logs to a stand-in server on this machine. Each case does something to the
training, the server or a disk. In the end the server must have one run with every row of a training that nobody
disturbed, in its order and once, or it must get there by ``sfvd wandb``; and the training must end with status 0, with
the same bytes of ``model.ckpt`` as without W&B, and wait a bounded time for it, whatever the server does. Prints a
table; status 1 where a case falls short. Not part of the tests, which keep short versions. As root it also fills a
small tmpfs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
os.environ |= {"OMP_NUM_THREADS": "1"}

from processes import Prepare, at_call, die, ended, in_the_middle_of_writing, start
from toy import SPLIT, toy_clips
from tracked_training import SECONDS, STAGE, Training
from tracking_server import KEY, TrackedRun, TrackingServer, curves

import sfvd_pl.cli.stage
import sfvd_pl.cli.wandb  # noqa: F401
from sfvd_pl.modules.upload import FINISH_SECONDS
from sfvd_pl.sources.write import write_source

MARGIN = 3.0
"""Seconds by which a process may end late on a machine that others use, too."""


def expect(server: TrackingServer, expected: dict[tuple[int, str], Any]) -> TrackedRun:
    """The one run of a server, which must have every row."""
    if len(server.runs) != 1:
        raise AssertionError(f"the server has {len(server.runs)} runs")
    (run,) = server.runs.values()
    found = curves(run)
    if found != expected:
        missing = sorted(set(expected) - set(found))
        raise AssertionError(f"missing {missing[:5]}, too much {sorted(set(found) - set(expected))[:5]}")
    return run


def hand_over(training: Training, server: TrackingServer) -> None:
    """The documented command."""
    environment = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
    status = ended(start(["wandb", training.folder], training.log, environment=environment), SECONDS)
    if status:
        raise AssertionError(f"sfvd wandb ended with {status}: {training.log.read_text()[-800:]}")


# -- the training is in trouble --------------------------------------------------------------------------------


def terminate() -> None:
    """As a scheduler does."""
    os.kill(os.getpid(), signal.SIGTERM)


PLACES: list[Prepare] = [
    at_call(STAGE, "training_step", 2, terminate),
    at_call(STAGE, "training_step", 3),
    in_the_middle_of_writing(2),
    at_call(STAGE, "validation_step", 1, terminate),
    at_call(STAGE, "validation_step", 1),
    at_call(STAGE, "training_step", 5, terminate),
    at_call(STAGE, "on_validation_epoch_end", 1, die),
]
"""Where an attempt is stopped or killed."""


def disturbed(training: Training, environments: list[dict[str, str]]) -> None:
    """One attempt for each place, then one to the end."""
    for number, place in enumerate(PLACES):
        status = training.attempt(environments[number % len(environments)], place)
        if status not in (75, -signal.SIGKILL):
            raise AssertionError(f"attempt {number} ended with {status}: {training.log.read_text()[-800:]}")
    training.finish(environments[len(PLACES) % len(environments)])


def killed_online(training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]) -> str:
    """Stopped and killed at set places."""
    disturbed(training, [server.environment()])
    run = expect(server, expected)
    return f"{len(PLACES) + 1} attempts, 1 run resumed {run.resumed} times, {len(run.history)} rows"


def kill_uploads(folder: Path) -> None:
    """SIGKILL to the processes that hand over journals of a folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue  # it has ended
        if "sfvd_pl.modules.upload" in words and any(word.startswith(f"{folder}/") for word in words):
            os.kill(int(path.parent.name), signal.SIGKILL)


def killed_anywhere(training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]) -> str:
    """SIGKILL to the training, or to its upload as well, at random moments."""
    rng = random.Random(0)
    kills, training.slow = 0, 0.15
    while kills < 12:
        process = training.begin(server.environment())
        process.join(rng.uniform(0.8, 2.5))
        if process.exitcode is not None:
            break
        if kills % 2:
            kill_uploads(training.folder)
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    training.finish(server.environment())
    run = expect(server, expected)
    return f"killed {kills} times, 1 run resumed {run.resumed} times, {len(run.history)} rows"


def offline_then_command(
    training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]
) -> str:
    """All attempts offline, handed over by one command; a second time it has nothing to do."""
    disturbed(training, [{"WANDB_MODE": "offline"}])
    if server.runs:
        raise AssertionError("something was sent")
    hand_over(training, server)
    before = len(expect(server, expected).history)
    hand_over(training, server)
    if len(expect(server, expected).history) != before:
        raise AssertionError("the second time handed something over")
    return f"{len(PLACES) + 1} attempts offline, then sfvd wandb: 1 run, {before} rows"


def in_turns(training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]) -> str:
    """One attempt online, the next one offline."""
    disturbed(training, [server.environment(), {"WANDB_MODE": "offline"}])
    hand_over(training, server)
    run = expect(server, expected)
    return f"{len(PLACES) + 1} attempts in turns: 1 run, {len(run.history)} rows"


# -- W&B is in trouble -----------------------------------------------------------------------------------------


def from_the_start(failing: int | None = None, **change: str) -> Callable[..., str]:
    """Something is wrong before the training begins; it has to come to its end without the server.

    Args:
        failing: The HTTP status of every answer, or 0 for no answer at all.
        change: Of the environment.
    """

    def case(training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]) -> str:
        server.failing = failing
        environment = server.environment() | change
        training.finish({name: value for name, value in environment.items() if value})
        if server.runs:
            raise AssertionError("something was sent")
        server.failing = None
        hand_over(training, server)
        expect(server, expected)
        return "kept; sfvd wandb: all rows"

    return case


def meanwhile(act: Callable[[TrackingServer], None]) -> Callable[..., str]:
    """Something happens to the server when it has the first rows."""

    def case(training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]) -> str:
        thread = threading.Thread(target=lambda: server.connected() and act(server))
        thread.start()
        training.finish(server.environment())
        thread.join()
        if not server.runs:
            raise AssertionError("the server was never reached")
        server.failing = None
        again = TrackingServer()
        again.runs = server.runs
        try:
            hand_over(training, again)
        finally:
            again.close()
        expect(again, expected)
        return "sfvd wandb: all rows"

    return case


def fall_silent(server: TrackingServer) -> None:
    """No more answers."""
    server.failing = 0


def break_down(server: TrackingServer) -> None:
    """Every request fails."""
    server.failing = 500


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A tmpfs."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room."""
    with suppress(OSError), (folder / "rubbish").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def disk(kind: str) -> Callable[..., str]:
    """The folder in which W&B's client keeps its files is full, becomes so, or can't be written."""

    def case(training: Training, server: TrackingServer, expected: dict[tuple[int, str], Any]) -> str:
        if os.geteuid():
            return "left out: needs root for a tmpfs"
        folder = training.folder / "wandb"
        with small_disk(folder, "512k"):
            if kind == "full":
                fill(folder)
            if kind == "read-only":
                subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
            later = threading.Thread(target=lambda: server.connected(20) and fill(folder))
            if kind == "full later":
                later.start()
            training.finish(server.environment())
            if kind == "full later":
                later.join()
            if kind != "read-only" and os.statvfs(folder).f_bavail:
                raise AssertionError("the disk was not full")
        hand_over(training, server)
        expect(server, expected)
        return "sfvd wandb: all rows"

    return case


CASES: dict[str, Callable[..., str]] = {
    "killed at set places, online": killed_online,
    "killed anywhere, online": killed_anywhere,
    "killed at set places, offline": offline_then_command,
    "online and offline in turns": in_turns,
    "no login": from_the_start(WANDB_API_KEY="", WANDB_MODE="", HOME="/nonexistent"),
    "server refuses connections": from_the_start(WANDB_BASE_URL="http://127.0.0.1:9"),
    "server never answers": from_the_start(0),
    "server answers 500": from_the_start(500),
    "server answers 401": from_the_start(401),
    "server dies in the middle": meanwhile(TrackingServer.close),
    "server falls silent in the middle": meanwhile(fall_silent),
    "server breaks down in the middle": meanwhile(break_down),
    "W&B's folder on a full disk": disk("full"),
    "W&B's disk full in the middle": disk("full later"),
    "W&B's folder read-only": disk("read-only"),
}


def perform(name: str, training: Training, off: Training, expected: dict[tuple[int, str], Any]) -> tuple[str, str]:
    """One case: how long the training waited for W&B, where it came to its end at once, and what happened."""
    server = TrackingServer()
    try:
        what = CASES[name](training, server, expected)
    finally:
        server.close()
    if what.startswith("left out"):
        return "", what
    if training.model() != off.model():
        raise AssertionError("the model differs from that of the training without W&B")
    if not in_one_attempt(name):
        return "", what
    extra = training.waited
    if extra > FINISH_SECONDS + MARGIN:
        raise AssertionError(f"the training waited {extra:.1f} s")
    if len(training.warnings) > 1:
        raise AssertionError(f"more than one warning: {training.warnings}")
    return f"{extra:.1f} s", f"{what}; {' '.join(training.warnings)[:110] or 'no warning'}"


def in_one_attempt(name: str) -> bool:
    """Whether the training of a case is not disturbed itself."""
    return "killed" not in name and "turns" not in name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), help="which (default: all)")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="sfvd-tracking-") as folder:
        root = Path(folder)
        write_source(root / "source.h5", list(toy_clips()), split=SPLIT, seed=3, config={}, progress=False)
        off = Training(root, "off", 0.1)
        off.finish({"WANDB_MODE": "disabled"})
        server = TrackingServer()
        unbroken = Training(root, "unbroken", 0.1)
        unbroken.finish(server.environment())
        expected = curves(next(iter(server.runs.values())))
        server.close()
        print(f"undisturbed, {len(expected)} values: waited {unbroken.waited:.1f} s\n")
        print(f"{'case':<34} {'result':<8} {'waited':>7}  what happened", flush=True)
        for number, name in enumerate(arguments.cases):
            training = Training(root, f"case-{number}", 0.1 if in_one_attempt(name) else 0.0)
            try:
                waited, what = perform(name, training, off, expected)
                result = "left out" if what.startswith("left out") else "equal"
            except AssertionError as failure:
                waited, result, what = "", "FAILED", str(failure)
                failed += 1
            print(f"{name:<34} {result:<8} {waited:>7}  {what}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
