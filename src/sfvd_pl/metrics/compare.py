"""How much two sets of labelled clips look alike, in numbers: noise, grey values, memory over time, the wire.

Everything is measured clip by clip, so that the spread between clips says how large a difference matters. The
use: one's own data beside the simulator's, or two hospitals beside one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Bools, Floats, finite_mean, require_axes, require_same_shape
from sfvd_pl.metrics.noise import around_wire, residual, residual_autocorrelation
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.metrics.wire import skeleton

BANDS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Edges of the bands of the noise power spectrum, cycles a pixel."""
PATCH_PX = 32
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
LAGS = (1, 2, 3, 5)
PROFILE_PX = 6.0
"""How far from the wire's centreline its shadow is looked at; the background begins at two thirds of it."""
OPEN = 0.6
"""A patch darker than this share of the median lies under the collimator's blades."""


@dataclass(frozen=True)
class Row:
    """One measure of two sets.

    Attributes:
        name: What is measured, with its unit.
        first, second: Quantiles 0.1, 0.5 and 0.9 over the clips of each set, NaN where nothing could be measured.
        gap: Difference of the medians (first minus second) over the second set's spread between clips, its
            standard deviation by the two outer quantiles: beyond 2 or so the sets don't look alike in this.
    """

    name: str
    first: tuple[float, float, float]
    second: tuple[float, float, float]
    gap: float


