from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy import FRAMES, WINDOW, patients_of, rewritten, toy_clips, write_synthetic, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.sets import ArtifactClips, Degraded, MeasuredClip, Subset, WindowClips


def windows(source: Path, **changes: object) -> WindowClips:
    return WindowClips(source, "test", window=WINDOW, frames=FRAMES, seed=0, **changes)  # type: ignore[arg-type]


def test_windows_are_parts_of_the_clips_they_name(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    names = [str(name) for name in artifact.column("clips/name")]
    clips = windows(source)
    assert len(clips) == len(list(clips)) == 4
    assert set(clips.patients) == set(patients_of(source, "test"))
    for clip, patient in zip(clips, clips.patients, strict=True):
        assert clip.patient == patient
        whole = artifact.clip_rows("frames/image", names.index(clip.name))
        views = np.lib.stride_tricks.sliding_window_view(whole, (FRAMES, WINDOW, WINDOW))
        assert (views == clip.image).all((3, 4, 5)).sum() == 1
        assert (clip.wire_mask.reshape(FRAMES, -1).sum(1) >= 16).all()


def test_windows_without_regard_to_the_wire_come_from_every_clip(source: Path) -> None:
    clips = windows(source, with_wire=False, windows_per_clip=1)
    index = Artifact.open(source, Kind.SOURCE).column("clips/split") == "test"
    assert len(clips) == index.sum()


def test_an_artifact_gives_its_clips_within_their_extent(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    clips = ArtifactClips(source)
    assert len(clips) == artifact.n_clips
    row = 1
    assert clips[row].image.shape[1:] == (
        artifact.column("clips/height")[row],
        artifact.column("clips/width")[row],
    )
    assert np.array_equal(ArtifactClips(source, rows=[row])[0].image, clips[row].image)
    assert clips[row].mask_group == clips[row].name


def test_synthetic_clips_come_at_their_own_size_with_their_pixels_to_ignore(source: Path, tmp_path: Path) -> None:
    made = write_synthetic(tmp_path / "synthetic.h5", source)
    ignore = Artifact.open(made).column("frames/ignore").copy()
    rows = slice(FRAMES, 2 * FRAMES)
    ignore[rows, WINDOW - 4 :] = 1
    ignore[rows, 2:5] = 1
    sizes = np.full(6, WINDOW) - 4 * (np.arange(6) == 1)
    path = rewritten(made, tmp_path / "smaller.h5", clips__height=sizes, frames__ignore=ignore)
    first, second = ArtifactClips(path, rows=[0, 1])
    assert first.image.shape[1:] == (WINDOW, WINDOW)
    assert second.image.shape[1:] == second.wire_mask.shape[1:] == (WINDOW - 4, WINDOW)
    assert not first.ignore.any()
    assert np.array_equal(second.ignore, ignore[rows, : WINDOW - 4])


def test_windows_carry_the_pixels_to_ignore(tmp_path: Path) -> None:
    clips = [replace(clip, ignore=(clip.image % 2) & (1 - clip.wire_mask)) for clip in toy_clips()]
    for clip in windows(write_toy_source(tmp_path / "s.h5", clips=clips)):
        assert np.array_equal(clip.ignore, (clip.image % 2) & (1 - clip.wire_mask))


def test_identity_follows_what_decides_the_pixels(source: Path) -> None:
    same, other = windows(source), windows(source, windows_per_clip=1)
    assert same.identity == windows(source).identity != other.identity
    identities = {
        same.identity,
        other.identity,
        ArtifactClips(source).identity,
        ArtifactClips(source, rows=[0]).identity,
        Subset(same, (0, 1)).identity,
        Degraded(same, "blur").identity,
        Degraded(same, "noise").identity,
        Degraded(same, "noise", seed=1).identity,
    }
    assert len(identities) == 8


def test_subset(source: Path) -> None:
    base = windows(source)
    part = Subset(base, (2, 0), title="two")
    assert (len(part), part.title, part.intensity_max) == (2, "two", base.intensity_max)
    assert np.array_equal(part[0].image, base[2].image)
    assert part.patients == (base.patients[2], base.patients[0])


def test_degradations(source: Path) -> None:
    base = windows(source)

    def roughness(clip: MeasuredClip) -> float:
        return float(np.abs(np.diff(clip.image.astype(float), axis=2)).mean())

    blurred, noisy, wrong = (Degraded(base, kind)[0] for kind in ("blur", "noise", "wrong masks"))
    assert roughness(blurred) < roughness(base[0]) < roughness(noisy)
    added = noisy.image.astype(float) - base[0].image
    inside = (base[0].image > 60) & (base[0].image < 200)
    assert added[inside].std() == pytest.approx(0.05 * 255, rel=0.1)
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.1  # new in each frame
    assert np.array_equal(noisy.image, Degraded(base, "noise")[0].image)
    assert np.array_equal(wrong.image, base[0].image)
    others = [clip.wire_mask for clip in base if clip.mask_group != base[0].mask_group]
    assert any(np.array_equal(wrong.wire_mask, mask) for mask in others)
    with pytest.raises(ValueError, match="unknown degradation"):
        Degraded(base, "sepia")  # type: ignore[arg-type]
