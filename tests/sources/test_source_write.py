"""Splits, labelled clips, and ``source.h5`` read back."""

import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.errors import ArtifactError, SourceError
from sfvd_pl.metrics.visibility import wire_visibility
from sfvd_pl.sources import ClipMeta, SplitConfig, assign_splits, draw_labelled, write_source
from sfvd_pl.sources.split import settle

NAMES = [f"p{k}" for k in range(20)]


def metas(patients: int = 10, clips: int = 4) -> list[ClipMeta]:
    """Annotated training clips, and one each that isn't annotated or belongs to the test."""
    known = [ClipMeta(f"p{p}/r{c}", f"p{p}", "train", True) for p in range(patients) for c in range(clips)]
    return [*known, ClipMeta("p0/x", "p0", "train", False), ClipMeta("t/r0", "t", "test", True),
            ClipMeta("t/x", "t", "test", False)]  # fmt: skip


def test_splits_are_shares_whatever_the_order() -> None:
    splits = assign_splits(NAMES, SplitConfig(), 0)
    assert Counter(splits.values()) == {"train": 11, "val": 4, "test": 5}
    shuffled = NAMES * 2
    random.Random(1).shuffle(shuffled)
    assert assign_splits(shuffled, SplitConfig(), 0) == splits
    assert assign_splits(NAMES, SplitConfig(), 1) != splits


@pytest.mark.parametrize("count", [3, 4, 5, 7])
@pytest.mark.parametrize("fractions", [(0.01, 0.01), (0.45, 0.5), (0.2, 0.25)])
def test_every_split_has_somebody(count: int, fractions: tuple[float, float]) -> None:
    for seed in range(5):
        splits = assign_splits(NAMES[:count], SplitConfig(*fractions), seed)
        assert set(splits.values()) == {"train", "val", "test"}


@pytest.mark.parametrize("known", [3, 4, 9])
def test_annotated_patients_reach_every_split(known: int) -> None:
    for seed in range(10):
        annotated = set(NAMES[:known])
        splits = assign_splits(NAMES, SplitConfig(), seed, annotated=annotated)
        assert {splits[name] for name in annotated} == {"train", "val", "test"}
        assert all(splits[name] == "train" for name in NAMES[known:]), (
            "unlabelled frames train, they measure nothing"
        )


def test_one_annotated_patient_goes_to_training() -> None:
    for seed in range(10):
        assert assign_splits(NAMES, SplitConfig(), seed, annotated={"p3"})["p3"] == "train"


def test_two_patients_cannot_be_split() -> None:
    with pytest.raises(SourceError, match="too few patients"):
        assign_splits(["a", "b", "a"], SplitConfig(), 0)


@pytest.mark.parametrize(
    "change",
    [
        {"val_fraction": -0.1},
        {"test_fraction": 1.0},
        {"val_fraction": 0.5, "test_fraction": 0.5},
        {"labelled_fraction": 0.0},
        {"labelled_fraction": 1.01},
        {"parts": {"p1": "training"}},
    ],
)
def test_impossible_fractions_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SourceError):
        SplitConfig(**change)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 0.8, 1.0])
def test_labelled_clips_are_a_share_of_every_patient(fraction: float) -> None:
    for seed in range(6):
        chosen = draw_labelled(metas(), fraction, seed)
        training = [name for name, yes in chosen.items() if yes and name.startswith("p")]
        assert len(training) == max(1, round(fraction * 40))
        counts = Counter(name.split("/")[0] for name in training)
        share = 4 * len(training) / 40
        assert all(np.floor(share) - 1 <= counts[f"p{p}"] <= np.ceil(share) + 1 for p in range(10))
        assert not chosen["p0/x"] and chosen["t/r0"] and not chosen["t/x"]


def test_a_patient_with_many_clips_keeps_the_same_share() -> None:
    sizes = {"big": 20, "a": 4, "b": 4, "c": 4}
    clips = [ClipMeta(f"{who}/r{k}", who, "train", True) for who, size in sizes.items() for k in range(size)]
    for seed in range(6):
        counts = Counter(name.split("/")[0] for name, yes in draw_labelled(clips, 0.5, seed).items() if yes)
        assert all(abs(counts[who] - size / 2) <= 1 for who, size in sizes.items())