def measure_clip(clip: Array, wire_mask: Array, *, intensity_max: int | float = 255) -> dict[str, float]:
    """All measures of one clip, by name; NaN where a measure needs more than the clip has.

    Args:
        clip: (T, H, W) without padding; all of its frames.
        wire_mask: (T, H, W), non-zero on the wire; all 0 where nobody marked it.
        intensity_max: Grey values are given as a share of it.

    Raises:
        MetricsError: The axes or shapes are wrong, or the frames are smaller than ``PATCH_PX``.
    """
    require_axes(clip, "T H W", "clip")
    require_same_shape(wire_mask, clip, "wire_mask", "clip")
    if min(clip.shape[1:]) < PATCH_PX:
        raise MetricsError(
            "the frames are too small for a noise spectrum",
            key="clip",
            expected=f"at least {PATCH_PX} x {PATCH_PX} px",
            found=clip.shape,
            remedy="compare larger frames",
        )
    values = np.asarray(clip).astype(np.float64) / intensity_max
    near = around_wire(wire_mask)
    low, high = (float(q) for q in np.quantile(values, (0.01, 0.99)))
    found = {"grey: mean, share of full scale": float(values.mean()), "grey: range p1..p99": high - low}
    normal = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    for share, value in zip(QUANTILES, np.quantile(normal, QUANTILES), strict=True):
        found[f"grey after normalisation: quantile {share:g}"] = float(value)
    found["structure: slope of the frame's spectrum"] = structure_slope(values[len(values) // 2])
    grain = residual(values)
    kept = ~near
    found["residual: std, 1/255"] = 255 * float(np.sqrt(np.mean(grain[kept] ** 2))) if kept.any() else np.nan
    for lag, value in zip(LAGS, residual_autocorrelation(values, LAGS, exclude=near), strict=True):
        found[f"residual: autocorrelation at lag {lag}"] = float(value)
    std, spectrum = noise_spectrum(values, near)
    found["frame difference: std / sqrt 2, 1/255"] = 255 * std
    for start, stop, value in zip(BANDS[:-1], BANDS[1:], spectrum, strict=True):
        found[f"noise power at {start:g}..{stop:g} /px, white = 1"] = float(value)
    return {**found, **_wire_measures(values, wire_mask)}


def noise_spectrum(clip: Floats, exclude: Bools) -> tuple[float, Floats]:
    """Standard deviation and radial power spectrum of the noise of a clip (T, H, W).

    The noise is the difference of consecutive frames over sqrt 2, in patches with a Hann window. Patches under
    the collimator and patches that touch ``exclude`` (T, H, W) don't count, nor does the half where something moves:
    where the share of power below the first band's end is largest at other times than the patch's own. (At its own
    time that share would choose among the noise, too, and bend its spectrum.)

    Returns:
        The standard deviation in the clip's unit and the mean power of each of the ``BANDS`` over the mean of all;
        NaN for fewer than two frames or where no patch is left.
    """
    nothing = np.full(len(BANDS) - 1, np.nan)
    patches, counts = _patches(clip, exclude)
    if not counts.any():
        return float("nan"), nothing
    window = np.hanning(PATCH_PX + 2)[1:-1]
    window = window[:, None] * window
    power = np.abs(np.fft.fft2((patches - patches.mean(axis=(2, 3), keepdims=True)) * window)) ** 2
    power /= (window**2).sum()
    f = np.hypot(np.fft.fftfreq(PATCH_PX)[:, None], np.fft.fftfreq(PATCH_PX))
    bands = [power[:, :, (f >= a) & (f < b)].mean(axis=-1) for a, b in zip(BANDS, BANDS[1:], strict=False)]
    still = _still(bands[0] / np.maximum(sum(bands), 1e-30), counts)
    spectrum = np.array([band[still].mean() for band in bands])
    std = float(np.sqrt(power[still][:, f > 0].mean()))
    return std, spectrum / spectrum.mean() if spectrum.mean() > 0 else nothing


def _still(share: Floats, counts: Bools) -> Bools:
    """The half of the patches that count (T - 1, K) with the least share of slow power at other times."""
    seen = np.where(counts, share, 0)
    score = np.zeros(share.shape)
    for time in range(len(share)):
        other = np.abs(np.arange(len(share)) - time) >= 2  # they have no frame in common
        score[time] = seen[other].sum(axis=0) / np.maximum(counts[other].sum(axis=0), 1)
    still: Bools = counts & (score <= np.median(score[counts]))
    return still


def _patches(clip: Floats, exclude: Bools) -> tuple[Floats, Bools]:
    """Patches (T - 1, K, P, P) of the frame differences over sqrt 2, and which of them count (T - 1, K)."""
    side, (rows, columns) = PATCH_PX, (clip.shape[1] // PATCH_PX, clip.shape[2] // PATCH_PX)

    def cut(frames: Array) -> Array:
        blocks = frames[:, : rows * side, : columns * side].reshape(len(frames), rows, side, columns, side)
        return blocks.transpose(0, 1, 3, 2, 4).reshape(len(frames), rows * columns, side, side)

    level = cut(clip[1:]).mean(axis=(2, 3))
    clear = ~cut(exclude[1:] | exclude[:-1]).any(axis=(2, 3))
    return cut(np.diff(clip, axis=0)) / np.sqrt(2), clear & (level > OPEN * float(np.median(clip)))


def structure_slope(frame: Floats) -> float:
    """Exponent of the power law that the power spectrum of a frame (H, W) follows from 0.03 to 0.15 cycles a pixel.

    About -3 for projected tissue (Burgess, 1999), 0 for noise alone; a least-squares line through log power.
    """
    side = min(frame.shape)
    window = np.hanning(frame.shape[0] + 2)[1:-1, None] * np.hanning(frame.shape[1] + 2)[1:-1]
    power = np.abs(np.fft.rfft2((frame - frame.mean()) * window)) ** 2
    f = np.hypot(np.fft.fftfreq(frame.shape[0])[:, None], np.fft.rfftfreq(frame.shape[1]))
    edges = np.geomspace(max(0.03, 2.5 / side), 0.15, 8)
    means = [power[(f >= a) & (f < b)] for a, b in zip(edges, edges[1:], strict=False)]
    points = [(np.sqrt(a * b), m.mean()) for a, b, m in zip(edges, edges[1:], means, strict=False) if m.size]
    x, y = np.log(np.array([p for p in points if p[1] > 0]).reshape(-1, 2)).T
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else float("nan")


def _wire_measures(values: Floats, wire_mask: Array) -> dict[str, float]:
    """CNR, width of the label and of the shadow, and the shadow's depth."""
    wire = np.asarray(wire_mask) != 0
    marked = np.flatnonzero(wire.any(axis=(1, 2)))
    lines = [skeleton(wire[k]) for k in marked]
    widths = [wire[k].sum() / line.sum() for k, line in zip(marked, lines, strict=True)]
    width, depth = shadow_profile(values[marked], lines)
    seen = clip_visibility(values[marked], wire[marked])
    steady = seen[np.isfinite(seen)]
    return {
        "wire: CNR": float(np.median(steady)) if steady.size else float("nan"),
        "wire: depth of the shadow, share of its surroundings": depth,
        "wire: width of the shadow at half depth, px": width,
        "wire: width of the label, px": finite_mean(np.array(widths)),
        "wire: length of the label, px": finite_mean(np.array([float(line.sum()) for line in lines])),
    }


def shadow_profile(frames: Floats, lines: Sequence[Bools]) -> tuple[float, float]:
    """Full width at half depth (px) and depth (share of the surroundings) of the mean shadow across a wire.

    Args:
        frames: (T, H, W) grey values.
        lines: The wire's centreline (H, W) in each frame.

    Returns:
        NaN where there is no line, or no shadow beneath it. Pixels are a pixel wide and so is the centreline: a
        shadow narrower than about 1.5 px isn't told apart.
    """
    bins = np.arange(0, PROFILE_PX + 0.5, 0.5)
    total, count = np.zeros(len(bins)), np.zeros(len(bins))
    for frame, line in zip(frames, lines, strict=True):
        if line.any():
            distance = ndimage.distance_transform_edt(~line)
            near = distance <= PROFILE_PX
            at = np.rint(2 * distance[near]).astype(int)
            total += np.bincount(at, frame[near], len(bins))
            count += np.bincount(at, minlength=len(bins))
    filled = count > 0.25 * count[0]  # distances that occur but at the wire's ends say nothing of its sides
    if not filled[0]:
        return float("nan"), float("nan")
    where, level = bins[filled], total[filled] / count[filled]
    far = where >= PROFILE_PX * 2 / 3
    around = float(np.average(level[far], weights=count[filled][far])) if far.any() else float("nan")
    shadow = around - level
    below = np.flatnonzero(shadow <= shadow[0] / 2)
    if not shadow[0] > 0 or not below.size:
        return float("nan"), float("nan")
    k = int(below[0])
    part = (shadow[k - 1] - shadow[0] / 2) / (shadow[k - 1] - shadow[k])
    return float(2 * (where[k - 1] + part * (where[k] - where[k - 1]))), float(shadow[0] / around)


def compare_sets(first: Sequence[dict[str, float]], second: Sequence[dict[str, float]]) -> tuple[Row, ...]:
    """Put the measures of two sets of clips beside one another, in the order of :func:`measure_clip`.

    Raises:
        MetricsError: A set is empty.
    """
    for key, clips in (("first", first), ("second", second)):
        if not clips:
            raise MetricsError(
                "there is nothing to compare",
                key=key,
                expected="at least one clip",
                found=0,
                remedy="add clips",
            )
    return tuple(_row(name, [m[name] for m in first], [m[name] for m in second]) for name in first[0])


def _row(name: str, first: Sequence[float], second: Sequence[float]) -> Row:
    def summary(values: Sequence[float]) -> tuple[float, float, float]:
        finite = np.asarray(values, float)
        finite = finite[np.isfinite(finite)]
        low, middle, high = np.quantile(finite, (0.1, 0.5, 0.9)) if finite.size else (np.nan,) * 3
        return float(low), float(middle), float(high)

    a, b = summary(first), summary(second)
    spread = (
        b[2] - b[0]
    ) / 2.563  # the two outer deciles of a normal distribution are that many deviations apart
    return Row(name, a, b, (a[1] - b[1]) / spread if spread > 0 else float("nan"))


def as_markdown(rows: Sequence[Row], first: str, second: str) -> str:
    """The table as Markdown: median (10..90 %) over the clips of each set, and the gap in spreads of the second."""

    def cell(values: tuple[float, float, float]) -> str:
        return "-" if np.isnan(values[1]) else f"{values[1]:.3g} ({values[0]:.3g} .. {values[2]:.3g})"

    lines = [f"| measure | {first} | {second} | gap |", "| --- | --- | --- | --- |"]
    for row in rows:
        gap = "-" if np.isnan(row.gap) else f"{row.gap:+.1f}"
        lines.append(f"| {row.name} | {cell(row.first)} | {cell(row.second)} | {gap} |")
    return "\n".join(lines)
