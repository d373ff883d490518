"""The section on label fidelity."""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.report import plots
from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import middle, number, significant
from sfvd_pl.report.sections.rows import TITLES, Measure, all_rows, curves_picture, rows_plots, rows_table
from sfvd_pl.report.views import Block, Picture, Table, View

MEASURES = (
    Measure("dice", "Dice", plotted=True),
    Measure("cldice", "clDice"),
    Measure("tip_error_px", "tip error (px)", plotted=True),
    Measure("length_ratio", "length, found / label"),
    Measure("false_components", "false wires a frame"),
)
ORDER = ("real", "synthetic", "shuffled")
"""Rows that come first; controls follow."""


def labels_view(section: Mapping[str, Any]) -> View:
    """The independent segmenter on every set, by frame and by visibility."""
    rows = sorted(all_rows(section), key=lambda row: ORDER.index(row["name"]) if row["name"] in ORDER else len(ORDER))
    text = [
        "A segmenter that played no part in generation looks for the wire. On a synthetic clip it is scored "
        "against the mask that drove the clip; on held-out real clips against their labels. Shuffled: against the "
        "mask of another clip, which is what chance gives.",
        f"Synthetic over real: Dice {number(section['ratio']['dice'])}, clDice {number(section['ratio']['cldice'])}. "
        f"Last frame over first, synthetic: {number(_named(rows, 'synthetic').get('drift'))}.",
    ]
    compared = [row for row in rows if row["name"] in ("real", "synthetic")]
    return View(
        "labels",
        "Are the labels true?",
        "Labels",
        [
            Block("", text, [rows_table(rows, MEASURES, "Label fidelity of each set")], rows_plots(rows, MEASURES)),
            Block("By frame and by visibility", [ABOUT_BINS], pictures=_by_frame(compared) + _by_visibility(section)),
            Block("Numbers by visibility", tables=[_bins(compared)], closed=True),
        ],
    )


ABOUT_BINS = "Faint wires are hard to find in real clips, too: compare the two within a bin. Small numbers are frames."


def _named(rows: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((row for row in rows if row["name"] == name), {})


def _by_frame(rows: Sequence[Mapping[str, Any]]) -> list[Picture]:
    entries = [[frame["dice"] for frame in row["by_frame"]] for row in rows]
    frames = list(range(max((len(y) for y in entries), default=0)))
    caption = "A falling synthetic line: the wire leaves its label as the clip goes on."
    return curves_picture(rows, entries, frames, "frame of the clip", "Dice", caption, floor=0, ceiling=1.02)


def _by_visibility(section: Mapping[str, Any]) -> list[Picture]:
    rows = {row["name"]: row for row in section["rows"]}
    described = "; ".join(
        f"{name} {', '.join(number(entry['dice']['mean']) for entry in rows[name]['by_visibility'])}"
        for name in ("real", "synthetic")
    )
    if not rows["real"]["by_visibility"]:
        return []
    alt = f"Dice by visibility of the wire: {described}"
    return [svg_picture(plots.by_visibility_plot(section), alt, "By visibility.")]


def _bins(rows: Sequence[Mapping[str, Any]]) -> Table:
    body = [
        [
            f"{TITLES[row['name']]}, CNR {number(entry['low'], 1)} to {number(entry['high'], 1)}",
            str(entry["n"]),
            *(significant(middle(entry[m.key])) for m in MEASURES),
        ]
        for row in rows
        for entry in row["by_visibility"]
        if entry["n"]
    ]
    return Table("By visibility, mean over frames", ["", "frames", *(m.title for m in MEASURES)], body)
