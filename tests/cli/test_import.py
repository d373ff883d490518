"""``sfvd data import`` and the source step with clips of one's own, through the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dicom_files import write_dicom
from pictures import write_pictures
from toy import STAGES, WINDOW, toy_clips

from sfvd_pl.artifacts import Artifact, Kind, verify

Sfvd = Callable[..., Any]


@pytest.fixture
def mixed(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three patients in pictures, an unlabelled stack of one of them, a DICOM file of a fourth."""
    monkeypatch.setenv("SFVD_SALT", "pepper")
    clip = toy_clips()[0]
    np.save(pictures / clip.patient / "stack.npy", clip.image.astype(np.uint16) * 200)
    write_dicom(pictures / "export" / "IM1", toy_clips()[9].image)
    return pictures


def test_every_kind_in_one_folder(sfvd: Sfvd, mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.h5"
    done = sfvd("data", "import", mixed, "--out", out, "--workers", 2, "--dicom.crop_shutter", "false")
    assert done.status == 0, done.err
    assert verify(out) == []
    artifact = Artifact.open(out, Kind.SOURCE)
    assert sorted(artifact.column("clips/origin")) == ["dicom", "frames", "frames", "frames", "npy"]
    assert "warning: 2 clips" in done.out and "can't be checked" in done.out
    assert artifact.config["import"]["dicom"]["crop_shutter"] is False
    assert "workers" not in artifact.config["import"]


@pytest.mark.parametrize("switch", [["--keep-going"], ["--keep_going", "true"], ["--keep-going=true"]])
def test_what_is_bad_stops_or_is_passed_over(
    sfvd: Sfvd, mixed: Path, tmp_path: Path, switch: list[str]
) -> None:
    bad = next(mixed.glob("*/*/images/*.png"))
    bad.write_bytes(bad.read_bytes()[:100])
    (mixed / "export" / "IM2.dcm").write_bytes(b"nothing")
    out = tmp_path / "s.h5"
    command = ["data", "import", mixed, "--workers", 1, "--out", out]
    for refused in (command, [*command, "--keep-going", "false"]):
        done = sfvd(*refused)
        assert done.status == 1 and done.err.count("sfvd: ") == 1 and not out.exists()
    done = sfvd(*command, *switch, "--split.val_fraction", 0.2)
    assert done.status == 0, done.err
    run = bad.parents[1]
    assert f"skipped {run.parent.name}/{run.name}: " in done.out and "IM2.dcm" in done.out
    assert Artifact.open(out).n_clips == 4


def test_bright_wires_are_found_and_inverted(sfvd: Sfvd, tmp_path: Path) -> None:
    for clip in toy_clips()[::2][:3]:
        write_pictures(tmp_path / "clips", clip.inverted(), frames=4)
    command = ["data", "import", tmp_path / "clips", "--out", tmp_path / "s.h5", "--workers", 1]
    done = sfvd(*command)
    assert done.status == 1 and "brighter" in done.err and "--polarity invert" in done.err
    assert sfvd(*command, "--polarity", "invert").status == 0
    artifact = Artifact.open(tmp_path / "s.h5")
    first = {clip.name: clip for clip in toy_clips()}[str(artifact.column("clips/name")[0])]
    assert np.array_equal(artifact.clip_rows("frames/image", 0), first.image[:4])
    assert set(artifact.column("clips/source_scale")) == {-1.0}


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--polarity", "sideways"], 2, "polarity"),
        (["--workers", "0"], 1, "workers"),
        (["--workers", "several"], 2, "workers"),
        (["--labels", "/nowhere.json"], 1, "nowhere.json"),
        (["--patients", "/nowhere.csv"], 1, "nowhere.csv"),
        (["--patient_pattern", "("], 1, "regular expression"),
        (["--wire_width", "-3"], 1, "wire_width"),
        (["--dicom.voi", "sometimes"], 2, "voi"),
        (["--no-such-key", "1"], 2, "no_such_key"),
    ],
)
def test_settings_that_are_wrong(
    sfvd: Sfvd, pictures: Path, tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    done = sfvd("data", "import", pictures, "--out", tmp_path / "s.h5", *arguments)
    assert done.status == status, done.err
    assert says in done.err.replace("-", "_") or says in done.err
    assert not (tmp_path / "s.h5").exists()


def run_source(sfvd: Sfvd, root: Path, data: Path, *extra: object) -> Any:
    base = [
        "run",
        "source",
        "--run",
        "own",
        "--root",
        root,
        "--preset",
        "toy",
        "--stages",
        STAGES,
        "--seed",
        3,
    ]
    return sfvd(*base, "--data", data, *extra)


def test_the_source_step_takes_settings_of_the_import(sfvd: Sfvd, mixed: Path, tmp_path: Path) -> None:
    labels = tmp_path / "more.csv"
    labels.write_text("clip,frame,x,y,width\nstack,1,3,3,2\nstack,1,30,30,2\n")
    (mixed / toy_clips()[0].patient / "torn.npy").write_bytes(b"?")
    settings = ["--source.polarity", "keep", "--source.keep_going", "true", "--source.labels", labels]
    settings += ["--source.dicom.join_series=false", "--source.workers", 1]
    done = run_source(sfvd, tmp_path / "runs", mixed, *settings)
    assert done.status == 0, done.err
    source = Artifact.open(tmp_path / "runs" / "own" / "source.h5")
    assert (
        source.config["import"]["polarity"] == "keep"
        and source.config["import"]["dicom"]["join_series"] is False
    )
    assert (
        source.config["import"]["labels"].startswith("sha256 ")
        and len(source.config["import"]["skipped"]) == 1
    )
    assert (
        source.config["split"]["val_fraction"]
        == yaml.safe_load((STAGES / "toy" / "source.yaml").read_text())["split"]["val_fraction"]
    )
    again = run_source(sfvd, tmp_path / "runs", mixed, *settings[:-1], 2)
    assert "nothing to do" in again.out, "the number of workers changes nothing"
    labels.write_text(labels.read_text().replace(",30,", ",31,"))
    assert "starting" in run_source(sfvd, tmp_path / "runs", mixed, *settings).out
    (mixed / toy_clips()[0].patient / "stack.json").write_text(json.dumps({"fps": 4}))
    assert "starting" in run_source(sfvd, tmp_path / "runs", mixed, *settings).out
    refused = run_source(sfvd, tmp_path / "runs", mixed, "--source.phantom.frames", 3)
    assert refused.status == 1 and "simulator" in refused.err


def test_predict_takes_what_import_takes(
    sfvd: Sfvd, models: dict[str, Path], mixed: Path, tmp_path: Path
) -> None:
    loose = tmp_path / "loose.npy"
    np.save(loose, toy_clips()[0].image)
    for number, source in enumerate((loose, mixed / "export" / "IM1", mixed)):
        out = tmp_path / f"found{number}"
        done = sfvd(
            "segment", "predict", source, "--ckpt_path", models["guide"], "--out", out, "--masks", "false"
        )
        assert done.status == 0, done.err
        made = Artifact.open(out / "segmentation.h5", Kind.SEGMENTATION)
        assert made.n_clips == (5 if source == mixed else 1)
    assert toy_clips()[0].image.shape[1] > WINDOW
