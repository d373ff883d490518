"""The sections on the rendered wire, its visibility, and the gate."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.report import plots
from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import interval, number, percent
from sfvd_pl.report.sections.rows import ABOUT_ROWS, Measure, all_rows, rows_plots, rows_table
from sfvd_pl.report.views import Block, View

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


SEAM = (
    Measure("std_ratio", "grain at the band's edge / of the same real frames there", plotted=True),
    Measure("autocorrelation", "its correlation from frame to frame"),
    Measure("autocorrelation_real", "the same of the real frames"),
)
OBEYED = (
    Measure("pearson", "correlation (Pearson)"),
    Measure("spearman", "rank correlation (Spearman)"),
    Measure("slope", "slope, 1 where what was asked for came"),
    Measure("intercept", "intercept (CNR), 0 where it came"),
)


def wire_view(section: Mapping[str, Any]) -> View:
    """Place, width and tip."""
    rows = all_rows(section)
    text = [
        "The dark line in the picture against the mask that drove it. Something is always found within 4 px: about "
        "2.5 to 3 px for a wire that isn't there, as with wrong masks. A shadow is wider than its label by the "
        "detector's blur.",
        ABOUT_ROWS,
    ]
    blocks = [Block("", text, [rows_table(rows, MEASURES, "The rendered wire")], rows_plots(rows, MEASURES))]
    return View("wire", "Is the wire where its mask is?", "Wire", blocks)


def seam_view(section: Mapping[str, Any]) -> View:
    """The edge of what was drawn into real clips."""
    rows = section["rows"]
    text = (
        "Where a wire was drawn into a real clip, only a band around it may differ from the real frames. Grain within "
        f"{section['edge_px']} px of that band's border, inside and outside, against the same real frames at the same "
        "place: 1 is no seam. A correlation above that of the real frames is flicker that was held still."
    )
    table = rows_table(rows, SEAM, "The edge of the drawn band")
    return View("seam", "Is there a seam around the wire?", "Seam", [Block(text=[text], tables=[table])])


def visibility_view(section: Mapping[str, Any]) -> View:
    """What was asked for against what came."""
    rows = {row["name"]: row for row in section["rows"]}
    whole = rows["all"]
    text = (
        "Visibility is the wire's contrast-to-noise ratio (CNR) against the ring around it; of a clip, the median over "
        "its frames. A gate turns faint clips away, so both are shown: all clips, and those that it accepted."
    )
    picture = svg_picture(
        plots.visibility_plot(section),
        f"Requested against measured visibility of {whole['n']} clips, correlation {interval(whole['pearson'])}",
        "Each orange dot is a clip; black dots are medians and lines quartiles, by request.",
    )
    table = rows_table(section["rows"], OBEYED, "Requested against measured visibility")
    return View("visibility", "Does visibility obey?", "Visibility", [Block("", [text], [table], [picture])])


def gate_view(section: Mapping[str, Any]) -> View:
    """What was turned away, by which rules, and why."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in section["reasons"].items())
    alt = f"{section['accepted']} clips accepted; rejected: {reasons or 'none'}"
    text = [gate_rules(section), f"Accepted: {section['accepted']} of {section['n']} ({percent(section['rate'])})."]
    picture = svg_picture(plots.gate_plot(section), alt, "Verdicts of the gate.")
    return View("gate", "What did the gate reject?", "Gate", [Block(text=text, pictures=[picture])])


def gate_rules(section: Mapping[str, Any]) -> str:
    """The rules that decided, in a sentence or two."""
    text = (
        f"A clip is rejected if the drawn wire takes away less than {number(section['attenuation_cnr'])} of the local "
        f"noise along its mask, or if it was drawn along less than {percent(section['drawn_share'])} of its centreline"
    )
    if section["dice"] is not None:
        return (
            f"{text}, or if a second segmenter, independent of the guide, finds it with Dice "
            f"below {number(section['dice'])}."
        )
    return f"{text}. These rules need no network. {NO_SECOND}"


NO_SECOND = (
    "Labels were too few for a second segmenter that is independent of the guide, so no segmenter confirmed that the wires "
    "can be found."
)
