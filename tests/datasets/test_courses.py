import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import label

from sfvd_pl.datasets.courses import (
    Background,
    course_width,
    draw_curve,
    labelled_sequence,
    random_course,
    vessel_sequence,
)

FRAMES, SIZE = 8, 128


def _tube(t: int, *, phase: float = 0.0) -> np.ndarray:
    """Points of a bent vessel that swings by 5 px."""
    along = np.arange(-10.0, SIZE + 10.0, 0.5)
    swing = 5.0 * np.sin(2 * np.pi * t / FRAMES + phase)
    return np.stack([64 + 22 * np.sin(along / 24) + swing, along], axis=1)


@pytest.fixture(scope="module")
def vessel_clip() -> np.ndarray:
    """A dark vessel with soft tissue that moves with it, a shutter's edge, and noise."""
    rng = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(rng.standard_normal((SIZE + 40, SIZE)), 4.0)
    clip = np.empty((FRAMES, SIZE, SIZE))
    for t in range(FRAMES):
        shift = 5.0 * np.sin(2 * np.pi * t / FRAMES)
        moved = ndimage.shift(tissue, (shift, 0), order=1, mode="nearest")[20:-20]
        clip[t] = 0.6 + 0.01 * moved / tissue.std() - 0.15 * draw_curve(_tube(t), SIZE, SIZE, 5.0)
        clip[t, :, -10:] *= 0.3
        clip[t] += 0.02 * rng.standard_normal((SIZE, SIZE))
    return np.clip(clip, 0, 1).astype(np.float32)


def _pieces(mask: np.ndarray) -> int:
    return int(label(mask, connectivity=2).max())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 200), (256, 256)])
@pytest.mark.parametrize("width_px", [1.0, 2.5])
def test_random_courses_are_long_thin_and_decided_by_the_generator(
    height: int, width: int, width_px: float
) -> None:
    masks = []
    for seed in range(12):
        course = random_course(np.random.default_rng(seed), height, width, width_px)
        assert course.shape == (height, width) and 0 <= course.min() and course.max() <= 1
        assert np.array_equal(course, random_course(np.random.default_rng(seed), height, width, width_px))
        masks.append((course > 0.5).astype(np.uint8))
        assert masks[-1].sum() >= 16 and masks[-1].mean() < 0.2
    assert course_width(np.stack(masks)) == pytest.approx(width_px, rel=0.1)
    assert len({mask.tobytes() for mask in masks}) == 12


@pytest.mark.parametrize("width_px", [1.0, 1.5, 3.0])
def test_drawn_lines_are_unbroken_and_as_wide_as_asked(width_px: float) -> None:
    along = np.arange(-20.0, 20.0, 0.5)
    rng = np.random.default_rng(0)
    masks = []
    for angle in np.linspace(0, np.pi, 25):
        middle = 32 + rng.uniform(-0.5, 0.5, 2)
        coverage = draw_curve(
            middle + along[:, None] * np.array([np.sin(angle), np.cos(angle)]), 64, 64, width_px
        )
        masks.append((coverage > 0.5).astype(np.uint8))
        assert _pieces(masks[-1]) == 1
    assert course_width(np.stack(masks)) == pytest.approx(width_px, rel=0.1)


def test_a_vessel_course_lies_on_the_vessel_in_every_frame(vessel_clip: np.ndarray) -> None:
    background = Background(vessel_clip)
    for seed in range(6):
        masks = vessel_sequence(background, np.random.default_rng(seed), 1.6)
        assert masks is not None
        assert masks.dtype == np.uint8 and masks.shape == vessel_clip.shape
        assert np.array_equal(masks, vessel_sequence(vessel_clip, np.random.default_rng(seed), 1.6))
        assert course_width(masks) == pytest.approx(1.6, abs=0.25)
        for t, mask in enumerate(masks):
            assert mask.sum() >= 16
            assert _pieces(mask) == 1
            vessel = draw_curve(_tube(t), SIZE, SIZE, 1.0) > 0.5
            assert ndimage.distance_transform_edt(~vessel)[mask > 0].mean() < 1.0
        length = masks.sum(axis=(1, 2))
        assert len(set(length.tolist())) > 1


def test_a_vessel_course_keeps_away_from_what_is_to_be_avoided(vessel_clip: np.ndarray) -> None:
    avoid = np.zeros(vessel_clip.shape, bool)
    avoid[:, :, :64] = True
    for seed in range(4):
        masks = vessel_sequence(vessel_clip, np.random.default_rng(seed), 1.6, avoid)
        assert masks is None or (masks * avoid).sum() < 0.1 * masks.sum()
    assert vessel_sequence(vessel_clip, np.random.default_rng(0), 1.6, np.ones_like(avoid)) is None


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_an_empty_clip_has_no_vessel_course(noise: float) -> None:
    clip = 0.5 + noise * np.random.default_rng(0).standard_normal((4, 96, 96)).astype(np.float32)
    assert vessel_sequence(clip.astype(np.float32), np.random.default_rng(0), 1.6) is None


@pytest.mark.parametrize("width_px", [1.0, 2.0])
def test_a_labelled_sequence_put_elsewhere_keeps_its_wire_whole(width_px: float) -> None:
    source = np.stack(
        [draw_curve(_tube(t)[60:200] * 0.8, SIZE, 160, width_px) > 0.5 for t in range(4)]
    ).astype(np.uint8)
    placings = set()
    for seed in range(8):
        masks = labelled_sequence(source, 160, SIZE, np.random.default_rng(seed))
        assert masks is not None
        assert masks.shape == (4, 160, SIZE) and masks.max() == 1
        assert np.array_equal(masks, labelled_sequence(source, 160, SIZE, np.random.default_rng(seed)))
        assert all(_pieces(mask) == 1 for mask in masks)
        assert course_width(masks) == pytest.approx(course_width(source), abs=0.2)
        placings.add(masks.tobytes())
    assert len(placings) == 8
    assert labelled_sequence(np.zeros_like(source), 160, SIZE, np.random.default_rng(0)) is None
