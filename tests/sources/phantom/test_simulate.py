"""The simulated clips as a whole: reproducible, labelled exactly, visible as meant."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.sources import (
    Clip,
    PhantomConfig,
    simulate_clips,
    simulate_wire_masks,
)
from sfvd_pl.sources.phantom import exact as phantom_exact
from sfvd_pl.sources.phantom import simulate as phantom
from sfvd_pl.sources.phantom.anatomy import StillImage, make_thorax, moving_path
from sfvd_pl.sources.phantom.geometry import View
from sfvd_pl.sources.phantom.heart import make_heart

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
    still = replace(
        SMALL, noise_std=(0.0, 0.0), blur_px=0.01, tip_density=(1.0, 1.0), intensity_max=65535, lag=(0.0, 0.0),
        recursion=(0.0, 0.0), pulse_ms=(0.0, 0.0), second_wire_probability=0.5,
    )  # fmt: skip
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


def test_grain_is_independent_between_frames_but_for_what_the_console_keeps() -> None:
    assert _lag_one(0.0) == pytest.approx(0, abs=0.03)
    assert _lag_one(0.4) == pytest.approx(0.4, abs=0.04)


def _lag_one(recursion: float) -> float:
    """Correlation of the noise of neighbouring frames: a film minus the same film without noise."""
    noisy = replace(
        SMALL, frames=8, lag=(0.0, 0.0), recursion=(recursion, recursion), noise_std=(7.0, 7.0), grain_px=0.0
    )
    a, b = (next(simulate_clips(each, 1)) for each in (noisy, replace(noisy, noise_std=(0.0, 0.0))))
    grain = a.image.astype(float) - b.image
    assert 1 < grain.std() < 8
    return float(
        np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(grain, grain[1:], strict=False)])
    )


def test_a_moving_table_moves_the_body_but_not_the_collimator_or_the_pattern() -> None:
    still = replace(
        SMALL, frames=16, heart_hz=(1e-6, 1e-6), breath_mm=(0, 0), contrast_probability=0.0, noise_std=(0.0, 0.0),
        structure_std=(0.0, 0.0), lag=(0.0, 0.0), recursion=(0.0, 0.0), distractor_probability=0.0,
        panning_probability=1.0, panning_mm_s=(18.0, 20.0), place_shares=(1.0, 0.0, 0.0, 0.0), intensity_max=65535,
    )  # fmt: skip
    clip = next(simulate_clips(still, 4))
    first, last = (clip.image[k].astype(float) for k in (0, -1))
    wires = [np.argwhere(clip.wire_mask[k]).mean(axis=0) for k in (0, -1)]
    assert np.linalg.norm(wires[1] - wires[0]) > 3, "the wire goes with the table"
    dy, dx = np.rint(wires[1] - wires[0]).astype(int)
    inner = np.s_[20:-20, 20:-20]
    moved = np.roll(first, (dy, dx), (0, 1))
    assert np.abs(moved - last)[inner].mean() < 0.5 * np.abs(first - last)[inner].mean()
    assert np.abs(first - last)[:1].mean() < np.abs(first - last)[inner].mean()


def test_two_wires_are_two_lines_in_one_mask() -> None:
    two = replace(SMALL, patients=6, second_wire_probability=1.0, place_shares=(1.0, 0.0, 0.0, 0.0))
    one = replace(two, second_wire_probability=0.0)
    more = [
        a.wire_mask.sum() / b.wire_mask.sum()
        for a, b in zip(simulate_clips(two, 2), simulate_clips(one, 2), strict=True)
    ]
    assert np.mean(more) > 1.2
    masks = [
        simulate_wire_masks(seed, 2, 96, 96, second_wire_probability=share)
        for seed in range(6)
        for share in (0, 1)
    ]
    assert sum(int(b.sum()) > 1.2 * int(a.sum()) for a, b in zip(masks[::2], masks[1::2], strict=True)) >= 3


@pytest.mark.parametrize("place", range(4))
def test_every_place_shows_a_wire_in_every_frame(place: int) -> None:
    config = replace(
        SMALL, height=96, width=96, frames=6, place_shares=tuple(float(k == place) for k in range(4))
    )
    for clip in simulate_clips(config, 1):
        assert clip.wire_mask.sum(axis=(1, 2)).min() >= phantom.LEAST_PIXELS


def test_c_arm_angles_are_told() -> None:
    for clip in simulate_clips(replace(SMALL, patients=1), 1):
        assert all(abs(angle) < 75 for angle in clip.angles_deg)


def _digest(clips: list[Clip]) -> str:
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(clip.image.tobytes())
        digest.update(clip.wire_mask.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_processes_gives_the_same_clips_in_the_same_order(workers: int) -> None:
    alone, together = list(simulate_clips(SMALL, 3)), list(simulate_clips(SMALL, 3, workers=workers))
    assert [clip.name for clip in alone] == [clip.name for clip in together]
    assert _digest(alone) == _digest(together)


def test_a_process_that_dies_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def submit(self, *_: object) -> None:
            raise BrokenProcessPool

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(phantom, "ProcessPoolExecutor", Dying)
    with pytest.raises(SourceError, match="workers"):
        next(simulate_clips(SMALL, 0, workers=2))


GOLDEN = "e29cd607b80b40d55922afe6cfcc44362e02cd982a9d26697e6103b60683e5d4"
"""SHA-256 of the images and masks of ``GOLDEN_CONFIG`` with seed 11. Change it only with the physics."""
GOLDEN_CONFIG = PhantomConfig(
    patients=2, clips_per_patient=3, frames=4, height=64, width=64, second_wire_probability=0.3,
    panning_probability=0.4, contrast_probability=0.6,
)  # fmt: skip
OTHER_MACHINES = {
    "plain vector units": {"NPY_DISABLE_CPU_FEATURES": "dispatched"},
    "an old processor": {
        "NPY_DISABLE_CPU_FEATURES": "dispatched",
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX2_Usable,-FMA_Usable",
    },
    "other kernels and threads": {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "2"},
}


def test_the_bytes_are_the_ones_they_always_were() -> None:
    assert _digest(list(simulate_clips(GOLDEN_CONFIG, 11))) == GOLDEN


@pytest.mark.parametrize("machine", OTHER_MACHINES)
def test_the_bytes_are_the_same_on_other_machines(machine: str) -> None:
    """The same clips from an interpreter that is told to use other instructions and kernels."""
    features = np._core._multiarray_umath
    present = [name for name in features.__cpu_dispatch__ if features.__cpu_features__.get(name)]
    told = {k: " ".join(present) if v == "dispatched" else v for k, v in OTHER_MACHINES[machine].items()}
    script = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import test_simulate as t; "
        "print(t._digest(list(t.simulate_clips(t.GOLDEN_CONFIG, 11))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **told}, capture_output=True, text=True
    )
    assert done.stdout.strip() == GOLDEN, done.stderr


def test_the_bytes_dont_hang_on_the_last_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a library gives is off by some of its last digits, as on a machine unlike any tried: no difference."""
    rng = np.random.default_rng(0)
    exact, seen = phantom_exact.on_grid, [0]

    def trembling(values: object, step: float) -> np.ndarray:
        values = np.asarray(values, float)
        seen[0] += values.size
        return exact(values * (1 + rng.uniform(-1e-15, 1e-15, values.shape)), step)

    for name, module in list(sys.modules.items()):
        if name.startswith("sfvd_pl.sources.phantom.") and hasattr(module, "on_grid"):
            monkeypatch.setattr(module, "on_grid", trembling)
    phantom._body.cache_clear()
    try:
        assert _digest(list(simulate_clips(GOLDEN_CONFIG, 11))) == GOLDEN
    finally:
        phantom._body.cache_clear()
    assert seen[0] > 100_000


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
        ("width", 2049),
        ("spacing_mm", 0.0),
        ("fps", -1.0),
        ("blur_px", 0.0),
        ("blur_px", 2.1),
        ("grain_px", -0.1),
        ("second_wire_probability", -0.1),
        ("panning_probability", 2.0),
        ("tip_shares", (1.0, 1.0, 1.0)),
        ("tip_shares", (0.0, 0.0, 0.0, 0.0)),
        ("place_shares", (1.0, -0.1, 0.0, 0.0)),
        ("lag", (0.0, 0.6)),
        ("recursion", (0.0, 1.0)),
        ("blade_level", (0.0, 1.5)),
        ("pulse_ms", (0.0, 80.0)),
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


