"""Clips that show real clips, each at its own size: every section, the seam, and what may be called a copy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anchored import write_anchored, write_uneven_source
from toy import rewritten, save_model, segmentation_module

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.datasets.backgrounds import Backgrounds
from sfvd_pl.datasets.sets import ArtifactClips
from sfvd_pl.errors import ArtifactError
from sfvd_pl.pipeline.evaluation.rows import groups
from sfvd_pl.pipeline.evaluation.run import evaluate, metrics_head
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
from sfvd_pl.pipeline.report.media import collect_media
from sfvd_pl.report.describe import describe
from sfvd_pl.report.html import render

SECTIONS = "noise,seam,motion,wire,visibility,label_fidelity,gate,memorisation"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anchored")


@pytest.fixture(scope="module")
def uneven(folder: Path) -> Path:
    return write_uneven_source(folder / "source.h5")


@pytest.fixture(scope="module")
def made(folder: Path, uneven: Path) -> Path:
    return write_anchored(folder / "synthetic.h5", uneven)


@pytest.fixture(scope="module")
def evaluation(folder: Path, uneven: Path, made: Path) -> Any:
    evaluator = save_model(segmentation_module(seed=8), folder / "evaluator.ckpt", uneven)
    settings = EvaluateSettings(real=uneven, generated=made, evaluator_ckpt=evaluator, processes=1, only=SECTIONS)
    return evaluate(settings, progress=False)


def test_only_the_band_differs_from_the_real_frames_and_a_known_wire_was_not_drawn(uneven: Path, made: Path) -> None:
    artifact = Artifact.open(made, Kind.SYNTHETIC)
    backgrounds, labels = Backgrounds(artifact, uneven), 0
    for row, clip in enumerate(ArtifactClips(made)):
        drawn = backgrounds.drawn(row)
        assert np.array_equal(drawn.real != clip.image, (drawn.real != clip.image) & drawn.region)
        assert (drawn.wire_mask <= clip.wire_mask).all() and drawn.wire_mask.any()
        labels += int((clip.wire_mask > drawn.wire_mask).any())
    assert labels, "a labelled background's own wire is a label too"
    other = rewritten(made, made.with_name("other.h5"), clips__background=np.array(["p/x"] * 6, object))
    with pytest.raises(ArtifactError, match="no training clip"):
        Backgrounds(Artifact.open(other, Kind.SYNTHETIC), uneven)


def test_whole_frames_are_held_against_whole_frames(evaluation: Any, made: Path) -> None:
    context = evaluation.context
    assert {clip.image.shape[1:] for clip in context.synthetic} == {(48, 48), (44, 40)}
    assert {clip.image.shape[1:] for clip in context.reference} == {(48, 48), (44, 40)}
    assert set(SECTIONS.split(",")) <= set(evaluation.metrics)
    patients = Artifact.open(made).column("clips/background_patient")
    assert groups(ArtifactClips(made)) == [str(patient) for patient in patients]


def test_the_sections_of_anchored_clips(evaluation: Any) -> None:
    metrics = evaluation.metrics
    assert metrics["seam"]["rows"][0]["n"] == 6
    assert metrics["seam"]["rows"][0]["std_ratio"]["mean"] == pytest.approx(1.0, abs=0.25)
    assert [row["n"] for row in metrics["visibility"]["rows"]] == [6, 5]
    assert metrics["gate"]["dice"] is None and metrics["gate"]["attenuation_cnr"] == 0.3
    assert sum(metrics["sets"]["synthetic"]["backgrounds"].values()) == 6


def test_a_background_is_no_copy_and_a_drawn_wire_is_judged_by_its_course(evaluation: Any) -> None:
    section = evaluation.metrics["memorisation"]
    assert section["judged"]["whole"] == 0 and section["judged"]["wire"] + section["judged"]["lent"] == 6
    assert [level["name"] for level in section["levels"]] == ["wire"] and section["planted"] == []
    assert section["rows"][0]["n"] == len(section["clips"]) == section["judged"]["wire"]


def test_the_page_says_first_whose_pictures_these_are(evaluation: Any) -> None:
    head = metrics_head("toy", "toy", 0, [])
    page = render({**head, **evaluation.metrics}, collect_media(evaluation, 0))
    first = page.index("These clips show real patients: 6 of 6 synthetic clips")
    assert first < page.index("Does it look right?")
    assert "Labels were too few for a second segmenter" in page
    assert "Every clip shows a real training clip, on purpose" in page


def test_show_names_the_patients_and_a_patient_that_is_not_the_artifacts_is_refused(made: Path, tmp_path: Path) -> None:
    text = describe(Artifact.open(made))
    assert "6 of 6 clips show a real clip, of patients: " in text and "fails on them: 1" in text and "%)" in text
    assert verify(made) == []
    with pytest.raises(ArtifactError, match="background_patient"):
        rewritten(made, tmp_path / "stranger.h5", clips__background_patient=np.array(["stranger"] * 6, object))


@pytest.mark.parametrize("erase", [False, True])
def test_mixed_with_fresh_clips_each_is_judged_in_its_way(
    uneven: Path, tmp_path: Path, erase: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfvd_pl.pipeline.evaluation.memorisation.CALIBRATION", 16)
    monkeypatch.setattr("sfvd_pl.pipeline.evaluation.memorisation.PLANTED", 1)
    mixed = write_anchored(tmp_path / "mixed.h5", uneven, anchored=0.5, erase_known=erase)
    metrics = evaluate(
        EvaluateSettings(real=uneven, generated=mixed, only="seam,memorisation", processes=1), progress=False
    ).metrics
    shown = sum(metrics["sets"]["synthetic"]["backgrounds"].values())
    assert 0 < shown < 6 and metrics["seam"]["rows"][0]["n"] == shown
    assert metrics["memorisation"]["judged"]["whole"] == 6 - shown
