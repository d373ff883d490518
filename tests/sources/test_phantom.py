"""The simulated clips as a whole: reproducible, labelled exactly, visible as meant."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.sources import Clip, PhantomConfig, phantom, simulate_clips, simulate_wire_masks
from sfvd_pl.sources.phantom_anatomy import StillImage, make_thorax, moving_path
from sfvd_pl.sources.phantom_geometry import View
from sfvd_pl.sources.phantom_heart import make_heart

SMALL = PhantomConfig(patients=2, clips_per_patient=2, frames=3, height=64, width=72)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """A cut of the default set: everything as by default, only fewer frames."""
    return list(simulate_clips(PhantomConfig(patients=7, frames=3), seed=0))


def test_same_seed_same_bytes_and_another_seed_others() -> None:
    first, again = list(simulate_clips(SMALL, 3)), list(simulate_clips(SMALL, 3))
    for a, b in zip(first, again, strict=True):
        assert a.name == b.name
        assert a.image.tobytes() == b.image.tobytes() and a.wire_mask.tobytes() == b.wire_mask.tobytes()
    other = next(iter(simulate_clips(SMALL, 4)))
    assert other.image.tobytes() != first[0].image.tobytes()


def test_a_clip_depends_on_seed_patient_and_number_only() -> None:
    more = replace(SMALL, patients=3, clips_per_patient=3)
    known = {clip.name: clip.image.tobytes() for clip in simulate_clips(more, 3)}
    few = list(simulate_clips(SMALL, 3))
    assert [clip.name for clip in few] == ["p01/r01", "p01/r02", "p02/r01", "p02/r02"]
    assert all(known[clip.name] == clip.image.tobytes() for clip in few)


def test_wire_is_exactly_under_its_mask() -> None:
    """Films that differ only in the wire's metal differ under the mask and in its rim, nowhere else."""
    still = replace(SMALL, noise_std=(0.0, 0.0), blur_px=0.01, tip_density=(1.0, 1.0), intensity_max=65535)
    faint = simulate_clips(replace(still, wire_mu=(1e-9, 1e-9)), 5)
    plain = simulate_clips(replace(still, wire_mu=(2.0, 2.0)), 5)
    for a, b in zip(faint, plain, strict=True):
        assert np.array_equal(a.wire_mask, b.wire_mask)
        darker = a.image.astype(float) - b.image.astype(float)
        wire = a.wire_mask == 1
        noise = 6 * 65535 * 0.003  # the electronic noise is the same in both, up to the signal's digits
        assert darker.min() > -noise
        near = ndimage.binary_dilation(wire, np.ones((1, 3, 3)), iterations=2)
        assert np.abs(darker[~near]).max() < noise
        assert (darker[wire] > noise).mean() > 0.98
        outside = near & ~wire
        assert np.median(darker[wire]) > 3 * np.median(darker[outside])


def test_every_frame_shows_the_wire_in_one_thin_piece(clips: list[Clip]) -> None:
    for clip in clips:
        assert clip.annotated.all()
        for wire in clip.wire_mask:
            assert wire.sum() >= phantom.LEAST_PIXELS
            assert not ndimage.binary_erosion(wire, np.ones((4, 4))).any()
            assert ndimage.label(wire, np.ones((3, 3)))[1] <= 3


def test_visibility_spans_plain_to_barely_visible(clips: list[Clip]) -> None:
    seen = np.array([np.median(clip_visibility(clip.image, clip.wire_mask)) for clip in clips])
    low, middle, high = np.quantile(seen, (0.1, 0.5, 0.9))
    assert 0.7 < low < 1.4 and 1.9 < middle < 3.0 and high > 3.3
    assert seen.min() > 0


def test_grey_values_are_those_of_fluoroscopy(clips: list[Clip]) -> None:
    spread = np.array([clip.image.std() for clip in clips])
    assert 25 < spread.mean() < 42
    assert 95 < np.mean([clip.image.mean() for clip in clips]) < 135
    assert np.mean([(clip.image == 255).mean() for clip in clips]) < 0.01


def test_grain_is_independent_between_frames() -> None:
    """With a heart that hardly beats, what is left after the mean over time has no correlation over time."""
    frozen = replace(SMALL, frames=10, heart_hz=(1e-6, 1e-6), breath_mm=(0, 0), contrast_probability=0.0)
    clip = next(iter(simulate_clips(frozen, 1)))
    away = ~ndimage.binary_dilation(clip.wire_mask.any(axis=0), iterations=4)
    residual = (clip.image - clip.image.mean(axis=0))[:, away]
    assert 1.5 < residual.std() < 8
    expected = -1 / 9  # taking the mean of ten frames away
    lag = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(residual[:-1], residual[1:], strict=True)])
    assert lag == pytest.approx(expected, abs=0.03)


