"""Plots of a metrics file's sections, as SVG: sharp on screen and on paper, and small.

Each function takes one section of ``metrics.json`` as it is read, where null is None, and returns the bytes
of a standalone SVG. Blue is real, orange synthetic, grey a control, on every plot.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Floats
from sfvd_pl.metrics.calibration import binned_calibration

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


_SETS = {
    "real": ("real, held out", REAL),
    "synthetic": ("synthetic", SYNTHETIC),
    "shuffled": ("synthetic, shuffled masks", CONTROL),
}
"""Rows of label fidelity: their title and colour; other rows are drawn like the control."""
SET_TITLES = {name: title for name, (title, _) in _SETS.items()}


def fidelity_plot(section: Mapping[str, Any]) -> bytes:
    """Dice of the independent segmenter on every set of clips, with intervals."""
    rows = section["rows"]

    def draw(axes: Axes) -> None:
        for y, row in enumerate(rows):
            dice, colour = row["dice"], _SETS.get(row["name"], ("", CONTROL))[1]
            _dot(axes, _float(dice["mean"]), y, _float(dice["low"]), _float(dice["high"]), colour)
        _rows(axes, [_SETS.get(row["name"], (f"real, {row['name']}",))[0] for row in rows])
        axes.set(xlim=(0, 1.04), xlabel="Dice, mean over clips")

    return _svg(draw, width=5.6, height=0.8 + 0.36 * len(rows))


def by_frame_plot(section: Mapping[str, Any]) -> bytes:
    """Dice by frame index within the clip, real and synthetic, with intervals."""

    def draw(axes: Axes) -> None:
        longest = 1
        for row in _compared(section):
            title, colour = _SETS[row["name"]]
            dice = [entry["dice"] for entry in row["by_frame"]]
            longest = max(longest, len(dice))
            middle, low, high = (_floats([entry[key] for entry in dice]) for key in ("mean", "low", "high"))
            axes.fill_between(np.arange(len(dice)), low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(np.arange(len(dice)), middle, "-o", color=colour, markersize=4, label=title)
        axes.set(ylim=(0, 1.02), xlim=(-0.4, longest - 0.6), xlabel="frame of the clip", ylabel="Dice")
        axes.locator_params(axis="x", integer=True)
        axes.legend(loc="lower left", ncols=2)

    return _svg(draw, width=4.6, height=2.9)


def by_visibility_plot(section: Mapping[str, Any]) -> bytes:
    """Dice by visibility of the wire, real and synthetic, with intervals and the number of frames in each bin."""
    rows = _compared(section)

    def draw(axes: Axes) -> None:
        bins = rows[0]["by_visibility"]
        for row, shift in zip(rows, (-0.12, 0.12), strict=True):
            title, colour = _SETS[row["name"]]
            dice = [entry["dice"] for entry in row["by_visibility"]]
            places = np.arange(len(dice)) + shift
            middle, low, high = (_floats([entry[key] for entry in dice]) for key in ("mean", "low", "high"))
            axes.vlines(places, low, high, color=colour, alpha=0.5, linewidth=1.5)
            axes.plot(places, middle, "o", color=colour, markersize=6, label=title)
            for x, y, entry in zip(places, middle, row["by_visibility"], strict=True):
                if np.isfinite(y):
                    right = shift > 0
                    where = {"xytext": (5 if right else -5, 0), "ha": "left" if right else "right", "va": "center"}
                    _note(axes, f"{entry['n']}", (x, y), colour, **where)
        axes.set_xticks(np.arange(len(bins)), [_range(entry["low"], entry["high"]) for entry in bins])
        axes.set(ylim=(0, 1.06), xlim=(-0.6, len(bins) - 0.4), xlabel="visibility (CNR)", ylabel="Dice")
        axes.legend(loc="lower right", ncols=2)

    return _svg(draw, width=5.6, height=2.9)


def _compared(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of real and of synthetic clips, in this order."""
    rows = {row["name"]: row for row in section["rows"]}
    return [rows["real"], rows["synthetic"]]


def autocorrelation_plot(section: Mapping[str, Any]) -> bytes:
    """Correlation of the residual with itself some frames later, real and synthetic."""
    table = section["residual_autocorrelation"]

    def draw(axes: Axes) -> None:
        lags = np.asarray(table["lags"], dtype=np.float64)
        both = np.concatenate([_floats(table["real"]), _floats(table["synthetic"]), [0.0]])
        for name, colour, shift in (("real", REAL, -0.17), ("synthetic", SYNTHETIC, 0.17)):
            axes.bar(lags + shift, _floats(table[name]), width=0.3, color=colour, label=name)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks(lags, [f"{lag:.0f}" for lag in lags])
        axes.set(xlabel="lag in frames", ylabel="correlation of residual")
        axes.set_ylim(min(-0.05, 1.15 * np.nanmin(both)), max(0.25, 1.2 * np.nanmax(both)))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper right", ncols=2)

    return _svg(draw, width=4.4, height=2.6)


