from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from toy import FRAMES, WINDOW, patients_of

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.reference import ReferenceFrames, reference_clips


def test_windows_of_real_clips_with_the_wire_in_view(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    names = [str(name) for name in artifact.column("clips/name")]
    clips = reference_clips(source, "test", window=WINDOW, frames=FRAMES, seed=0)
    assert len(clips) == 4  # two windows from each of two clips
    for clip in clips:
        assert clip.patient in patients_of(source, "test")
        assert clip.image.dtype == np.uint8
        assert clip.annotated.all()
        assert clip.wire_mask.reshape(FRAMES, -1).sum(1).min() >= 16
        row = names.index(clip.name)
        whole = artifact.clip_rows("frames/image", row), artifact.clip_rows("frames/wire_mask", row)
        views = [sliding_window_view(part, (FRAMES, WINDOW, WINDOW)) for part in whole]
        same = (views[0] == clip.image).all((3, 4, 5)) & (views[1] == clip.wire_mask).all((3, 4, 5))
        assert same.sum() == 1


def test_the_seed_moves_the_windows(source: Path) -> None:
    def images(seed: int) -> np.ndarray:
        clips = reference_clips(source, "test", window=WINDOW, frames=FRAMES, seed=seed)
        return np.stack([clip.image for clip in clips])

    assert np.array_equal(images(0), images(0))
    assert not np.array_equal(images(0), images(1))


def test_a_shorter_clip_gives_all_it_has(source: Path) -> None:
    clips = reference_clips(source, "test", window=WINDOW, frames=50, seed=0)
    assert {len(clip.image) for clip in clips} == {6}


def test_reference_frames_run_through_the_clips(source: Path) -> None:
    clips = reference_clips(source, "test", window=WINDOW, frames=FRAMES, seed=0)
    frames = ReferenceFrames(clips, 255)
    assert len(frames) == 4 * FRAMES
    batch = frames[FRAMES + 1]
    assert batch.row.tolist() == [FRAMES + 1]
    assert np.allclose(batch.image[0, 0].numpy() * 255, clips[1].image[1])
    assert np.array_equal(batch.wire_mask[0, 0].numpy(), clips[1].wire_mask[1])
