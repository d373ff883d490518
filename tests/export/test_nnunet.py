"""The nnU-Net export, held against the documented format by a checker of its own.

https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import clips_of, generated_artifact, wire_clip, write_clips
from PIL import Image
from toy import rewritten

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ExportError
from sfvd_pl.export import ExportConfig, export_artifact
from sfvd_pl.export.clips import read_item


def exported(artifact: Artifact, out: Path, **options: Any) -> Path:
    export_artifact(artifact, out, ExportConfig("nnunet", **options), progress=False)
    (dataset,) = (path for path in out.iterdir() if path.is_dir())
    return dataset


def problems_of(dataset: Path, patient_of: Any) -> list[str]:
    """What nnU-Net's documentation asks for and the folder doesn't fulfil."""
    found = []
    if not re.fullmatch(r"Dataset\d{3}_[A-Za-z0-9]+", dataset.name):
        found.append(f"name {dataset.name}")
    about = json.loads((dataset / "dataset.json").read_text())
    missing = {"channel_names", "labels", "numTraining", "file_ending"} - set(about)
    if missing:
        return [*found, f"dataset.json lacks {missing}"]
    ending = about["file_ending"]
    if list(about["channel_names"]) != [str(k) for k in range(len(about["channel_names"]))]:
        found.append(f"channel_names {about['channel_names']}")
    if sorted(about["labels"].values()) != list(range(len(about["labels"]))) or about["labels"].get("background") != 0:
        found.append(f"labels {about['labels']}")
    cases = {part: _cases(dataset, part, ending, len(about["channel_names"]), found) for part in ("Tr", "Ts")}
    if about["numTraining"] != len(cases["Tr"]):
        found.append(f"numTraining {about['numTraining']}, {len(cases['Tr'])} cases")
    for part, names in cases.items():
        for name in names:
            _check_case(dataset, part, name, ending, set(about["labels"].values()), found)
    for number, fold in enumerate(json.loads((dataset / "splits_final.json").read_text())):
        if set(fold) != {"train", "val"} or not fold["train"] or not fold["val"]:
            found.append(f"fold {number} has an empty side")
        if sorted([*fold["train"], *fold["val"]]) != sorted(cases["Tr"]):
            found.append(f"fold {number} doesn't cover imagesTr once")
        both = {patient_of(c) for c in fold["train"]} & {patient_of(c) for c in fold["val"]}
        if both:
            found.append(f"fold {number} has {both} on both sides")
    return found


def _cases(dataset: Path, part: str, ending: str, channels: int, found: list[str]) -> set[str]:
    """Cases by their images; each has all channels and a label, and there is nothing else."""
    images = {p.name for p in (dataset / f"images{part}").glob("*")}
    labels = {p.name for p in (dataset / f"labels{part}").glob("*")}
    names = {name.removesuffix(ending)[:-5] for name in images}
    if images != {f"{name}_{channel:04d}{ending}" for name in names for channel in range(channels)}:
        found.append(f"images{part}: {sorted(images)[:5]}")
    if labels != {f"{name}{ending}" for name in names}:
        found.append(f"labels{part}: {sorted(labels)[:5]}")
    return names


def _check_case(dataset: Path, part: str, name: str, ending: str, values: set[int], found: list[str]) -> None:
    if not (dataset / f"labels{part}" / f"{name}{ending}").exists():
        return  # said already
    image = np.asarray(Image.open(dataset / f"images{part}" / f"{name}_0000{ending}"))
    label = np.asarray(Image.open(dataset / f"labels{part}" / f"{name}{ending}"))
    if image.ndim != 2 or image.shape != label.shape or not set(np.unique(label).tolist()) <= values:
        found.append(f"{name}: {image.shape} {label.shape} {np.unique(label)}")


def patient_of(case: str) -> str:
    return case.split("-")[0]


def test_a_source_becomes_a_data_set(any_depth: Artifact, tmp_path: Path) -> None:
    dataset = exported(any_depth, tmp_path / "out", dataset_id=7, dataset_name="Fluoro")
    assert dataset.name == "Dataset007_Fluoro"
    assert problems_of(dataset, patient_of) == []
    assert len(json.loads((dataset / "splits_final.json").read_text())) == 5


def test_every_usable_frame_is_a_case_and_no_other(any_depth: Artifact, tmp_path: Path) -> None:
    """Counted and compared pixel by pixel from the artifact's own columns."""
    dataset = exported(any_depth, tmp_path / "out")
    expected: dict[str, tuple[str, np.ndarray, np.ndarray]] = {}
    for row in range(any_depth.n_clips):
        item = read_item(any_depth, row)
        for k in np.flatnonzero(item.clip.annotated):
            case = f"{re.sub('[^A-Za-z0-9]+', '-', item.clip.name).strip('-')}_{k:05d}"
            expected[case] = ("Ts" if item.split == "test" else "Tr", item.clip.image[k], item.clip.wire_mask[k])
    found = {p.stem for part in ("Tr", "Ts") for p in (dataset / f"labels{part}").glob("*.png")}
    assert found == set(expected)
    for case, (part, image, mask) in expected.items():
        np.testing.assert_array_equal(np.asarray(Image.open(dataset / f"images{part}" / f"{case}_0000.png")), image)
        np.testing.assert_array_equal(np.asarray(Image.open(dataset / f"labels{part}" / f"{case}.png")), mask)


