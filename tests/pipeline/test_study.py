"""A label-efficiency study: which clips are labelled, what runs, what its table says."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import STAGES, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.cli.study import study as command
from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline import study as module
from sfvd_pl.pipeline.run import Pipeline
from sfvd_pl.pipeline.settings import RunSettings
from sfvd_pl.pipeline.study import StudySettings, label_order, perform_study

CLIPS = {f"p{k}": [f"p{k}/run{n}" for n in range(3)] for k in range(4)}
HELD_OUT = (("p01",), ("p02", "p03"))


def test_clips_get_labels_patient_by_patient() -> None:
    order = label_order(CLIPS, "0 p9")
    assert sorted(order) == sorted(clip for names in CLIPS.values() for clip in names)
    for turn in range(3):
        assert len({clip[:2] for clip in order[4 * turn : 4 * turn + 4]}) == 4
    assert order == label_order(dict(reversed(CLIPS.items())), "0 p9") != label_order(CLIPS, "1 p9")


def test_an_arm_is_trained_as_soon_as_it_can_be_and_nothing_is_made_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(RunSettings("r", tmp_path, "toy", STAGES))
    monkeypatch.setattr(Pipeline, "_has_second_segmenter", True)

    def names(*arms: str) -> list[str]:
        return [step.name.removeprefix("segment/") for step in pipeline._compared(arms)]

    assert names("real") == ["source", "check", "real", "segmentation"]
    assert names("paste", "real")[2:] == ["real", "guide", "suspects", "paste", "segmentation"]
    made = names("synthetic", "scene")
    assert made.index("scene", made.index("scenes")) < made.index("motion")
    assert made[-2:] == ["synthetic", "segmentation"]


def test_a_source_artifact_as_data_is_divided_anew(tmp_path: Path) -> None:
    old = Artifact.open(write_toy_source(tmp_path / "old.h5"), Kind.SOURCE)
    parts = {patient: "test" if patient == "p02" else "train" for patient in old.patients}
    split = {"parts": parts, "labelled_clips": ["p01/r01"]}
    settings = RunSettings("r", tmp_path, "toy", STAGES, data=old.path, split=split, seed=7)
    Pipeline(settings).perform(["source"])
    new = Artifact.open(tmp_path / "r/source.h5", Kind.SOURCE)
    changed = {key for key in old.keys if old.facts[key].sha256 != new.facts[key].sha256}
    assert changed == {"clips/split", "clips/labelled"}
    clips = zip(*(new.column(f"clips/{key}") for key in ("name", "patient", "labelled")), strict=True)
    assert [name for name, patient, labelled in clips if labelled and patient != "p02"] == ["p01/r01"]
    with pytest.raises(ConfigError, match="lie in an artifact"):
        overrides = {"source": {"polarity": "keep"}}
        Pipeline(RunSettings("r", tmp_path, "toy", STAGES, data=old.path, overrides=overrides)).perform(["source"])


# -- a whole study of toy models -------------------------------------------------------------------------------


def _settings(root: Path, **changes: Any) -> StudySettings:
    asked: dict[str, Any] = {"patients": HELD_OUT, "labels": (1, None), "arms": ("classical",)}
    return StudySettings(RunSettings("s", root, "toy", STAGES), **(asked | changes))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Cut off in its second run, then begun again."""
    root = tmp_path_factory.mktemp("study")
    score, scored = module.score_segmentations, []

    def stopped(paths: list[Path], *args: Any, **options: Any) -> Any:
        if scored:
            raise KeyboardInterrupt
        scored.append(paths)
        return score(paths, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "score_segmentations", stopped)
        with pytest.raises(KeyboardInterrupt):
            perform_study(_settings(root))
    assert (root / "s/p01-1/scores.npy").exists() and not (root / "s/p02+p03-1").exists()
    before = {path: path.stat().st_mtime_ns for path in (root / "s").rglob("*.ckpt")}
    assert len(before) >= 3
    found = perform_study(_settings(root))
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    return root / "s", found