def test_fewer_labels_are_among_more_and_order_does_not_matter() -> None:
    sets = []
    for fraction in (0.1, 0.3, 0.7):
        chosen = draw_labelled(metas(), fraction, 2)
        assert chosen == draw_labelled(metas()[::-1], fraction, 2)
        sets.append({name for name, yes in chosen.items() if yes})
    assert sets[0] < sets[1] < sets[2]
    assert draw_labelled(metas(), 0.3, 3) != draw_labelled(metas(), 0.3, 2)


def test_without_test_patients_everybody_trains() -> None:
    for names in (NAMES, ["alone"]):
        assert set(assign_splits(names, SplitConfig(0.0, 0.0), 0).values()) == {"train"}
    assert Counter(assign_splits(NAMES, SplitConfig(0.0, 0.25), 0).values()) == {"train": 15, "test": 5}


def test_two_annotated_patients_both_train_unless_the_split_is_given() -> None:
    for seed in range(10):
        splits = assign_splits(NAMES, SplitConfig(), seed, annotated={"p3", "p8"})
        assert splits["p3"] == splits["p8"] == "train" and Counter(splits.values()) == {"train": 15, "test": 5}
    parts = dict.fromkeys(NAMES, "train") | {"p8": "test", "p9": "val"}
    assert assign_splits(NAMES, SplitConfig(parts=parts), 0, annotated={"p3", "p8"}) == parts


@pytest.mark.parametrize(
    ("change", "says"), [({"p7": None}, "not listed: p7"), ({"p77": "test"}, "unknown: p77"), ({}, "")]
)
def test_a_given_split_lists_these_very_patients(change: dict[str, str | None], says: str) -> None:
    listed = dict.fromkeys(NAMES, "train") | change
    config = SplitConfig(parts={name: part for name, part in listed.items() if part})
    if says:
        with pytest.raises(SourceError, match=says):
            assign_splits(NAMES, config, 0)
    else:
        assert set(assign_splits(NAMES, config, 0).values()) == {"train"}


def test_named_clips_keep_their_labels_and_their_patients_train() -> None:
    clips = [replace(clip, split="") for clip in metas()]
    named = ["p3/r1", "p3/r2"]
    for seed in range(10):
        settled = settle(clips, SplitConfig(labelled_clips=named), seed)
        assert [clip.name for clip, labelled in settled if labelled and clip.split == "train"] == named
        assert all(clip.split == "train" for clip, _ in settled if clip.patient == "p3")
        assert {clip.split for clip, _ in settled} == {"train", "val", "test"}
        assert all(labelled == clip.annotated for clip, labelled in settled if clip.split != "train")


@pytest.mark.parametrize(
    ("name", "says"),
    [("p1_r1", r"no such clip[\s\S]*p1/r1"), ("p0/x", r"can't train[\s\S]*p0/x"), ("t/r0", "can't train")],
)
def test_a_named_clip_that_cannot_be_learned_from_is_refused(name: str, says: str) -> None:
    clips = [replace(clip, split="") for clip in metas(2)]
    parts = {"p0": "train", "p1": "train", "t": "test"}
    with pytest.raises(SourceError, match=says):
        settle(clips, SplitConfig(parts=parts, labelled_clips=[name]), 0)


def test_a_split_that_leaves_training_without_masks_is_refused(tmp_path: Path, make_clip) -> None:
    clips = [make_clip("a"), *(make_clip(p, annotated=False) for p in "bc")]
    with pytest.raises(SourceError, match="no clip of a training patient has masks"):
        write(tmp_path / "s.h5", clips, split=SplitConfig(parts={"a": "test", "b": "train", "c": "val"}))


def clips_of(make_clip, patients: int = 4):
    """Four patients with two clips; the second of p0 has no labels, that of p1 is smaller."""
    clips = [make_clip(f"p{p}", f"r{r}") for p in range(patients) for r in range(2)]
    clips[1] = make_clip("p0", "r1", annotated=False)
    clips[3] = make_clip("p1", "r1", shape=(2, 30, 36))
    return clips


