"""The sections on the rendered wire, its visibility, and the gate."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.report import plots
from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import interval, number, percent
from sfvd_pl.report.sections.rows import ABOUT_ROWS, Measure, all_rows, rows_plots, rows_table
from sfvd_pl.report.views import Block, Table, View

MEASURES = (
    Measure("offset_px", "distance from the mask's line (px)", plotted=True),
    Measure("width_px", "width of the shadow (px)", plotted=True),
    Measure("label_width_px", "width of the label (px)"),
    Measure("width_ratio", "shadow / label"),
    Measure("depth", "depth of the shadow, share of surroundings"),
    Measure("cnr", "visibility (CNR)"),
    Measure("tip_found", "share of tips found"),
    Measure("tip_offset_px", "dark line goes on past the mask's tip (px)", plotted=True),
    Measure("tip_error_px", "size of that (px)"),
)


def wire_view(section: Mapping[str, Any]) -> View:
    """Place, width and tip."""
    rows, calibration = all_rows(section), section["calibration"]
    text = [
        "The dark line in the picture against the mask that drove it. Something is always found within 4 px: about "
        "2.5 to 3 px for a wire that isn't there, as with wrong masks. A shadow is wider than its label by the "
        "detector's blur.",
        ABOUT_ROWS,
    ]
    blocks = [Block("", text, [rows_table(rows, MEASURES, "The rendered wire")], rows_plots(rows, MEASURES))]
    if calibration["n"]:
        fit = Table(
            f"Requested against measured visibility, {calibration['n']} clips",
            ["", "estimate (95 % interval)", "perfect"],
            [
                ["slope", interval(calibration["slope"]), "1"],
                ["intercept (CNR)", interval(calibration["intercept"]), "0"],
                ["rank correlation", interval(calibration["spearman"]), "1"],
            ],
        )
        blocks.append(Block("Visibility asked for and got", (), [fit]))
    return View("wire", "Is the wire where its mask is?", "Wire", blocks)


def visibility_view(section: Mapping[str, Any]) -> View:
    """What was asked for against what came."""
    alt = (
        f"Requested against measured visibility of {section['n']} clips, rank correlation "
        f"{number(section['spearman'])}"
    )
    return View(
        "visibility",
        "Does visibility obey?",
        "Visibility",
        [
            Block(
                text=[
                    "Visibility is the wire's contrast-to-noise ratio (CNR) against the ring around it. Spearman's "
                    f"rank correlation between request and measurement is {number(section['spearman'])} "
                    f"({section['n']} clips)."
                ],
                pictures=[
                    svg_picture(
                        plots.visibility_plot(section),
                        alt,
                        "Each orange dot is a clip; black dots are medians and lines quartiles, by request.",
                    )
                ],
            )
        ],
    )


def gate_view(section: Mapping[str, Any]) -> View:
    """What was turned away, and why."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in section["reasons"].items())
    alt = f"{section['accepted']} clips accepted; rejected: {reasons or 'none'}"
    text = (
        "A clip is rejected if an independent segmenter finds its wire with Dice below "
        f"{number(section['dice_threshold'])}, or its visibility is below {number(section['visibility_threshold'])}. "
        f"Accepted: {section['accepted']} of {section['n']} ({percent(section['rate'])})."
    )
    picture = svg_picture(plots.gate_plot(section), alt, "Verdicts of the gate.")
    return View("gate", "What did the gate reject?", "Gate", [Block(text=[text], pictures=[picture])])
