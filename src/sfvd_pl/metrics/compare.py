"""How much two sets of labelled clips look alike, in numbers: noise, grey values, memory over time, the wire.

Everything is measured clip by clip, so that the spread between clips says how large a difference matters. The
use: one's own data beside the simulator's, or two hospitals beside one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.noise import around_wire, residual, residual_autocorrelation
from sfvd_pl.metrics.shadow import wire_shape
from sfvd_pl.metrics.spectrum import BANDS, PATCH_PX, noise_spectrum, structure_slope
from sfvd_pl.metrics.visibility import clip_visibility

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
LAGS = (1, 2, 3, 5)


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
    noise = noise_spectrum(values, near)
    found["frame difference: std / sqrt 2, 1/255"] = 255 * noise.std
    for start, stop, value in zip(BANDS[:-1], BANDS[1:], noise.shape, strict=True):
        found[f"noise power at {start:g}..{stop:g} /px, white = 1"] = float(value)
    return {**found, **_wire_measures(values, wire_mask)}


def _wire_measures(values: Floats, wire_mask: Array) -> dict[str, float]:
    """CNR, width of the label and of the shadow, and the shadow's depth."""
    seen = clip_visibility(values, wire_mask)
    steady = seen[np.isfinite(seen)]
    shape = wire_shape(values, wire_mask)
    return {
        "wire: CNR": float(np.median(steady)) if steady.size else float("nan"),
        "wire: depth of the shadow, share of its surroundings": shape.depth,
        "wire: width of the shadow at half depth, px": shape.width_px,
        "wire: width of the label, px": shape.label_width_px,
        "wire: length of the label, px": shape.label_length_px,
    }


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
