"""The page on a study: its table, its picture, its lines for the terminal."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.schema import clean_metrics
from sfvd_pl.metrics.scores import MEASURES, FrameScores, ScoredFrames
from sfvd_pl.metrics.study import StudyRun, check_study, study_metrics
from sfvd_pl.report.study import figures, study_lines, write_study

DICE = {"real": 0.4, "synthetic": 0.6}


def made_up_run(patient: str, labels: int | None, seed: int, shift: float) -> StudyRun:
    """Two frames, the second one's wire fainter and found half as well."""
    frames = ScoredFrames(
        clip=np.zeros(2, np.int64), frame=np.arange(2), visibility=np.array([3.0, 1.0]) + shift,
        spacing_mm=np.full(2, np.nan), names=(f"{patient}/run",), patients=(patient,),
    )  # fmt: skip
    arms = {
        arm: FrameScores(np.outer([1.0, 0.5], np.full(len(MEASURES), dice + shift)))
        for arm, dice in DICE.items()
        if labels is not None or arm == "real"
    }
    name = f"{patient}-{labels or 'all'}"
    return StudyRun(name, (patient,), labels, ("p9/run",) * (labels or 3), seed, arms, frames)


@pytest.fixture
def study() -> dict:
    """Three patients, the first with a seed more than the others."""
    runs = [made_up_run(f"p{k}", labels, 0, k / 20) for k in range(3) for labels in (2, None)]
    runs += [made_up_run("p0", 2, 1, 0.2)]
    return clean_metrics(study_metrics("mine", "tiny", runs))


def test_patients_count_with_the_seeds_that_they_have(study: dict) -> None:
    rows = {(row["labels"], row["arm"]): row for row in figures(study)}
    assert list(rows) == [("2", "real"), ("2", "synthetic"), ("all", "real")]
    per_patient = 0.75 * np.array([0.4 + 0.1, 0.45, 0.5])  # the first: mean of two seeds
    real, synthetic = rows["2", "real"], rows["2", "synthetic"]
    assert real["dice"]["mean"] == pytest.approx(per_patient.mean())
    assert synthetic["difference"]["mean"] == pytest.approx(0.75 * 0.2)
    assert (synthetic["p"], real["patients"]) == (0.25, 3)  # three patients can't give less
    assert real["faint"]["mean"] == pytest.approx(0.5 * (per_patient / 0.75)[:2].mean()) and real["faint_patients"] == 2


def test_table_picture_and_page(study: dict, tmp_path: Path) -> None:
    page = write_study(tmp_path, study).read_text()
    with Image.open(tmp_path / "study.png") as picture:
        assert picture.size == (1024, 672)
    first = study_lines(study)[2]
    assert first.startswith("2, synthetic") and "+0.150" in first
    for told in ("2, synthetic", "+0.150", "synthetic, 2: 0.51", "What must not be concluded"):
        assert told in page


def test_a_study_that_breaks_its_schema_is_refused(study: dict) -> None:
    check_study(study, "")
    study["curve"][0]["segmentation"]["arms"][0]["dice"]["mean"] = 2
    with pytest.raises(MetricsError, match=r"curve\[0\]\.segmentation\.arms\[0\]\.dice\.mean"):
        check_study(study, "")
