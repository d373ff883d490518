from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy import patients_of, rewritten, toy_clips, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip


def _labelled(source: Path) -> np.ndarray:
    return np.asarray(Artifact.open(source, Kind.SOURCE).column("clips/labelled"))


def test_labelled_and_annotated_differ_in_training_only(source: Path) -> None:
    labelled = _labelled(source)
    for split in ("train", "val", "test"):
        strict, loose = ClipIndex(source, split), ClipIndex(source, split, "annotated")
        clips = strict.clips
        assert len(loose.labelled_rows) == 6 * len(clips)  # every toy frame is annotated
        assert len(strict.labelled_rows) == 6 * labelled[clips].sum()
        if split == "train":
            assert 0 < labelled[clips].sum() < len(clips)
        else:
            assert labelled[clips].all()


def test_the_mask_of_an_unlabelled_clip_is_not_handed_out(source: Path) -> None:
    strict, loose = ClipIndex(source, "train"), ClipIndex(source, "train", "annotated")
    offsets = np.arange(6)
    hidden = [int(c) for c in strict.clips if not _labelled(source)[c]]
    assert hidden
    for clip in hidden:
        assert not strict.wire_mask(clip, offsets).any()
        assert not strict.known(clip, offsets).any()
        assert loose.wire_mask(clip, offsets).any()
        assert loose.known(clip, offsets).all()


def test_single_frames_without_annotation_stay_unknown(tmp_path: Path) -> None:
    clips = []
    for clip in toy_clips():
        annotated = np.array([True, False, True, False, False, True])
        masks = clip.wire_mask * annotated[:, None, None].astype(np.uint8)
        clips.append(Clip(clip.name, clip.patient, clip.image, masks, annotated, 15.0, 0.3, 255))
    index = ClipIndex(write_toy_source(tmp_path / "s.h5", clips=clips, labelled_fraction=1.0), "train")
    clip = int(index.clips[1])
    assert index.known(clip, np.array([5, 1, 0])).tolist() == [True, False, True]
    masks = index.wire_mask(clip, np.array([5, 1, 0]))
    assert [bool(m.any()) for m in masks] == [True, False, True]
    rows = index.labelled_rows
    assert sorted(set((rows - index.start[index.clip_of_frame[rows]]).tolist())) == [0, 2, 5]


def test_frames_come_in_the_order_asked_and_repeated(source: Path) -> None:
    index = ClipIndex(source, "train")
    clip = int(index.clips[2])
    offsets = np.array([4, 0, 4, 2])
    first = int(index.start[clip])
    raw = Artifact.open(source, Kind.SOURCE).rows("frames/image", first, first + 6)
    assert np.allclose(index.image(clip, offsets), raw[offsets] / 255.0, atol=1e-7)


def test_only_the_valid_extent_of_a_padded_frame_is_read(tmp_path: Path) -> None:
    clips = [
        Clip(c.name, c.patient, c.image[:, :40, :36], c.wire_mask[:, :40, :36], c.annotated, 15.0, 0.3, 255)
        if c.name.endswith("r02")
        else c
        for c in toy_clips()
    ]
    index = ClipIndex(write_toy_source(tmp_path / "s.h5", clips=clips), "train")
    shapes = {str(index.name[c])[-3:]: index.image(int(c), np.arange(2)).shape for c in index.clips}
    assert shapes == {"r01": (2, 48, 48), "r02": (2, 40, 36)}


def test_intensity_against_numpy(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    pixels = []
    for clip in np.flatnonzero(artifact.column("clips/split") == "train"):
        pixels.append(artifact.clip_rows("frames/image", int(clip)).astype(np.float64) / 255.0)
    values = np.concatenate(pixels)
    intensity = ClipIndex(source, "train").intensity()
    assert intensity.mean == pytest.approx(values.mean(), abs=1e-6)
    assert intensity.std == pytest.approx(values.std(), abs=1e-6)


def test_intensity_ignores_padding_and_the_other_splits(tmp_path: Path) -> None:
    clips = []
    for clip in toy_clips():
        image = clip.image.copy()
        image[:, 40:] = 255  # cut away below: would raise the mean if it were read
        clips.append(
            Clip(clip.name, clip.patient, image[:, :40], clip.wire_mask[:, :40], clip.annotated, 15.0, 0.3, 255)
            if clip.name.endswith("r02")
            else Clip(clip.name, clip.patient, image, clip.wire_mask, clip.annotated, 15.0, 0.3, 255)
        )
    source = write_toy_source(tmp_path / "s.h5", clips=clips)
    artifact = Artifact.open(source, Kind.SOURCE)
    of_name = {clip.name: clip for clip in clips}
    names = artifact.column("clips/name")[artifact.column("clips/split") == "train"]
    values = np.concatenate([of_name[str(name)].image.ravel() / 255.0 for name in names])
    intensity = ClipIndex(source, "train").intensity()
    assert intensity.mean == pytest.approx(values.mean(), abs=1e-6)
    assert intensity.std == pytest.approx(values.std(), abs=1e-6)


def test_constant_pictures_are_refused(tmp_path: Path) -> None:
    clips = [
        Clip(c.name, c.patient, np.full_like(c.image, 90), c.wire_mask, c.annotated, 15.0, 0.3, 255)
        for c in toy_clips()
    ]
    source = write_toy_source(tmp_path / "s.h5", clips=clips)
    with pytest.raises(SourceError, match="constant"):
        ClipIndex(source, "train").intensity()


def test_a_split_without_a_label_is_refused(source: Path, tmp_path: Path) -> None:
    whole = Artifact.open(source, Kind.SOURCE)
    in_test = np.repeat(whole.column("clips/split") == "test", whole.column("clips/length"))
    bare = rewritten(
        source,
        tmp_path / "bare.h5",
        frames__annotated=whole.column("frames/annotated") & ~in_test,
        frames__wire_mask=whole.column("frames/wire_mask") * ~in_test[:, None, None],
        frames__visibility=np.where(in_test, np.nan, whole.column("frames/visibility")).astype(np.float32),
        clips__labelled=whole.column("clips/labelled") & (whole.column("clips/split") != "test"),
    )
    index = ClipIndex(bare, "test", "annotated")
    assert set(index.patients) == patients_of(source, "test")
    with pytest.raises(SourceError, match="2 clips, none labelled"):
        index.require_labels()
    ClipIndex(bare, "train").require_labels()


def test_pixels_to_ignore_come_within_the_clip_s_extent(tmp_path: Path) -> None:
    clips = list(toy_clips())
    small = clips[2]
    image, mask = small.image[:, :40, :44], small.wire_mask[:, :40, :44]
    clips[2] = replace(small, image=image, wire_mask=mask, ignore=1 - mask)
    path = write_toy_source(tmp_path / "s.h5", clips=clips)
    artifact = Artifact.open(path)
    row = list(artifact.column("clips/name")).index(small.name)
    index = ClipIndex(path, str(artifact.column("clips/split")[row]))
    assert np.array_equal(index.ignore(row, np.array([4, 1])), 1 - mask[[4, 1]])
