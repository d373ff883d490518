import errno
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import rewritten

from sfvd_pl.artifacts import Artifact, require_whole
from sfvd_pl.errors import ArtifactError, ConfigError, SfvdError
from sfvd_pl.pipeline import steps
from sfvd_pl.pipeline.steps import Run, Step, sfvd_command


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "runs" / "r", "r")


class Work:
    """A step that copies its input and remembers how it was called."""

    def __init__(self, run: Run, **config: Any) -> None:
        self.run = run
        self.given = run.path("given.txt")
        self.out = run.path("out.txt")
        self.config: dict[str, Any] = config
        self.calls: list[bool] = []
        self.fails: Callable[[], None] = lambda: None
        if not self.given.exists():
            self.given.write_text("input")

    def step(self, name: str = "copy") -> Step:
        return Step(name, self.config, {"text": self.given}, [self.out], self._act, lambda: "copied")

    def _act(self, resume: bool) -> None:
        self.calls.append(resume)
        self.run.path("copy", "left").write_text("something")
        self.fails()
        self.out.write_text(self.given.read_text())


def test_an_unchanged_step_does_nothing_the_second_time(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(run, steps=3)
    assert run.perform(work.step())
    assert not run.perform(work.step())
    assert not Run(run.folder, "r").perform(work.step())
    assert work.calls == [False]
    assert "nothing to do" in capsys.readouterr().out
    state = run.state("copy")
    assert state["status"] == "done"
    assert state["made"] == "copied"
    assert state["outputs"][0]["name"] == "out.txt"
    assert len(state["outputs"][0]["content_hash"]) == 64


def test_a_lost_output_is_made_again_from_the_start(run: Run) -> None:
    work = Work(run)
    run.perform(work.step())
    work.out.unlink()
    assert run.perform(work.step())
    assert work.calls == [False, False]


@pytest.mark.parametrize("kind", ["file", "artifact", "damaged artifact"])
def test_an_output_put_in_place_of_what_the_step_made_is_refused(run: Run, source: Path, kind: str) -> None:
    """It would pass for this run's result."""
    work = Work(run)
    if kind != "file":
        work.out = run.path("out.h5")
        work._act = lambda resume: rewritten(source, work.out)  # type: ignore[method-assign, assignment, return-value]
    assert run.perform(work.step())
    before = run.state("copy")
    if kind == "artifact":
        work.out.unlink()
        rewritten(source, work.out, patients=["somebody else"])
    elif kind == "damaged artifact":
        work.out.write_bytes(work.out.read_bytes()[:-100])
    else:
        work.out.write_text("another result")
    with pytest.raises(ArtifactError, match=r"isn't what the step copy made[\s\S]*then makes it anew"):
        run.perform(work.step())
    assert run.state("copy") == before
    work.out.rename(run.path("elsewhere"))
    assert run.perform(work.step())


def _fail(error: type[BaseException]) -> Callable[[], None]:
    def fail() -> None:
        raise error("broke")

    return fail


@pytest.mark.parametrize("error", [SfvdError, RuntimeError, KeyboardInterrupt])
def test_a_failed_action_leaves_no_done_and_the_next_call_goes_on(run: Run, error: type[BaseException]) -> None:
    work = Work(run)
    work.fails = _fail(error)
    with pytest.raises(error):
        run.perform(work.step())
    assert run.state("copy")["status"] == "running"
    work.fails = lambda: None
    assert run.perform(work.step())
    assert work.calls == [False, True]
    assert run.state("copy")["status"] == "done"


def test_seconds_of_all_attempts_add_up(run: Run) -> None:
    work = Work(run)

    def slow() -> None:
        time.sleep(0.05)
        raise RuntimeError

    work.fails = slow
    with pytest.raises(RuntimeError):
        run.perform(work.step())
    work.fails = lambda: time.sleep(0.05)
    run.perform(work.step())
    assert run.state("copy")["seconds"] >= 0.1


def test_an_action_that_returns_without_its_output_is_not_done(run: Run) -> None:
    """So ends a training that was asked to stop."""
    step = Step("copy", {}, {}, [run.path("never.txt")], lambda resume: None)
    with pytest.raises(ConfigError, match="cut off before it was done"):
        run.perform(step)
    assert run.state("copy")["status"] == "running"


@pytest.mark.parametrize("what", ["configuration", "input text"])
def test_a_change_sets_the_old_results_aside(run: Run, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(run, steps=3)
    run.perform(work.step())
    for number, change in enumerate((4, 5), start=1):
        old = work.out.read_text()
        if what == "configuration":
            work.config = {"steps": change}
        else:
            work.given.write_text(f"other input {change}")
        assert run.perform(work.step())
        kept = run.path(f"copy.previous-{number}")
        assert (kept / "out.txt").read_text() == old
        assert (kept / "left").exists()
        assert json.loads((kept / "step.json").read_text())["status"] == "done"
        assert f"{what} changed" in capsys.readouterr().out
    assert work.calls == [False, False, False]
    assert not run.perform(work.step())


def test_a_change_in_the_middle_starts_anew_instead_of_resuming(run: Run) -> None:
    work = Work(run, steps=3)
    work.fails = _fail(RuntimeError)
    with pytest.raises(RuntimeError):
        run.perform(work.step())
    shards = run.path("out.shards")
    shards.mkdir()
    work.config, work.fails = {"steps": 9}, lambda: None
    run.perform(work.step())
    assert work.calls == [False, False]
    assert not shards.exists()
    assert run.path("copy.previous-1", "out.shards").is_dir()


def test_another_version_of_the_package_is_said_and_makes_nothing_anew(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(run)
    run.perform(work.step())
    monkeypatch.setattr("sfvd_pl.pipeline.steps.__version__", "99")
    assert not run.perform(work.step())
    assert "made by version" in capsys.readouterr().out


def test_steps_in_a_folder_of_folders_are_set_aside_beside_themselves(run: Run) -> None:
    work = Work(run, steps=1)
    run.path("copy").mkdir()
    run.perform(work.step("segment/real"))
    work.config = {"steps": 2}
    run.perform(work.step("segment/real"))
    assert run.path("segment", "real.previous-1", "step.json").exists()
    assert run.path("segment", "real", "step.json").exists()


def test_one_process_at_a_time(run: Run) -> None:
    with run.locked():
        with pytest.raises(ConfigError, match="another process is working on this run"), run.locked():
            pass
        with Run(run.folder.with_name("other"), "other").locked():
            pass
    with run.locked():
        pass


def test_processes_that_share_a_step_lock_out_all_others(run: Run) -> None:
    with run.locked(together=True):
        with Run(run.folder, "r").locked(together=True):
            pass
        with pytest.raises(ConfigError, match="another process"), Run(run.folder, "r").locked():
            pass
    with run.locked(), pytest.raises(ConfigError, match="another process"), Run(run.folder, "r").locked(together=True):
        pass


def test_a_disk_without_locks_is_said_and_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(steps.fcntl, "flock", flock)
    with run.locked():
        pass
    assert "a disk without locks" in capsys.readouterr().out


def test_nothing_is_set_aside_where_others_may_be_at_work(run: Run) -> None:
    work = Work(run, steps=3)
    assert run.perform(work.step(), together=True)
    assert not run.perform(work.step(), together=True)
    work.config = {"steps": 4}
    with pytest.raises(ConfigError, match="other settings") as refused:
        run.perform(work.step(), together=True)
    assert refused.value.found == "configuration changed"
    assert work.out.exists()
    run.make_room(work.step())  # by the stage before it
    assert not work.out.exists()
    assert (run.path("copy.previous-1") / "out.txt").exists()
    assert run.perform(work.step(), together=True)
    run.make_room(work.step())  # nothing has changed
    assert work.out.exists()


def test_a_dead_process_leaves_no_lock(run: Run) -> None:
    code = (
        "import os, sys; from pathlib import Path; from sfvd_pl.pipeline.steps import Run\n"
        "lock = Run(Path(sys.argv[1]), 'r').locked(); lock.__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(run.folder)], check=False).returncode == 9
    with run.locked():
        pass


def test_a_missing_input_is_named(run: Run) -> None:
    step = Step("scene", {}, {"source": run.path("source.h5")}, [], lambda resume: None)
    with pytest.raises(ArtifactError, match=r"lacks its source[\s\S]*source\.h5[\s\S]*make stage1"):
        run.perform(step)
    assert run.state("scene") == {}


def test_a_broken_artifact_is_refused_before_anything_runs(run: Run, source: Path) -> None:
    broken = run.path("source.h5")
    content = bytearray(source.read_bytes())
    pixels = Artifact.open(source).rows("frames/image", 7, 8)[0].tobytes()
    place = bytes(content).index(pixels)
    content[place + 5] ^= 0xFF
    broken.write_bytes(content)
    ran = []
    step = Step("scene", {}, {"source": broken}, [], ran.append)
    with pytest.raises(ArtifactError, match="does not hold"):
        run.perform(step)
    assert ran == []


def test_an_input_is_read_to_the_last_byte_once_and_again_when_it_was_written(
    run: Run, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, read = run.path("source.h5"), []
    given.write_bytes(source.read_bytes())
    monkeypatch.setattr("sfvd_pl.pipeline.steps.require_whole", lambda path: read.append(path) or require_whole(path))
    steps = [Step(name, {}, {"source": given}, [], lambda resume: None) for name in ("scene", "guide", "gate")]
    for step in steps:
        run.perform(step)
    assert read == [given]
    content = bytearray(given.read_bytes())
    content[bytes(content).index(Artifact.open(given).rows("frames/image", 7, 8)[0].tobytes())] ^= 1
    given.write_bytes(content)
    for _ in range(2):
        with pytest.raises(ArtifactError, match="does not hold"):
            run.perform(steps[0])
    assert read == [given] * 3


def test_an_artifact_rewritten_with_the_same_content_is_no_change(run: Run, source: Path) -> None:
    work = Work(run)
    work.given = run.path("given.h5")
    rewritten(source, work.given)
    work._act = lambda resume: work.out.write_text("made")  # type: ignore[method-assign, assignment, return-value]
    run.perform(work.step())
    work.given.unlink()
    rewritten(source, work.given)
    assert not run.perform(work.step())


def test_an_unreadable_state_counts_as_none(run: Run) -> None:
    work = Work(run)
    run.perform(work.step())
    run.path("copy", "step.json").write_text("{")
    assert run.state("copy") == {}
    assert run.perform(work.step())


def test_a_command_of_its_own_process_reports_failure() -> None:
    with pytest.raises(SfvdError, match="found: 2"):
        sfvd_command(["nonsense"], isolated=True)


def test_a_command_is_started_by_the_launcher(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    launcher = ("sh", "-c", f'echo "$@" > "{seen}"; exec "$@"', "launcher")
    sfvd_command(["--version"], isolated=True, launcher=launcher)
    assert seen.read_text().split()[1:] == ["-m", "sfvd_pl", "--version"]


def test_a_launcher_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="launcher") as refused:
        sfvd_command(["--version"], isolated=True, launcher=("srun-that-is-nowhere",))
    assert "srun-that-is-nowhere" in str(refused.value)


def test_what_a_killed_process_had_begun_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    host = socket.gethostname()
    gone = [f".source.h5.partial-{ended.pid}-{host}", f".step.json.partial-{ended.pid}"]
    kept = [f".source.h5.partial-{os.getpid()}-{host}", f".source.h5.partial-{ended.pid}-elsewhere"]
    kept += [f"a.shards/.0.h5.partial-{ended.pid}-{host}", "source.h5"]
    for name in (*gone, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with Run(tmp_path, "toy").locked():
        pass
    assert {name for name in (*gone, *kept) if (tmp_path / name).exists()} == set(kept)


def test_one_of_several_may_leave_the_end_to_another(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Its part is made, and the last one is still putting the artifact together."""
    work = Work(run)
    elsewhere = Step("copy", {}, {"text": work.given}, [work.out], lambda resume: None)
    with pytest.raises(ConfigError, match="was cut off"):
        run.perform(elsewhere)
    assert run.perform(elsewhere, together=True)
    assert "put together by another process" in capsys.readouterr().out
    assert run.state("copy")["status"] == "running"


def test_half_a_state_of_a_killed_process_is_removed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Work(run).step()
    monkeypatch.setattr(steps.os, "fsync", lambda _: os._exit(9))
    process = multiprocessing.get_context("fork").Process(target=run.perform, args=(step,))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    assert len(list(run.folder.rglob(".*.partial-*"))) == 1
    with run.locked():
        assert not list(run.folder.rglob(".*.partial-*"))
