"""Plots as SVG; Matplotlib is imported only where one is drawn."""

from sfvd_pl.report.plots.base import width_px
from sfvd_pl.report.plots.check import exposure_plot, patients_plot
from sfvd_pl.report.plots.compared import Series, lines_plot, of_set, runs_plot, sets_plot
from sfvd_pl.report.plots.sections import (
    arms_plot,
    autocorrelation_plot,
    by_visibility_plot,
    gate_plot,
    visibility_plot,
)

__all__ = [
    "Series",
    "arms_plot",
    "autocorrelation_plot",
    "by_visibility_plot",
    "exposure_plot",
    "gate_plot",
    "lines_plot",
    "of_set",
    "patients_plot",
    "runs_plot",
    "sets_plot",
    "visibility_plot",
    "width_px",
]
