import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import STAGES

from faults import clean_clips, with_masks, write_clips
from sfvd_pl.artifacts import Artifact

Sfvd = Callable[..., Any]


@pytest.fixture(scope="module")
def displaced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = list(clean_clips())
    clips[2] = with_masks(clips[2], np.roll(clips[2].wire_mask, (4, -3), axis=(1, 2)))
    return write_clips(tmp_path_factory.mktemp("displaced") / "source.h5", clips)


def test_a_clean_source_passes(sfvd: Sfvd, tmp_path: Path) -> None:
    path = write_clips(tmp_path / "source.h5", clean_clips())
    done = sfvd("data", "check", path)
    assert (done.status, done.err) == (0, "")
    assert "8 clips, 64 frames: nothing found" in done.out
    page = tmp_path / "source-check" / "index.html"
    assert f"page: {page}" in done.out and page.is_file()


def test_warnings_alone_pass(sfvd: Sfvd, tmp_path: Path) -> None:
    path = write_clips(tmp_path / "source.h5", clean_clips())
    done = sfvd("data", "check", path, "--out", tmp_path / "out", "--window", 128, "--limits.levels", 4)
    assert done.status == 0, done.err
    assert "8 warnings" in done.out
    assert json.loads((tmp_path / "out" / "findings.json").read_text())["counts"] == {
        "error": 0, "accepted": 0, "warning": 8,
    }  # fmt: skip


def test_an_error_fails_until_it_is_accepted(sfvd: Sfvd, displaced: Path, tmp_path: Path) -> None:
    done = sfvd("data", "check", displaced, "--out", tmp_path)
    assert done.status == 1
    assert "error: mask-beside: p03/r01" in done.out
    for fact in ("would make results false", str(displaced), "mask-beside in p03/r01", str(tmp_path / "index.html")):
        assert fact in done.err
    for accepted in ("mask-beside", "[mask-beside:p03/r01]"):
        assert sfvd("data", "check", displaced, "--out", tmp_path, "--accept", accepted).status == 0
    assert sfvd("data", "check", displaced, "--out", tmp_path, "--accept", "mask-beside:p01/r01").status == 1


def test_what_is_no_source_is_refused(sfvd: Sfvd, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    assert sfvd("data", "check", tmp_path / "x.h5").status == 1
    assert sfvd("data", "check").status == 2


def test_a_run_stops_before_it_learns_from_false_data(sfvd: Sfvd, tmp_path: Path, monkeypatch: Any) -> None:
    """The step after the source: stopped by an error, named; accepted knowingly, counted."""
    run = ["run", "stage1", "--run", "r", "--root", tmp_path, "--preset", "toy", "--stages", STAGES]
    held = ["--check.limits.patients", "0", "--check.limits.width_px", "0.4"]
    done = sfvd(*run, *held)
    assert done.status == 1
    assert "mask-thick in p01/r01" in done.err and "--check.accept" in done.err
    assert (tmp_path / "r" / "check" / "index.html").is_file()
    assert not (tmp_path / "r" / "scene").exists()
    # From here on only the steps up to the check are of interest.
    monkeypatch.setattr("sfvd_pl.pipeline.run.Pipeline._stage1", _source_and_check)
    done = sfvd(*run, *held, "--check.accept", "mask-thick")
    assert done.status == 0, done.err
    assert "source: nothing to do" in done.out
    assert "10 errors accepted" in done.out
    assert "check: nothing to do" in sfvd(*run, *held, "--check.accept", "mask-thick").out


def _source_and_check(pipeline: Any) -> list[Any]:
    from sfvd_pl.pipeline.check import check_step

    return [*pipeline._source(), check_step(pipeline.run, pipeline.source, pipeline._config("check"), {})]


@pytest.mark.parametrize("command", [["check"], ["export", "--format", "frames"]])
def test_nothing_is_made_from_a_damaged_artifact(sfvd: Sfvd, source: Path, tmp_path: Path, command: list[str]) -> None:
    """What is written names the artifact's content hash, which the content wouldn't fit."""
    damaged, content = tmp_path / "s.h5", bytearray(source.read_bytes())
    content[bytes(content).index(Artifact.open(source).rows("frames/image", 3, 4)[0].tobytes())] ^= 1
    damaged.write_bytes(content)
    done = sfvd("data", *command, damaged, "--out", tmp_path / "out")
    assert done.status == 1
    assert "does not hold" in done.err and "frames/image" in done.err
    assert not (tmp_path / "out").exists()
