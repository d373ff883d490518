"""The largest batch that fits, found by trial; the training stays the same."""

import json
import os
from pathlib import Path

import pytest
from processes import at_call, run
from toy import STAGES

from sfvd_pl.cli import batch_size
from sfvd_pl.cli.batch_size import Trial, find_batch_size, largest_that_fits, take_flags
from sfvd_pl.errors import ConfigError, TrainingError
from sfvd_pl.modules.memory import PEAK_FILE
from sfvd_pl.modules.scene import SceneModule


@pytest.mark.parametrize("configured", [(1, 24), (4, 6), (6, 4), (24, 1)])
@pytest.mark.parametrize("room", [1, 2, 5, 8, 23, 24, 99])
def test_the_search_finds_the_largest_divisor_that_fits(configured: tuple[int, int], room: int) -> None:
    def probe(size: int | None, accumulate: int | None) -> Trial:
        size, accumulate = (size, accumulate) if size and accumulate else configured
        assert size * accumulate == 24
        return Trial(size, accumulate, size <= room, size * 2**30)

    best, trials = largest_that_fits(probe)
    assert best.batch_size == max(size for size in (1, 2, 3, 4, 6, 8, 12, 24) if size <= room)
    assert best.batch_size * best.accumulate == 24
    assert len(trials) == len({trial.batch_size for trial in trials}) <= 5


def test_groups_of_windows_are_not_divided() -> None:
    def probe(size: int | None, accumulate: int | None) -> Trial:
        return Trial(size or 12, accumulate or 2, (size or 12) < 10, None, unit=4)

    best, trials = largest_that_fits(probe)
    assert (best.batch_size, best.accumulate) == (8, 3)
    assert {trial.batch_size % 4 for trial in trials} == {0}


def test_nothing_fits() -> None:
    with pytest.raises(TrainingError, match="gradient_checkpointing"):
        largest_that_fits(lambda size, accumulate: Trial(size or 4, accumulate or 1, False, None))


def test_too_much_for_the_limit_alone_is_told_so() -> None:
    with pytest.raises(TrainingError, match=r"3.00 GiB with 1, more than --memory_limit_gb"):
        largest_that_fits(lambda size, accumulate: Trial(size or 4, accumulate or 1, False, 3 * 2**30, ended=True))


@pytest.mark.parametrize("args", [[], ["predict", "--out", "x"]])
def test_only_for_trainings(args: list[str]) -> None:
    with pytest.raises(ConfigError, match="only a training"):
        find_batch_size("scene", args, None)


def test_flags() -> None:
    assert take_flags(["fit", "--a", "1"]) == (["fit", "--a", "1"], False, None)
    assert take_flags(["fit", "--find_batch_size", "--a", "1"]) == (["fit", "--a", "1"], True, None)
    assert take_flags(["fit", "--find_batch_size=true", "--memory_limit_gb=1.5"]) == (["fit"], True, 1.5)
    assert take_flags(["fit", "--find_batch_size", "false"]) == (["fit"], False, None)
    with pytest.raises(ConfigError, match="memory_limit_gb"):
        take_flags(["fit", "--memory_limit_gb", "much"])


def _fit(source: Path, folder: Path) -> list[object]:
    command: list[object] = ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source]
    return [*command, "--run_dir", folder]


def test_trials_are_trainings_of_their_own_and_an_artificial_limit_holds(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forked instead of started, so that it is quick; two samples want too much."""
    seen: list[list[str]] = []

    def forked(command: list[str]) -> int:
        assert command[1:3] == ["-m", "sfvd_pl"]
        seen.append(command[3:])
        given = [value for key, value in zip(command, command[1:], strict=False) if key == "--data.batch_size"]
        size = given[-1] if given else "2"

        def greedy() -> None:
            if size != "1":
                raise MemoryError("artificial")

        path = {PEAK_FILE: os.environ[PEAK_FILE]}
        act = at_call(SceneModule, "training_step", 2, greedy)
        return run(command[3:], tmp_path / "log.txt", environment=path, prepare=act)

    monkeypatch.setattr(batch_size.signals, "run_child", forked)
    args = [str(a) for a in _fit(source, tmp_path / "untouched")]
    best = find_batch_size("scene", args[1:], None)
    assert (best.batch_size, best.accumulate, best.fits) == (1, 2, True)
    assert best.peak is not None
    assert best.peak > 2**20
    out = capsys.readouterr().out
    assert "--data.batch_size 1 --trainer.accumulate_grad_batches 2" in out
    assert not (tmp_path / "untouched").exists()
    assert len(seen) == 2
    with pytest.raises(TrainingError, match="the smallest batch"):
        find_batch_size("scene", [*args[1:], "--data.batch_size", "1"], 0.001)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (MemoryError(), "data.batch_size 2"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPUAllocator"),
        (RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), "Tried to allocate"),
    ],
)
def test_out_of_memory_says_what_was_asked_and_what_to_lower(
    source: Path, tmp_path: Path, error: Exception, shown: str
) -> None:
    def raises() -> None:
        raise error

    log, peak = tmp_path / "log.txt", tmp_path / "peak.json"
    act = at_call(SceneModule, "training_step", 2, raises)
    assert run(_fit(source, tmp_path), log, environment={PEAK_FILE: str(peak)}, prepare=act) == 1
    text = log.read_text()
    assert "the memory doesn't suffice" in text
    assert shown in text
    assert "data.window 32" in text
    assert "gradient_checkpointing" in text
    assert "Traceback" not in text
    assert json.loads(peak.read_text())["out_of_memory"] is True