def write(path: Path, clips, **changes):
    """``write_source`` with the usual arguments."""
    return write_source(
        path, clips, **{"split": SplitConfig(), "seed": 7, "config": {"a": 1}, "progress": False, **changes}
    )


def test_source_is_read_back_whole(tmp_path: Path, make_clip) -> None:
    clips = clips_of(make_clip)
    summary = write(tmp_path / "source.h5", clips)
    assert verify(tmp_path / "source.h5") == []
    source = Artifact.open(tmp_path / "source.h5", Kind.SOURCE)
    assert (source.n_clips, source.n_frames, source.frame_shape) == (8, 23, (32, 40))
    assert source.seed == 7 and source.config["a"] == 1 and source.config["split"]["test_fraction"] == 0.25
    assert source.patients == ("p0", "p1", "p2", "p3")
    for k, clip in enumerate(clips):
        height, width = clip.frame_shape
        image, wire = source.clip_rows("frames/image", k), source.clip_rows("frames/wire_mask", k)
        assert np.array_equal(image[:, :height, :width], clip.image)
        assert np.array_equal(wire[:, :height, :width], clip.wire_mask) and wire.sum() == clip.wire_mask.sum()
        assert (image[:, height:, :width] == image[:, height - 1 : height, :width]).all()
        assert (image[:, :, width:] == image[:, :, width - 1 : width]).all()
        seen = source.clip_rows("frames/visibility", k)
        for frame, value in enumerate(seen):
            if clip.annotated[frame]:
                assert value == pytest.approx(
                    wire_visibility(clip.image[frame], clip.wire_mask[frame]), rel=1e-5
                )
            else:
                assert np.isnan(value)
    assert source.column("clips/height").tolist() == [32, 32, 32, 30, 32, 32, 32, 32]
    assert np.array_equal(source.column("clips/affine")[3], [[1, 0, 0], [0, 1, 0]])
    assert source.column("clips/labelled").tolist() == [True, False] + [True] * 6
    split = dict(zip(source.column("clips/patient"), source.column("clips/split"), strict=True))
    assert set(split.values()) == {"train", "val", "test"}
    assert (summary.clips, summary.frames, summary.annotated, summary.labelled) == (8, 23, 7, 7)
    assert summary.warnings == () and "8 clips, 23 frames of 32 x 40" in str(summary)


def test_same_clips_same_hash_from_a_stream(tmp_path: Path, make_clip) -> None:
    clips = clips_of(make_clip)
    write(tmp_path / "list.h5", clips)
    write(tmp_path / "stream.h5", iter(clips))
    write(tmp_path / "given.h5", iter(clips), frame_shape=(32, 40))
    hashes = {Artifact.open(tmp_path / f"{name}.h5").content_hash for name in ("list", "stream", "given")}
    assert len(hashes) == 1


def test_sixteen_bit_source(tmp_path: Path, make_clip) -> None:
    write(tmp_path / "s.h5", [make_clip(p, top=4095) for p in "abc"])
    source = Artifact.open(tmp_path / "s.h5")
    assert source.intensity_max == 4095 and source.rows("frames/image", 0, 1).dtype == np.uint16


def test_a_bright_wire_is_named(tmp_path: Path, make_clip) -> None:
    clips = [make_clip("a"), make_clip("b", bright=True), make_clip("c")]
    (warning,) = write(tmp_path / "s.h5", clips).warnings
    assert "'b/r01'" in warning and "brighter" in warning
    stored = Artifact.open(tmp_path / "s.h5").clip_rows("frames/image", 1)
    assert np.array_equal(stored, clips[1].image), "nothing is inverted silently"


def test_too_few_annotated_patients_is_a_warning(tmp_path: Path, make_clip) -> None:
    clips = [make_clip("a"), *(make_clip(p, annotated=False) for p in "bcd")]
    warnings = write(tmp_path / "s.h5", clips).warnings
    assert len(warnings) == 1 and "no annotated clip in test: the patients with masks (a) train" in warnings[0]


def test_an_existing_source_is_kept_unless_asked(tmp_path: Path, make_clip) -> None:
    clips = [make_clip(p) for p in "abc"]
    write(tmp_path / "s.h5", clips)
    with pytest.raises(ArtifactError):
        write(tmp_path / "s.h5", clips)
    assert write(tmp_path / "s.h5", clips, overwrite=True).clips == 3


