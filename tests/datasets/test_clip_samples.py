from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import distance_transform_edt
from toy import FRAMES, WINDOW, clip_batch, patients_of, rewritten, toy_clips, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.datasets.clips import ClipDataset, FixedSamples
from sfvd_pl.datasets.windows import Window, centreline_nearness
from sfvd_pl.diffusion import sample_noise
from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip


class SpyIndex:
    """Remembers which clips and frames a dataset reads."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.read: list[tuple[int, list[int]]] = []
        self._image = dataset.index.image
        dataset.index.image = self  # type: ignore[method-assign,assignment]

    def __call__(self, clip: int, offsets: np.ndarray) -> np.ndarray:
        self.read.append((clip, offsets.tolist()))
        return self._image(clip, offsets)


def _places(frame: np.ndarray, cut: np.ndarray) -> Iterator[Window]:
    """Every window of a frame that looks like ``cut``."""
    views = sliding_window_view(frame, cut.shape)
    for turns in range(4):
        for mirrored in (False, True):
            back = np.rot90(cut[:, ::-1] if mirrored else cut, -turns)
            for top, left in np.argwhere((views == back).all((2, 3))):
                yield Window(int(top), int(left), len(cut), turns, mirrored)


def _motion(source: Path, **changes: object) -> ClipDataset:
    settings: dict[str, object] = {"context": 3, "block": 2, "frames": FRAMES, "window": WINDOW, "seed": 1}
    return ClipDataset(source, "train", **(settings | changes))  # type: ignore[arg-type]


def test_shapes_of_scene_and_motion_samples(source: Path) -> None:
    scene = clip_batch(source, [0, 1, 2])
    assert scene.image.shape == scene.wire_mask.shape == scene.noise.shape == (3, 1, 1, WINDOW, WINDOW)
    motion = clip_batch(source, [0, 1], motion=True)
    assert motion.image.shape == motion.context_noise.shape == (2, 1, 5, WINDOW, WINDOW)
    assert motion.shared_noise.shape == (2, 1, WINDOW, WINDOW)
    assert motion.known.shape == motion.region.shape == motion.image.shape
    assert motion.uniforms.shape == (2, 2)
    assert motion.sample_id.tolist() == [0, 1]


@pytest.mark.parametrize("motion", [False, True])
def test_picture_mask_and_nearness_are_cut_and_turned_alike(source: Path, motion: bool) -> None:
    """Each sample is found again in its clip: one window explains the picture and the mask."""
    dataset = _motion(source) if motion else ClipDataset(source, "train", seed=1, window=WINDOW)
    spy = SpyIndex(dataset)
    artifact = Artifact.open(source, Kind.SOURCE)
    for sample_id in range(12):
        batch = dataset[sample_id]
        clip, offsets = spy.read[-1]
        image = artifact.clip_rows("frames/image", clip)[offsets] / np.float32(255.0)
        masks = artifact.clip_rows("frames/wire_mask", clip)[offsets]
        found = list(_places(image[0], batch.image[0, 0, 0].numpy()))
        assert len(found) == 1
        assert np.array_equal(found[0].cut(image), batch.image[0, 0].numpy())
        known = batch.known[0, 0].numpy()
        assert known.all() or not known.any(), "labelled throughout, or without suspects nothing is known"
        cut = found[0].cut(masks) * known.astype(np.uint8)
        assert np.array_equal(cut, batch.wire_mask[0, 0].numpy())
        assert np.allclose(centreline_nearness(cut.astype(np.uint8)), batch.nearness[0, 0].numpy())


def _opened(region: np.ndarray, radius: float) -> np.ndarray:
    """What discs within a region cover; beyond the window's edge it goes on."""
    inside = distance_transform_edt(region) > radius
    return np.asarray(distance_transform_edt(~inside) <= radius)


def test_an_anchored_sample_is_drawn_around_its_wire_and_a_course_and_a_fresh_one_everywhere(source: Path) -> None:
    batch = clip_batch(source, list(range(80)), motion=True, labelled_share=1.0, anchored_share=0.6)
    regions, masks = batch.region[:, 0].numpy() > 0, batch.wire_mask[:, 0].numpy() > 0
    fresh = regions.all((1, 2, 3))
    assert fresh.mean() == pytest.approx(0.4, abs=0.15)
    more = 0
    for region, mask in zip(regions[~fresh], masks[~fresh], strict=True):
        assert region.any((1, 2)).all(), "there is a course in every frame where there's no wire"
        for drawn, wire in zip(region, mask, strict=True):
            band = distance_transform_edt(~wire) <= 4 if wire.any() else np.zeros_like(wire)
            assert drawn[band].all()
            assert np.array_equal(_opened(drawn, 4.0), drawn)
        more += bool((region & ~np.stack([distance_transform_edt(~m) <= 4 for m in mask])).any())
    assert 0.3 < more / (~fresh).sum() < 0.9, "a half also learns that elsewhere there is none"