def test_fold_0_is_the_source_s_own_split(eight_bit: Artifact, tmp_path: Path) -> None:
    dataset = exported(eight_bit, tmp_path / "out")
    own = json.loads((dataset / "splits_final.json").read_text())[0]
    columns = zip(eight_bit.column("clips/patient"), eight_bit.column("clips/split"), strict=True)
    validation = {str(p) for p, s in columns if s == "val"}
    assert {patient_of(case) for case in own["val"]} == validation


def test_training_clips_whose_masks_are_for_measuring_only_are_left_out(tmp_path: Path) -> None:
    from sfvd_pl.sources import SplitConfig, write_source

    path = tmp_path / "s.h5"
    split = SplitConfig(val_fraction=0.2, test_fraction=0.2, labelled_fraction=0.5)
    write_source(path, clips_of(255), split=split, seed=1, config={}, progress=False)
    artifact = Artifact.open(path)
    columns = [artifact.column(f"clips/{key}") for key in ("name", "split", "labelled")]
    hidden = {str(n).replace("/", "-") for n, s, usable in zip(*columns, strict=True) if s == "train" and not usable}
    dataset = exported(artifact, tmp_path / "out")
    cases = {p.stem.rsplit("_", 1)[0] for p in (dataset / "labelsTr").iterdir()}
    assert hidden - {"p5-b"}, "the fixture leaves some out"
    assert not cases & hidden


def test_pixels_to_ignore_carry_the_highest_label(tmp_path: Path) -> None:
    clips = clips_of(255)
    ignore = 1 - clips[0].wire_mask
    ignore[:, :, 16:] = 0
    dataset = exported(write_clips(tmp_path / "s.h5", [replace(clips[0], ignore=ignore), *clips[1:]]), tmp_path / "out")
    assert json.loads((dataset / "dataset.json").read_text())["labels"] == {"background": 0, "wire": 1, "ignore": 2}
    assert problems_of(dataset, patient_of) == []
    (label,) = dataset.glob("labelsT*/p1-a_00000.png")
    assert np.array_equal(np.asarray(Image.open(label)), clips[0].wire_mask[0] + 2 * ignore[0])


def test_synthetic_clips_that_show_one_patient_stay_together(synthetic: Artifact, tmp_path: Path) -> None:
    dataset = exported(synthetic, tmp_path / "out", accepted=False)
    groups = {"synthetic-000000": "own", "synthetic-000001": "p1", "synthetic-000002": "p1"}
    assert problems_of(dataset, lambda case: groups[case.rsplit("_", 1)[0]]) == []


