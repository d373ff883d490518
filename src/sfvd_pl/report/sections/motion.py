"""The section on motion: the wire's, the rest's, and drift from the first frame to the last."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.report.sections.rows import ABOUT_ROWS, Measure, all_rows, curves_picture, rows_plots, rows_table
from sfvd_pl.report.views import Block, View

WIRE = (
    Measure("displacement_correlation", "wire's displacement against its mask's, correlation", plotted=True),
    Measure("displacement_error_px", "their difference, median (px)", plotted=True),
    Measure("displacement_far", "share of pieces off by more than 1 px"),
    Measure("mask_motion_px", "displacement of the mask (px)"),
)
REST = (
    Measure("warp_ratio", "what optical flow leaves / noise alone", plotted=True),
    Measure("warp_error", "what optical flow leaves, share of full scale"),
    Measure("still_error", "the same without following the flow"),
    Measure("flicker", "flicker of the mean"),
    Measure("local_flicker", "local flicker", plotted=True),
)
DRIFT = (
    Measure("drift_pixel_std", "spread of grey values, last less first quarter"),
    Measure("drift_residual_std", "fine noise"),
    Measure("drift_sharpness", "sharpness"),
    Measure("drift_cnr", "visibility (CNR)"),
    Measure("drift_offset_px", "distance of wire from mask (px)"),
)
BY_FRAME = {
    "residual_std": "fine noise",
    "sharpness": "sharpness",
    "cnr": "visibility (CNR)",
    "offset_px": "distance of wire from mask (px)",
}


def motion_view(section: Mapping[str, Any]) -> View:
    """Displacement, flow, flicker, drift."""
    rows = all_rows(section)
    curves = []
    for key, title in BY_FRAME.items():
        entries = [row["by_frame"][key] for row in rows]
        frames = list(range(max((len(y) for y in entries), default=0)))
        curves += curves_picture(rows, entries, frames, "frame of the clip", title, "")
    text = [
        "Does the wire move where its mask moves? Both are followed across the wire from frame to frame. With "
        "wrong masks they have nothing to do with one another.",
        ABOUT_ROWS,
    ]
    rest = (
        "Outside the wire: what is left between two frames once optical flow has been followed, held against what "
        "noise alone would leave; and how much brightness changes from frame to frame."
    )
    drift = "How a clip's measures change as it goes on. Real clips change too, where contrast agent flows in."
    return View(
        "motion",
        "Does it move as it should?",
        "Motion",
        [
            Block("The wire", text, [rows_table(rows, WIRE, "Motion of the wire")], rows_plots(rows, WIRE)),
            Block("The rest", [rest], [rows_table(rows, REST, "Motion of the rest")], rows_plots(rows, REST)),
            Block("Drift", [drift], [rows_table(rows, DRIFT, "Drift: last quarter less first")], curves),
        ],
    )
