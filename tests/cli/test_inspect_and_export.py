"""``sfvd data verify``, ``show`` and ``export`` through the command line."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from generation import write_toy_scenes
from PIL import Image
from toy import write_synthetic, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind


@pytest.fixture
def run(tmp_path: Path) -> Path:
    source = write_toy_source(tmp_path / "source.h5")
    write_toy_scenes(tmp_path / "scenes.h5", source)
    write_synthetic(tmp_path / "synthetic.h5", source)
    return tmp_path


def test_verify_names_what_it_compared_and_what_not(sfvd, run: Path) -> None:  # type: ignore[no-untyped-def]
    done = sfvd("data", "verify", run / "source.h5", run / "scenes.h5", run / "synthetic.h5")
    assert done.status == 0
    assert done.out.count(": holds (") == 3
    assert done.out.count(f"made from source ({run / 'source.h5'})") == 2
    (run / "source.h5").rename(run / "elsewhere.h5")
    done = sfvd("data", "verify", run / "scenes.h5")
    assert done.status == 0
    assert "not at hand, so not compared: source" in done.out
    done = sfvd("data", "verify", run / "scenes.h5", "--parents", f"source={run / 'elsewhere.h5'}")
    assert f"made from source ({run / 'elsewhere.h5'})" in done.out


def test_verify_names_a_swapped_parent_and_an_edited_attribute(sfvd, run: Path) -> None:  # type: ignore[no-untyped-def]
    write_toy_source(run / "other.h5", seed=8).replace(run / "source.h5")
    with h5py.File(run / "synthetic.h5", "r+") as file:
        file.attrs.modify("created", "2020-01-01T00:00:00+00:00")
    done = sfvd("data", "verify", run / "scenes.h5", run / "synthetic.h5")
    assert done.status == 1
    assert "parents['source']: made from" in done.out
    assert "an attribute was changed after the artifact was written" in done.out
    assert "2 of 2 artifacts do not hold" in done.err
    done = sfvd("data", "verify", run / "scenes.h5", "--parents", "source")
    assert done.status == 1
    assert "NAME=FILE" in done.err


def test_verify_checks_a_folder_of_shards(sfvd, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.shards").mkdir()
    done = sfvd("data", "verify", tmp_path / "a.shards")
    assert done.status == 1
    assert "doesn't say which shards it is to hold" in done.out


def test_show_draws_a_sheet_but_never_over_a_file(sfvd, run: Path) -> None:  # type: ignore[no-untyped-def]
    done = sfvd("data", "show", run / "scenes.h5")
    assert done.status == 0
    assert "scenes artifact" in done.out
    assert f"contact sheet: {run / 'scenes.png'}" in done.out
    assert min(Image.open(run / "scenes.png").size) > 100
    (run / "scenes.png").write_text("mine")
    done = sfvd("data", "show", run / "scenes.h5")
    assert done.status == 0
    assert "exists already and is left alone" in done.out
    done = sfvd("data", "show", run / "scenes.h5", "--out", run / "scenes.png")
    assert done.status == 1
    assert (run / "scenes.png").read_text() == "mine"
    done = sfvd("data", "show", run / "synthetic.h5", "--out", run / "new" / "sheet.png", "--clips", "1")
    assert done.status == 0
    assert Image.open(run / "new" / "sheet.png").height < 400
    assert sfvd("data", "show", run / "synthetic.h5", "--clips", "0").status == 0
    assert not (run / "synthetic.png").exists()
    assert sfvd("data", "show", run / "synthetic.h5", "--clips", "-1").status == 1
    assert sfvd("data", "show", run / "none.h5").status == 1


def test_export_and_import_again(sfvd, run: Path) -> None:  # type: ignore[no-untyped-def]
    arguments = ["data", "export", run / "source.h5", "--format", "frames", "--clips", '["p0*"]']
    done = sfvd(*arguments, "--out", run / "frames")
    assert done.status == 0
    assert "10 clips as frames" in done.out
    done = sfvd("data", "import", run / "frames", "--out", run / "again.h5", "--workers", "1")
    assert done.status == 0, done.err
    before, after = Artifact.open(run / "source.h5"), Artifact.open(run / "again.h5", Kind.SOURCE)
    order = [list(after.column("clips/name")).index(name) for name in before.column("clips/name")]
    for row, other in enumerate(order):
        np.testing.assert_array_equal(after.clip_rows("frames/image", other), before.clip_rows("frames/image", row))


def test_accepted_clips_only_as_the_flag_says(sfvd, run: Path) -> None:  # type: ignore[no-untyped-def]
    def names(*flags: str) -> set[str]:
        out = run / f"out{len(list(run.iterdir()))}"
        done = sfvd("data", "export", run / "synthetic.h5", "--format", "frames", *flags, "--out", out)
        assert done.status == 0, done.err
        return {path.name for path in (out / "synthetic").iterdir()}

    assert names("--accepted") == names() == names("--accepted", "true") == {f"00000{k}" for k in (0, 2, 3, 5)}
    assert len(names("--accepted", "false")) == 6
    done = sfvd("data", "export", run / "source.h5", "--format", "frames", "--accepted", "--out", run / "refused")
    assert done.status == 1
    assert "no gate has judged these clips" in done.err
    assert not (run / "refused").exists()


def test_export_says_what_it_left_out_and_refuses_what_it_cannot(sfvd, run: Path) -> None:  # type: ignore[no-untyped-def]
    arguments = ["data", "export", run / "synthetic.h5", "--format", "nnunet"]
    arguments += ["--dataset-id", "9", "--dataset-name", "X"]
    done = sfvd(*arguments, "--out", run / "nn")
    assert done.status == 0, done.err
    assert "2 that the gate rejected left out" in done.out
    assert json.loads((run / "nn" / "Dataset009_X" / "dataset.json").read_text())["numTraining"] == 20
    done = sfvd(*arguments, "--out", run / "nn")
    assert done.status == 1
    assert "holds something already" in done.err
    assert sfvd("data", "export", run / "none.h5", "--format", "mp4", "--out", run / "x").status == 1
    assert not (run / "x").exists()