def test_of_an_unlabelled_frame_it_is_known_where_the_guide_suspects_nothing(source: Path, suspects: Path) -> None:
    """The guide finds every wire here, so what nobody knows is the wire and 2 px around it."""
    dataset = ClipDataset(source, "train", seed=1, window=WINDOW, labelled_share=0.0, suspects=suspects)
    spy, artifact, hidden = SpyIndex(dataset), Artifact.open(source, Kind.SOURCE), 0
    for sample_id in range(20):
        batch = dataset[sample_id]
        clip, offsets = spy.read[-1]
        image = artifact.clip_rows("frames/image", clip)[offsets[0]] / np.float32(255.0)
        (window,) = _places(image, batch.image[0, 0, 0].numpy())
        wire = artifact.clip_rows("frames/wire_mask", clip)[offsets[0]]
        expected = window.cut(distance_transform_edt(wire == 0) > 2)
        assert np.array_equal(batch.known[0, 0, 0].numpy() > 0, expected)
        assert not batch.wire_mask.any() and not batch.nearness.any()
        hidden += not expected.all()
    assert hidden > 10
    assert not clip_batch(source, list(range(8)), labelled_share=0.0).known.any(), "without suspects nothing is"


def test_a_pixel_to_ignore_is_not_known(source: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    ignore = 1 - artifact.column("frames/wire_mask")
    ignored = rewritten(source, tmp_path / "ignored.h5", frames__ignore=ignore)
    batch = clip_batch(ignored, list(range(8)), labelled_share=1.0)
    assert torch.equal(batch.known, batch.wire_mask) and batch.wire_mask.any()


def _offsets_by_hand(first: int, begin: int, context: int, block: int) -> list[int]:
    history = [max(0, begin - back) for back in range(context - 1, 0, -1)]
    return [first + o for o in (0, *history, *range(begin, begin + block))]


@pytest.mark.parametrize(("context", "block", "frames"), [(3, 2, 4), (2, 1, 3), (4, 3, 6), (3, 4, 5), (1, 2, 4)])
def test_motion_offsets_are_first_frame_history_and_block(
    source: Path, context: int, block: int, frames: int
) -> None:
    dataset = _motion(source, context=context, block=block, frames=frames, labelled_share=0.0)
    spy = SpyIndex(dataset)
    for sample_id in range(150):
        dataset[sample_id]
    span = min(frames, 6)
    possible = {
        tuple(_offsets_by_hand(first, begin, context, block))
        for first in range(6 - span + 1)
        for begin in range(1, span - block + 1)
    }
    seen = Counter(tuple(offsets) for _, offsets in spy.read)
    assert set(seen) == possible
    assert max(seen.values()) < 4 * min(seen.values()) + 20


def test_a_block_fits_a_clip_that_is_shorter_than_those_to_generate(source: Path) -> None:
    dataset = _motion(source, frames=40, block=4, labelled_share=0.0)
    spy = SpyIndex(dataset)
    for sample_id in range(30):
        dataset[sample_id]
    assert {tuple(offsets[3:]) for _, offsets in spy.read} == {(1, 2, 3, 4), (2, 3, 4, 5)}
    assert {offsets[0] for _, offsets in spy.read} == {0}


def test_a_block_longer_than_every_clip_is_refused(source: Path) -> None:
    _motion(source, block=5, frames=6)
    with pytest.raises(SourceError, match="at least 7 frames"):
        _motion(source, block=6, frames=8)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("motion", [False, True])
def test_labelled_share(source: Path, share: float, motion: bool) -> None:
    batch = clip_batch(source, list(range(160)), motion=motion, labelled_share=share)
    known = batch.known.flatten(1)
    assert known.any(1).float().mean().item() == pytest.approx(share, abs=0.1)
    assert torch.equal(known.all(1), known.any(1))


@pytest.mark.parametrize("motion", [False, True])
def test_masks_of_unlabelled_clips_never_reach_a_batch(source: Path, motion: bool) -> None:
    """The toy source is annotated throughout, so a leak would show as a mask."""
    dataset = _motion(source) if motion else ClipDataset(source, "train", seed=1, window=WINDOW)
    dataset.labelled_share = 0.5
    spy = SpyIndex(dataset)
    artifact = Artifact.open(source, Kind.SOURCE)
    labelled = artifact.column("clips/labelled")
    hidden = 0
    for sample_id in range(80):
        batch = dataset[sample_id]
        clip = spy.read[-1][0]
        if not labelled[clip]:
            hidden += 1
            assert not batch.known.any()
        if not batch.known.any():
            assert not batch.wire_mask.any()
            assert not batch.nearness.any()
    assert hidden > 15


def test_an_unannotated_frame_of_a_labelled_clip_is_unlabelled(tmp_path: Path) -> None:
    clips = []
    for clip in toy_clips():
        annotated = np.array([True, True, False, False, True, True])
        masks = clip.wire_mask * annotated[:, None, None].astype(np.uint8)
        clips.append(Clip(clip.name, clip.patient, clip.image, masks, annotated, 15.0, 0.3, 255))
    source = write_toy_source(tmp_path / "s.h5", clips=clips, labelled_fraction=1.0)
    dataset = _motion(source, labelled_share=1.0)
    spy = SpyIndex(dataset)
    for sample_id in range(40):
        batch = dataset[sample_id]
        offsets = spy.read[-1][1]
        expected = [offset not in (2, 3) for offset in offsets]
        for frame, known in enumerate(expected):
            assert bool(batch.known[0, 0, frame].all()) == bool(batch.known[0, 0, frame].any()) == known
            if not known:
                assert not batch.wire_mask[0, 0, frame].any()
    assert clip_batch(source, list(range(60)), labelled_share=1.0).known.all()
    assert not clip_batch(source, list(range(60)), labelled_share=0.0).known.any()


@pytest.mark.parametrize("motion", [False, True])
def test_only_training_patients_are_read(source: Path, motion: bool) -> None:
    dataset = _motion(source) if motion else ClipDataset(source, "train", seed=1, window=WINDOW)
    spy = SpyIndex(dataset)
    for sample_id in range(60):
        dataset[sample_id]
    patient = Artifact.open(source, Kind.SOURCE).column("clips/patient")
    seen = {str(patient[clip]) for clip, _ in spy.read}
    assert seen == patients_of(source, "train")
    assert not seen & (patients_of(source, "val") | patients_of(source, "test"))


def test_most_labelled_windows_show_the_wire(source: Path) -> None:
    batch = clip_batch(source, list(range(100)), labelled_share=1.0)
    shows = batch.wire_mask.flatten(1).any(1).float().mean().item()
    assert shows > 0.85


def test_a_sample_depends_on_seed_and_id_alone(source: Path) -> None:
    first = ClipDataset(source, "train", seed=1, window=WINDOW)
    again = ClipDataset(source, "train", seed=1, window=WINDOW)
    for sample_id in (9, 2, 31):
        again[sample_id]
    other_seed = ClipDataset(source, "train", seed=2, window=WINDOW)
    for sample_id in (2, 9):
        a, b = first[sample_id], again[sample_id]
        for field in ("image", "wire_mask", "region", "noise", "shared_noise", "context_noise", "uniforms"):
            assert torch.equal(getattr(a, field), getattr(b, field))
            if field not in ("wire_mask", "region"):
                assert not torch.equal(getattr(a, field), getattr(other_seed[sample_id], field))
    assert not torch.equal(first[2].noise, first[9].noise)


def test_noise_is_that_of_the_sample_id_and_each_purpose_has_its_own(source: Path) -> None:
    batch = clip_batch(source, [4, 17])
    shape = (1, 1, WINDOW, WINDOW)
    assert torch.equal(batch.noise, sample_noise(1, [4, 17], shape, "noise"))
    assert torch.equal(batch.context_noise, sample_noise(1, [4, 17], shape, "context"))
    assert not torch.equal(batch.noise, batch.context_noise)
    assert not torch.equal(batch.noise[:, :, 0], batch.shared_noise)


def test_uniforms_fill_the_interval_evenly(source: Path) -> None:
    uniforms = clip_batch(source, list(range(256)), labelled_share=0.0).uniforms
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    for column in range(2):
        values = np.sort(uniforms[:, column].numpy())
        assert np.abs(values - (np.arange(256) + 0.5) / 256).max() < (0.01 if column == 0 else 0.1)
    correlation = np.corrcoef(uniforms.numpy().T)
    assert np.abs(correlation - np.eye(2)).max() < 0.2


def test_frames_smaller_than_the_window_are_padded(source: Path) -> None:
    batch = clip_batch(source, [0, 1, 2], window=64, augment=False)
    assert batch.image.shape[-2:] == (64, 64)
    assert torch.equal(batch.image[..., 48:, :], batch.image[..., 47:48, :].expand_as(batch.image[..., 48:, :]))


def test_fixed_samples_are_the_first_ids(source: Path) -> None:
    dataset = ClipDataset(source, "val", seed=2, window=WINDOW, labelled_share=1.0, augment=False)
    fixed = FixedSamples(dataset, 3)
    assert len(fixed) == 3
    batch = ClipBatch.collate([fixed[i] for i in range(3)])
    assert batch.sample_id.tolist() == [0, 1, 2]
    assert torch.equal(batch.image, ClipBatch.collate([dataset[i] for i in range(3)]).image)


def test_collate_joins_and_to_moves_every_tensor(source: Path) -> None:
    dataset = ClipDataset(source, "train", seed=1, window=WINDOW)
    batch = ClipBatch.collate([dataset[3], dataset[5]])
    assert torch.equal(batch.image[1:], dataset[5].image)
    moved = batch.to(torch.device("meta"))
    assert all(getattr(moved, name).device.type == "meta" for name in ("image", "noise", "sample_id", "uniforms"))
