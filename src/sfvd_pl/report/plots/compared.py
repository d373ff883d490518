"""Plots of sets of clips held against one another, and of curves over frames, lags or steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

import numpy as np

from sfvd_pl.report.plots.base import (
    CONTROL,
    INK,
    REAL,
    SYNTHETIC,
    Axes,
    as_float,
    as_floats,
    row_names,
    svg,
)

COLOURS: Mapping[str, str] = {
    "real": REAL,
    "synthetic": SYNTHETIC,
    "floor": "#4f9bc4",
    "shuffled": "#b9bec6",
}
"""Of the sets; what isn't here is a control."""
LINES: Mapping[str, tuple[str, str]] = {
    "real": ("-", "o"),
    "synthetic": ("-", "s"),
    "floor": ("--", "o"),
    "blur": (":", "v"),
    "noise": (":", "^"),
    "wrong masks": (":", "x"),
    "shuffled": (":", "x"),
}
"""Dashes and markers, so that sets can be told apart without colours."""
SERIES = ("#235d90", "#c4650f", "#3b7d4f", "#8a4fa3", "#a4231b", "#6b7480", "#0f8a8a", "#b08c1d")
"""Of series that are no sets: runs, arms, models."""


LABEL_WIDTH = 38
"""Letters of an axis' label in a line."""


@dataclass(frozen=True)
class Series:
    """A curve.

    Attributes:
        name: In the legend.
        x: (n,).
        y: (n,), null where unknown.
        colour: Of the line.
        style: Dashes of the line.
        marker: Of its points.
        faint: Drawn thin and pale, such as a noisy curve below its mean.
        low: (n,) lower ends of the intervals, drawn as a band; empty for none.
        high: (n,) upper ends.
    """

    name: str
    x: Sequence[float | int]
    y: Sequence[float | int | None]
    colour: str
    style: str = "-"
    marker: str = ""
    faint: bool = False
    low: Sequence[float | int | None] = ()
    high: Sequence[float | int | None] = ()


BANDS = ("real", "synthetic")
"""Sets whose intervals are drawn along curves; more would hide one another."""


def of_set(name: str, x: Sequence[float | int], entries: Sequence[Mapping[str, Any]]) -> Series:
    """A curve of a set of clips, in the set's own colour and dashes.

    Args:
        name: Of the set.
        x: (n,).
        entries: (n,) each ``mean``, ``low``, ``high``.
    """
    style, marker = LINES.get(name, (":", "."))
    low, high = ([entry[end] for entry in entries] if name in BANDS else [] for end in ("low", "high"))
    y = [entry["mean"] for entry in entries]
    return Series(name, x, y, COLOURS.get(name, CONTROL), style, marker, low=low, high=high)


def lines_plot(
    series: Sequence[Series],
    xlabel: str,
    ylabel: str,
    *,
    floor: float | None = None,
    ceiling: float | None = None,
    zero: bool = False,
    log: bool = False,
    size: tuple[float, float] = (4.9, 3.3),
    ticks: Sequence[str] = (),
    kind: Literal["svg", "png"] = "svg",
) -> bytes:
    """Curves over one another.

    Args:
        series: At least one.
        xlabel: Of the axis.
        ylabel: Of the axis.
        floor: Lower end of the upright axis; None: as the values need.
        ceiling: Its upper end.
        zero: Whether to draw a line at 0.
        log: Whether the upright axis is logarithmic.
        size: Width and height, inches.
        ticks: What stands below 0, 1, 2, ... of the level axis; numbers without it.
        kind: Of picture.
    """

    def draw(axes: Axes) -> None:
        for line in series:
            y, low, high = (as_floats(values) for values in (line.y, line.low, line.high))
            known = np.isfinite(y)
            if len(low):
                axes.fill_between(line.x, low, high, color=line.colour, alpha=0.15, linewidth=0)
            axes.plot(
                np.asarray(line.x, np.float64)[known], y[known], line.style, marker=line.marker, color=line.colour,
                markersize=4, linewidth=0.7 if line.faint else 1.6, alpha=0.35 if line.faint else 1.0,
                label=None if line.faint else line.name,
            )  # fmt: skip
        if zero:
            axes.axhline(0, color=INK, linewidth=0.8)
        if log:
            axes.set_yscale("log")
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_ylim(bottom=floor, top=ceiling)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks, parse_math=False)
        handles, names = axes.get_legend_handles_labels()
        unique = dict(zip(names, handles, strict=True))  # repetitions of one training share a name
        if len(unique) > 1:
            columns = 3 if len(unique) in (3, 5, 6) else min(len(unique), 4)
            legend = axes.figure.legend(
                unique.values(), unique, loc="outside lower center", ncols=columns, fontsize=8.5, handlelength=2.6
            )
            for text in legend.get_texts():
                text.set_parse_math(False)

    return svg(draw, width=size[0], height=size[1], kind=kind)


def sets_plot(rows: Sequence[Mapping[str, Any]], measure: str, label: str) -> bytes:
    """One measure of every set, a row a set, with its interval; the first row's value as a line to compare with.

    Args:
        rows: ``name`` and the measure as ``mean`` or ``value`` with ``low`` and ``high``.
        measure: Key of the measure.
        label: Of the axis.
    """

    def draw(axes: Axes) -> None:
        for y, row in enumerate(rows):
            entry = row[measure]
            value = as_float(entry["mean"] if "mean" in entry else entry["value"])
            low, high = as_float(entry["low"]), as_float(entry["high"])
            colour = COLOURS.get(row["name"], CONTROL)
            axes.plot([low, high], [y, y], color=colour, linewidth=2.4, alpha=0.55, solid_capstyle="round")
            axes.plot(value, y, LINES.get(row["name"], (":", "o"))[1], color=colour, markersize=6.5)
            if y == 0 and np.isfinite(value):
                axes.axvline(value, color=colour, linewidth=0.9, linestyle="--", alpha=0.7)
        row_names(axes, [str(row["name"]) for row in rows])
        axes.set(xlabel=fill(label, LABEL_WIDTH))

    return svg(draw, width=3.4, height=0.9 + 0.25 * len(rows))


def runs_plot(names: Sequence[str], entries: Sequence[Mapping[str, Any]], label: str) -> bytes:
    """One measure of several runs, a row a run, with its interval."""

    def draw(axes: Axes) -> None:
        for y, entry in enumerate(entries):
            value = as_float(entry["mean"] if "mean" in entry else entry["value"])
            colour = SERIES[y % len(SERIES)]
            bounds = [as_float(entry["low"]), as_float(entry["high"])]
            axes.plot(bounds, [y, y], color=colour, linewidth=2.4, alpha=0.55)
            axes.plot(value, y, "o", color=colour, markersize=6.5)
        row_names(axes, names)
        axes.set(xlabel=fill(label, LABEL_WIDTH))

    return svg(draw, width=3.4, height=0.9 + 0.3 * len(names))
