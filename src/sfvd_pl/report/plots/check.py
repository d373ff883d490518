"""Plots of a quality control."""

from collections.abc import Mapping, Sequence

import numpy as np

from sfvd_pl.report.plots.base import CONTROL, REAL, SYNTHETIC, Axes, row_names, svg


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

    return svg(draw, width=4.8, height=3.0)


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
        row_names(axes, list(rows))
        axes.axvline(0, color=CONTROL, linewidth=1)
        axes.set(xlabel=label)

    return svg(draw, width=4.8, height=0.9 + 0.22 * max(4, len(rows)))