def test_masks_of_one_patient_stay_together_however_deep_the_runs_lie(synthetic: Artifact, tmp_path: Path) -> None:
    sources = {"clips__mask_source": np.array(["p1/study-1/a", "p1/study-2/a", "p2/a"], object),
               "clips__mask_origin": np.array(["labelled"] * 3, object),
               "clips__background_patient": np.array([""] * 3, object)}  # fmt: skip
    made = Artifact.open(rewritten(synthetic.path, tmp_path / "s.h5", **sources))
    assert [read_item(made, row).group for row in range(3)] == ["p1", "p1", "p2"]


def test_clips_whose_names_differ_in_signs_only_are_told_apart(tmp_path: Path) -> None:
    names = ["p1/a b", "p1/a-b", "p1/A.b", "p2/a", "p3/a", "p4/a"]
    clips = [wire_clip(n, top=255, shape=(2, 24, 32), seed=k, annotated=[0, 1]) for k, n in enumerate(names)]
    dataset = exported(write_clips(tmp_path / "s.h5", clips), tmp_path / "out")
    assert problems_of(dataset, patient_of) == []
    files = [p.name.lower() for part in ("Tr", "Ts") for p in (dataset / f"labels{part}").glob("*")]
    assert len(files) == len(set(files)) == 12, "also where a file system doesn't tell capitals apart"


def test_one_patient_cannot_be_split(eight_bit: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="too few patients"):
        exported(eight_bit, tmp_path / "out", clips=("p1/*",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "name"), [(0, "A"), (1000, "A"), (5, ""), (5, "a/b"), (5, "a b")])
def test_a_data_set_that_nnunet_would_not_know_is_refused(
    eight_bit: Artifact, tmp_path: Path, number: int, name: str
) -> None:
    with pytest.raises(ExportError, match="knows no such data set"):
        exported(eight_bit, tmp_path / "out", dataset_id=number, dataset_name=name)
    assert list(tmp_path.iterdir()) == []


def test_the_checker_finds_what_it_looks_for(eight_bit: Artifact, tmp_path: Path) -> None:
    """Break the data set in each way once."""
    dataset = exported(eight_bit, tmp_path / "out")
    about = (dataset / "dataset.json").read_text()
    splits = json.loads((dataset / "splits_final.json").read_text())
    for change in ({"numTraining": 1}, {"labels": {"background": 0, "wire": 2}}, {"channel_names": {"1": "x"}}):
        (dataset / "dataset.json").write_text(json.dumps(json.loads(about) | change))
        assert problems_of(dataset, patient_of)
    (dataset / "dataset.json").write_text(about)
    case = splits[0]["train"][0]
    mixed = [{"train": [c for c in splits[0]["train"] if c != case], "val": [*splits[0]["val"], case]}, *splits[1:]]
    (dataset / "splits_final.json").write_text(json.dumps(mixed))
    assert any("on both sides" in problem for problem in problems_of(dataset, patient_of))
    (dataset / "splits_final.json").write_text(json.dumps(splits))
    assert problems_of(dataset, patient_of) == []
    label = dataset / "labelsTr" / f"{case}.png"
    Image.fromarray(np.asarray(Image.open(label)) * 255).save(label)
    assert problems_of(dataset, patient_of)
    label.unlink()
    assert any(problem.startswith("labelsTr") for problem in problems_of(dataset, patient_of))


def test_kinds_without_a_split(tmp_path: Path) -> None:
    for kind in (Kind.MOTIONS, Kind.SCENES):
        dataset = exported(Artifact.open(generated_artifact(tmp_path, kind)), tmp_path / f"out-{kind}")
        assert not (dataset / "imagesTs").exists()