def test_every_setting_is_documented_with_its_default() -> None:
    text = (Path(__file__).parents[3] / "docs" / "phantom.md").read_text()
    rows = {row.split("|")[1].strip(" `"): row for row in text.splitlines() if row.startswith("| `")}
    for field in fields(PhantomConfig):
        value = field.default if isinstance(field.default, tuple) else (field.default,)
        shown = (" to " if len(value) == 2 else ", ").join(f"{number:g}" for number in value)
        assert f"| {shown} |" in rows[field.name], field.name
        assert f"        {field.name}: " in (PhantomConfig.__doc__ or "")


@pytest.mark.parametrize(
    "change", [{"seed": -1}, {"frames": 0}, {"height": 31}, {"width_px": 0.0}, {"fps": 0.0}]
)
def test_impossible_masks_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        simulate_wire_masks(**{"seed": 0, "frames": 2, "height": 64, "width": 64, **change})  # type: ignore[arg-type]


def test_a_negative_seed_or_number_of_processes_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        next(simulate_clips(SMALL, -1))
    with pytest.raises(ConfigError, match="workers"):
        next(simulate_clips(SMALL, 0, workers=-1))


def test_giving_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "LEAST_PIXELS", 10**6)
    monkeypatch.setattr(phantom, "ATTEMPTS", 2)
    with pytest.raises(ConfigError, match="wire"):
        simulate_wire_masks(0, 1, 64, 64)
    with pytest.raises(ConfigError, match="view_mm"):
        next(iter(simulate_clips(SMALL, 0)))