def visibility_plot(section: Mapping[str, Any]) -> bytes:
    """Requested against measured visibility: every clip, medians with quartiles, and the line of equality."""
    requested, measured = _floats(section["requested"]), _floats(section["measured"])

    def draw(axes: Axes) -> None:
        axes.plot(requested, measured, "o", color=SYNTHETIC, markersize=3.5, alpha=0.35, markeredgewidth=0)
        for row in binned_calibration(requested, measured):
            centre = float(np.median(requested[(requested >= row.low) & (requested <= row.high)]))
            axes.plot([centre, centre], [row.lower_quartile, row.upper_quartile], color=INK, linewidth=1.6)
            axes.plot(centre, row.median, "o", color=INK, markersize=6)
        everything = np.concatenate([requested, measured, [0.0, 1.0]])
        low, high = float(everything.min()) - 0.2, float(everything.max()) * 1.04 + 0.2
        axes.plot([low, high], [low, high], "--", color=CONTROL, linewidth=1)
        _note(axes, "equal", (high, high), CONTROL, xytext=(-4, -14), ha="right")
        axes.set(
            xlim=(low, high), ylim=(low, high), xlabel="requested CNR", ylabel="measured CNR", aspect="equal"
        )

    return _svg(draw, width=4.2, height=4.0)


def gate_plot(section: Mapping[str, Any]) -> bytes:
    """How many clips the gate accepted, and why it rejected the others."""
    rows = [("accepted", int(section["accepted"]), SYNTHETIC)]
    rows += [(str(reason), int(count), CONTROL) for reason, count in section["reasons"].items()]

    def draw(axes: Axes) -> None:
        for y, (_, count, colour) in enumerate(rows):
            axes.barh(y, count, height=0.6, color=colour)
            _note(axes, f"{count}", (count, y), INK, xytext=(5, 0), ha="left", va="center")
        _rows(axes, [name for name, _, _ in rows])
        axes.set(xlim=(0, max(1, *(count for _, count, _ in rows)) * 1.12), xlabel="clips")

    return _svg(draw, width=4.8, height=0.9 + 0.36 * len(rows))


def arms_plot(
    section: Mapping[str, Any], measure: str, label: str, *, ceiling: int | float | None = None
) -> bytes:
    """One measure of every arm: mean and interval over patients, and each patient as a faint dot.

    Args:
        section: ``segmentation`` of a metrics file, with at least one arm.
        measure: Key of an arm, such as ``"dice"``.
        label: Of the axis.
        ceiling: Upper end of the axis; None: as the values need.
    """
    arms = section["arms"]

    def draw(axes: Axes) -> None:
        for y, arm in enumerate(arms):
            values = _floats([row[measure] for row in arm["patients"].values()])
            axes.plot(values, np.full(len(values), y + 0.24), "o", color=CONTROL, alpha=0.55, markersize=4)
            whole = arm[measure]
            _dot(axes, _float(whole["mean"]), y, _float(whole["low"]), _float(whole["high"]), INK)
        _rows(axes, [str(arm["name"]) for arm in arms])
        axes.set(xlabel=label)
        axes.set_xlim(left=0, right=ceiling)

    return _svg(draw, width=5.1, height=0.9 + 0.48 * len(arms))


def exposure_plot(groups: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """Mean intensity against noise, a dot a clip.

    Args:
        groups: Name of a group (train, val, test) to (mean, noise) of its clips, both as shares of full scale.
    """

    def draw(axes: Axes) -> None:
        for (name, points), colour in zip(groups.items(), (REAL, SYNTHETIC, CONTROL), strict=False):
            values = np.array(points, dtype=np.float64).reshape(-1, 2)
            axes.plot(values[:, 0], 100 * values[:, 1], "o", color=colour, markersize=5, alpha=0.8, label=name)
        axes.set(xlabel="mean, share of full scale", ylabel="noise, % of full scale")
        axes.set_ylim(bottom=0)
        axes.legend(loc="best", ncols=3)

    return _svg(draw, width=4.8, height=3.0)


def patients_plot(rows: Mapping[str, Sequence[float]], label: str) -> bytes:
    """One measure of every clip, a row a patient.

    Args:
        rows: Patient to the values of its clips, NaN where unknown.
        label: Of the axis.
    """

    def draw(axes: Axes) -> None:
        for y, values in enumerate(rows.values()):
            known = np.array([value for value in values if np.isfinite(value)])
            axes.plot(known, np.full(len(known), y), "o", color=REAL, markersize=5, alpha=0.7)
        _rows(axes, list(rows))
        axes.axvline(0, color=CONTROL, linewidth=1)
        axes.set(xlabel=label)

    return _svg(draw, width=4.8, height=0.9 + 0.22 * max(4, len(rows)))


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


def _float(value: float | int | None) -> float:
    return float("nan") if value is None else float(value)


def _floats(values: Sequence[float | int | None]) -> Floats:
    return np.array([_float(value) for value in values], dtype=np.float64)


def _range(low: float | None, high: float | None) -> str:
    """A bin's limits in words, an open end where a limit is null."""
    if low is None and high is None:
        return "all"
    if low is None:
        return f"< {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g}–{high:g}"


def _dot(axes: Axes, value: float, y: int, low: float, high: float, colour: str) -> None:
    axes.plot([low, high], [y, y], color=colour, linewidth=2.4, alpha=0.55, solid_capstyle="round")
    axes.plot(value, y, "o", color=colour, markersize=7)
    if np.isfinite(value):
        _note(axes, f"{value:.2f}", (value, y), INK, xytext=(0, 7), fontsize=9)


def _note(axes: Axes, text: str, place: tuple[int | float, int | float], colour: str, **options: Any) -> None:
    style = {"fontsize": 8, "ha": "center", "va": "bottom", **options}
    axes.annotate(text, place, textcoords="offset points", color=colour, parse_math=False, **style)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Names down the left side, the first on top."""
    axes.set_yticks(np.arange(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _svg(draw: Callable[[Axes], None], *, width: int | float, height: int | float) -> bytes:
    """Run ``draw`` on the axes of a figure of its own, without pyplot's global state; inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