def bad_clips(kind: str, make_clip) -> list:
    """Clips that can't make a source."""
    clips = [make_clip(p) for p in "abc"]
    if kind == "none":
        return []
    if kind == "no labels":
        return [make_clip(p, annotated=False) for p in "abc"]
    if kind == "one patient":
        return [make_clip("a", f"r{k}") for k in range(3)]
    if kind == "a name twice":
        return [*clips, clips[0]]
    return [*clips, make_clip("d", top=65535)]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("none", "no clips"),
        ("no labels", "no frame of any clip"),
        ("one patient", "too few patients"),
        ("a name twice", "two clips of one name"),
        ("a wider range", "larger range of pixel values"),
    ],
)
def test_what_cannot_make_a_source_leaves_no_file(kind: str, says: str, tmp_path: Path, make_clip) -> None:
    with pytest.raises(SourceError, match=says):
        write(tmp_path / "s.h5", bad_clips(kind, make_clip))
    assert list(tmp_path.iterdir()) == []


def test_a_larger_clip_in_a_stream_is_refused(tmp_path: Path, make_clip) -> None:
    clips = [make_clip("a"), make_clip("b", shape=(2, 33, 40)), make_clip("c")]
    with pytest.raises(SourceError, match="larger than the frames"):
        write(tmp_path / "s.h5", iter(clips))
    assert write(tmp_path / "s.h5", clips).frame_shape == (33, 40)


def test_clips_of_several_depths_share_an_artifact(tmp_path: Path, make_clip) -> None:
    """Each is stretched to the widest range, and the source's values can be had back."""
    clips = [make_clip("a"), make_clip("b", top=1023), make_clip("c", top=4095)]
    clips[1] = replace(clips[1], origin="dicom", intensity="log", angles_deg=(30.0, -20.0)).inverted()
    out = tmp_path / "source.h5"
    write_source(out, clips, split=SplitConfig(), seed=0, config={}, progress=False, intensity_max=4095)
    assert verify(out) == []
    source = Artifact.open(out, Kind.SOURCE)
    assert source.intensity_max == 4095
    assert list(source.column("clips/origin")) == ["frames", "dicom", "frames"]
    assert list(source.column("clips/intensity")) == ["unknown", "log", "unknown"]
    assert np.array_equal(source.column("clips/angles_deg")[1], [30, -20])
    for row, clip in enumerate(clips):
        pixels = source.clip_rows("frames/image", row).astype(float)
        values = source.column("clips/source_scale")[row] * pixels + source.column("clips/source_offset")[row]
        assert np.array_equal(np.rint(values), clip.source_scale * clip.image + clip.source_offset)
        assert np.allclose(pixels / 4095, clip.image / clip.intensity_max, atol=0.5 / 4095)


def test_a_long_clip_beside_a_huge_frame_takes_little_memory(
    tmp_path: Path, make_clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[write_source.__module__], "PADDED_BYTES", 2**20, raising=False)
    huge, blank = np.full((1, 512, 512), 99, np.uint8), np.zeros((1, 512, 512), np.uint8)
    scene = replace(make_clip("p0", "huge"), image=huge, wire_mask=blank, annotated=np.array([False]))
    small = make_clip("p0", "long")
    long = replace(
        small,
        image=np.tile(small.image, (20, 1, 1)),
        wire_mask=np.tile(small.wire_mask, (20, 1, 1)),
        annotated=np.tile(small.annotated, 20),
    )
    clips = [scene, long, make_clip("p1", "r"), make_clip("p2", "r")]
    padded, pad = [], np.pad

    def noted(*args: Any, **settings: Any) -> Any:
        padded.append(pad(*args, **settings))
        return padded[-1]

    monkeypatch.setattr(np, "pad", noted)
    write_source(tmp_path / "s.h5", clips, split=SplitConfig(), seed=0, config={}, progress=False)
    assert max(array.nbytes for array in padded) == 2**20
    row = Artifact.open(tmp_path / "s.h5").clip_rows("frames/image", 1)
    assert np.array_equal(row[:, :32, :40], long.image) and (row[:, 40:, 50:] == long.image[:, -1:, -1:]).all()
