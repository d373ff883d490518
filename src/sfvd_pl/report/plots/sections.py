"""Plots of a metrics file's sections.

Each function takes one section of ``metrics.json`` as it is read, where null is None, and returns the bytes
of a standalone SVG.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sfvd_pl.metrics.calibration import binned_calibration
from sfvd_pl.report.plots.base import (
    CONTROL,
    INK,
    REAL,
    SYNTHETIC,
    Axes,
    as_float,
    as_floats,
    dot,
    limits,
    note,
    row_names,
    svg,
)


def by_visibility_plot(section: Mapping[str, Any]) -> bytes:
    """Dice by visibility of the wire, real and synthetic, with intervals and the number of frames in each bin."""
    rows = {row["name"]: row["by_visibility"] for row in section["rows"]}

    def draw(axes: Axes) -> None:
        for name, colour, marker, shift in (("real", REAL, "o", -0.12), ("synthetic", SYNTHETIC, "s", 0.12)):
            dice = [entry["dice"] for entry in rows[name]]
            places = np.arange(len(dice)) + shift
            middle, low, high = (as_floats([entry[key] for entry in dice]) for key in ("mean", "low", "high"))
            axes.vlines(places, low, high, color=colour, alpha=0.5, linewidth=2)
            axes.plot(places, middle, marker, color=colour, markersize=6, label=name)
            for x, y, entry in zip(places, middle, rows[name], strict=True):
                if np.isfinite(y):
                    right = shift > 0
                    where = {"xytext": (5 if right else -5, 0), "ha": "left" if right else "right", "va": "center"}
                    note(axes, f"{entry['n']}", (x, y), colour, **where)
        bins = rows["real"]
        axes.set_xticks(np.arange(len(bins)), [limits(entry["low"], entry["high"]) for entry in bins])
        axes.set(ylim=(0, 1.06), xlim=(-0.6, len(bins) - 0.4), xlabel="visibility (CNR)", ylabel="Dice")
        axes.legend(loc="lower right", ncols=2)

    return svg(draw, width=6.0, height=3.0)


def autocorrelation_plot(section: Mapping[str, Any]) -> bytes:
    """Correlation of the residual with itself some frames later, real and synthetic."""
    table = section["residual_autocorrelation"]

    def draw(axes: Axes) -> None:
        lags = np.asarray(table["lags"], dtype=np.float64)
        both = np.concatenate([as_floats(table["real"]), as_floats(table["synthetic"]), [0.0]])
        for name, colour, shift in (("real", REAL, -0.17), ("synthetic", SYNTHETIC, 0.17)):
            axes.bar(lags + shift, as_floats(table[name]), width=0.3, color=colour, label=name)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xticks(lags, [f"{lag:.0f}" for lag in lags])
        axes.set(xlabel="lag in frames", ylabel="correlation of residual")
        axes.set_ylim(min(-0.05, 1.15 * np.nanmin(both)), max(0.25, 1.2 * np.nanmax(both)))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper right", ncols=2)

    return svg(draw, width=4.4, height=2.6)


def visibility_plot(section: Mapping[str, Any]) -> bytes:
    """Requested against measured visibility: every clip, medians with quartiles, and the line of equality."""
    requested, measured = as_floats(section["requested"]), as_floats(section["measured"])

    def draw(axes: Axes) -> None:
        axes.plot(requested, measured, "o", color=SYNTHETIC, markersize=3.5, alpha=0.35, markeredgewidth=0)
        for row in binned_calibration(requested, measured):
            centre = float(np.median(requested[(requested >= row.low) & (requested <= row.high)]))
            axes.plot([centre, centre], [row.lower_quartile, row.upper_quartile], color=INK, linewidth=1.6)
            axes.plot(centre, row.median, "o", color=INK, markersize=6)
        everything = np.concatenate([requested, measured, [0.0, 1.0]])
        low, high = float(everything.min()) - 0.2, float(everything.max()) * 1.04 + 0.2
        axes.plot([low, high], [low, high], "--", color=CONTROL, linewidth=1)
        note(axes, "equal", (high, high), CONTROL, xytext=(-4, -14), ha="right")
        axes.set(
            xlim=(low, high), ylim=(low, high), xlabel="requested CNR", ylabel="measured CNR", aspect="equal"
        )

    return svg(draw, width=4.2, height=4.0)


def gate_plot(section: Mapping[str, Any]) -> bytes:
    """How many clips the gate accepted, and why it rejected the others."""
    rows = [("accepted", int(section["accepted"]), SYNTHETIC)]
    rows += [(str(reason), int(count), CONTROL) for reason, count in section["reasons"].items()]

    def draw(axes: Axes) -> None:
        for y, (_, count, colour) in enumerate(rows):
            axes.barh(y, count, height=0.6, color=colour)
            note(axes, f"{count}", (count, y), INK, xytext=(5, 0), ha="left", va="center")
        row_names(axes, [name for name, _, _ in rows])
        axes.set(xlim=(0, max(1, *(count for _, count, _ in rows)) * 1.12), xlabel="clips")

    return svg(draw, width=4.8, height=0.9 + 0.36 * len(rows))


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
            values = as_floats([row[measure] for row in arm["patients"].values()])
            axes.plot(values, np.full(len(values), y + 0.24), "o", color=CONTROL, alpha=0.55, markersize=4)
            whole = arm[measure]
            dot(axes, as_float(whole["mean"]), y, as_float(whole["low"]), as_float(whole["high"]), INK)
        row_names(axes, [str(arm["name"]) for arm in arms])
        axes.set(xlabel=label)
        axes.set_xlim(left=0, right=ceiling)

    return svg(draw, width=5.1, height=0.9 + 0.48 * len(arms))