def test_every_run_holds_its_patients_out_and_labels_what_it_says(study: tuple[Path, dict[str, Any]]) -> None:
    folder, found = study
    assert [run["name"] for run in found["runs"]] == ["p01-1", "p01-all", "p02+p03-1", "p02+p03-all"]
    for run in found["runs"]:
        source = Artifact.open(folder / run["name"] / "source.h5", Kind.SOURCE)
        columns = zip(*(source.column(f"clips/{key}") for key in ("name", "patient", "split", "labelled")), strict=True)
        for name, patient, split, labelled in columns:
            assert split == ("test" if patient in run["held_out"] else "train")
            assert labelled == (split == "test" or name in run["labelled"])
        assert len(run["labelled"]) == (run["labels"] or 10 - 2 * len(run["held_out"]))
    assert set(found["runs"][0]["labelled"]) <= set(found["runs"][1]["labelled"])
    assert not list(folder.glob("*/scene*"))  # no arm asked for a generator


def test_the_table_is_the_mean_over_clips_then_patients(study: tuple[Path, dict[str, Any]]) -> None:
    folder, found = study
    with (folder / "report/study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2 + 3 * 2  # patients, clips, arms of one label; of all labels the reference alone
    means = {}
    for arm in ("real", "classical"):
        of_arm = [row for row in rows if row["arm"] == arm and row["labels"] == "1"]
        tested = {row["patient"]: row["run"] for row in of_arm}
        assert tested == {"p01": "p01-1", "p02": "p02+p03-1", "p03": "p02+p03-1"}
        by_patient = {p: [float(row["dice"]) for row in of_arm if row["patient"] == p] for p in ("p01", "p02", "p03")}
        means[arm] = np.mean([np.mean(values) for values in by_patient.values()])
    one, everything = found["curve"]
    assert (one["labels"], everything["labels"]) == (1, None)
    arms = {arm["name"]: arm for arm in one["segmentation"]["arms"]}
    assert {arm: table["dice"]["mean"] for arm, table in arms.items()} == pytest.approx(means)
    assert arms["classical"]["difference"]["dice"]["mean"] == pytest.approx(means["classical"] - means["real"])
    assert [arm["name"] for arm in everything["segmentation"]["arms"]] == ["real"]
    assert found == json.loads((folder / "report/study.json").read_text())


def test_faint_middle_and_plain_hold_a_third_of_the_frames_each(study: tuple[Path, dict[str, Any]]) -> None:
    for point in study[1]["curve"]:
        bins = point["segmentation"]["arms"][0]["by_visibility"]
        assert [row["n_frames"] for row in bins] == [12, 12, 12]
        assert [bins[0]["high"], bins[2]["low"]] == study[1]["thirds"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"labels": (7,)}, "LABELS"),
        ({"patients": (("p01", "p02", "p03", "p04", "p05"),), "labels": (None,)}, "LABELS"),
        ({"patients": (("p09",),)}, "PATIENTS"),
        ({"patients": (("p01", "p02"), ("p01",))}, "PATIENTS"),
    ],
)
def test_what_a_study_cannot_do(study: tuple[Path, dict[str, Any]], changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        perform_study(_settings(study[0].parent, **changes))
    assert refused.value.key == key


def test_the_command_adds_a_seed_and_prints_the_table(
    study: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Last, since it adds a run."""
    where = ["--study", "s", "--root", str(study[0].parent), "--preset", "toy", "--stages", str(STAGES)]
    command(["--patients", "p01", "--labels", "1", "--arms", "classical", "--seeds", "0", "1", *where])
    told = capsys.readouterr().out
    assert "scores: nothing to do" in told and "run p01-1-seed1" in told
    assert {"1, real", "1, classical"} <= {line[:13].strip() for line in told.splitlines()}
    assert json.loads((study[0] / "report/study.json").read_text())["curve"][0]["segmentation"]["seeds"] == [0, 1]
    with pytest.raises(SystemExit):
        command(["--labels", "0", *where])
