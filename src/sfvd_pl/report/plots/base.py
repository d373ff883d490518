"""How every plot looks: as SVG, sharp on screen and on paper, and small.

Blue is real, orange synthetic, grey a control, on every plot.
"""

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Floats

Axes = Any
"""matplotlib.axes.Axes, not named, so that importing this module doesn't import Matplotlib."""

REAL = "#2b6ca3"
SYNTHETIC = "#d2751b"
CONTROL = "#8a8f98"
INK = "#22272e"
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#aab0b8",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.8,
    "xtick.color": "#555c66",
    "ytick.color": "#555c66",
    "legend.frameon": False,
    # With a fixed salt, the same numbers give the same bytes.
    "svg.hashsalt": "sfvd-pl",
}


def width_px(svg: bytes) -> int:
    """Width on screen of one of these plots, in CSS pixels (an inch has 96, and a plot's unit is 1/72
    inch)."""
    found = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', svg)
    if found is None:
        raise MetricsError(
            "this is no plot of ours",
            key="svg",
            expected="an SVG with its width in pt",
            found=svg[:60],
            remedy="draw it",
        )
    return round(float(found.group(1)) * 96 / 72)


def as_float(value: float | int | None) -> float:
    """A number, NaN for null."""
    return float("nan") if value is None else float(value)


def as_floats(values: Sequence[float | int | None]) -> Floats:
    """Numbers, NaN for null."""
    return np.array([as_float(value) for value in values], dtype=np.float64)


def limits(low: float | None, high: float | None) -> str:
    """A bin's limits in words, an open end where a limit is null."""
    if low is None and high is None:
        return "all"
    if low is None:
        return f"< {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"


def dot(axes: Axes, value: float, y: int, low: float, high: float, colour: str) -> None:
    """An estimate with its interval and its number."""
    axes.plot([low, high], [y, y], color=colour, linewidth=2.4, alpha=0.55, solid_capstyle="round")
    axes.plot(value, y, "o", color=colour, markersize=7)
    if np.isfinite(value):
        note(axes, f"{value:.2f}", (value, y), INK, xytext=(0, 7), fontsize=9)


def note(axes: Axes, text: str, place: tuple[int | float, int | float], colour: str, **options: Any) -> None:
    """Small text beside a place."""
    style = {"fontsize": 8, "ha": "center", "va": "bottom", **options}
    axes.annotate(text, place, textcoords="offset points", color=colour, parse_math=False, **style)


def row_names(axes: Axes, names: Sequence[str]) -> None:
    """Names down the left side, the first on top."""
    axes.set_yticks(np.arange(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def svg(
    draw: Callable[[Axes], None], *, width: int | float, height: int | float, kind: Literal["svg", "png"] = "svg"
) -> bytes:
    """Run ``draw`` on the axes of a figure of its own, without pyplot's global state; inches.

    ``kind`` ``png`` is for a picture that is also to lie beside the page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = BytesIO()
        unsaid = ("Date", "Creator") if kind == "svg" else ("Software",)
        figure.savefig(buffer, format=kind, dpi=160, metadata=dict.fromkeys(unsaid))
    return buffer.getvalue()