def test_air_is_lung_outside_heart_and_dome_by_ray_marching() -> None:
    rng = np.random.default_rng(8)
    heart = make_heart(rng)
    thorax = make_thorax(rng, heart, 0.0)
    view = View(*View.axes(-20, 20), np.array([10.0, 10.0]), 0.12, 16, 16)
    matrix, shift = heart.deformation(0.7, -4.0)
    found = moving_path(StillImage(thorax, view, 1.0), heart, matrix, shift, -4.0)

    def solid(body):
        inverse = np.linalg.inv(body.axes)
        return lambda x: (((x - body.centre) @ inverse.T) ** 2).sum(-1) <= 1

    u, v = np.meshgrid(view.u, view.v)
    base = u[..., None] * view.right + v[..., None] * view.down
    beating = solid(heart.body.moved(matrix, shift))
    air, step = np.zeros(u.shape), 0.5
    for lung, dome in zip(thorax.lungs, thorax.domes, strict=True):
        in_lung, below = solid(lung), solid(dome.moved(np.eye(3), np.array([0, 0, -4.0])))
        for depth in np.arange(-220, 220, step):
            x = base + depth * view.beam
            air += step * (in_lung(x) & ~beating(x) & ~below(x))
    assert air.max() > 60
    assert np.abs(found - 0.74 * -0.019 * air).max() < 0.019 * 3 * step


@pytest.mark.parametrize(("size", "width_px"), [((64, 64), 1.5), ((256, 256), 2.5), ((40, 90), 1.0)])
def test_wire_masks_alone(size: tuple[int, int], width_px: float) -> None:
    lengths, moves = [], []
    for seed in range(4):
        masks = simulate_wire_masks(seed, 6, *size, width_px=width_px)
        assert masks.shape == (6, *size) and masks.dtype == np.uint8 and masks.max() == 1
        assert masks.sum(axis=(1, 2)).min() >= phantom.LEAST_PIXELS
        assert max(ndimage.label(wire, np.ones((3, 3)))[1] for wire in masks) <= 3
        lengths.append(int(masks[0].sum()))
        moves.append(bool((masks[0] != masks[-1]).any()))
        assert np.array_equal(masks, simulate_wire_masks(seed, 6, *size, width_px=width_px))
    assert len(set(lengths)) > 1
    assert any(moves), "a heart may rest for six frames, not all four of them"


def test_width_of_the_masks_is_the_one_asked_for() -> None:
    thin, thick = (simulate_wire_masks(2, 1, 256, 256, width_px=width) for width in (1.0, 3.0))
    assert 2.5 < thick.sum() / thin.sum() < 3.5


def test_sixteen_bit_detector() -> None:
    clip = next(iter(simulate_clips(replace(SMALL, intensity_max=4095), 0)))
    assert clip.image.dtype == np.uint16 and 1000 < clip.image.max() <= 4095


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patients", 0),
        ("frames", 0),
        ("height", 31),
        ("spacing_mm", 0.0),
        ("fps", -1.0),
        ("blur_px", 0.0),
        ("intensity_max", 65536),
        ("contrast_probability", 1.1),
        ("wire_mu", (2.0, 1.0)),
        ("wire_mu", (0.0, 1.0)),
        ("noise_std", (-1.0, 1.0)),
        ("view_mm", (1.0, 2.0, 3.0)),
        ("mean_level", (0.4, 1.0)),
    ],
)
def test_settings_out_of_range_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        PhantomConfig(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"frames": 0}, {"height": 31}, {"width_px": 0.0}, {"fps": 0.0}]
)
def test_impossible_masks_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        simulate_wire_masks(**{"seed": 0, "frames": 2, "height": 64, "width": 64, **change})  # type: ignore[arg-type]


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        next(simulate_clips(SMALL, -1))


def test_giving_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "LEAST_PIXELS", 10**6)
    monkeypatch.setattr(phantom, "ATTEMPTS", 2)
    with pytest.raises(ConfigError, match="wire"):
        simulate_wire_masks(0, 1, 64, 64)
    with pytest.raises(ConfigError, match="view_mm"):
        next(iter(simulate_clips(SMALL, 0)))
