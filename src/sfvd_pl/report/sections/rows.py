"""Sets of clips held against one another: a table and plots of any section with ``rows``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import middle, significant, span
from sfvd_pl.report.plots import lines_plot, of_set, sets_plot
from sfvd_pl.report.views import Cell, Picture, Table

TITLES: Mapping[str, str] = {
    "real": "real, held out",
    "synthetic": "synthetic",
    "floor": "other real patients",
    "blur": "real, blurred",
    "noise": "real, with noise",
    "wrong masks": "real, wrong masks",
    "shuffled": "synthetic, shuffled masks",
    "all": "all clips",
    "accepted": "accepted by the gate",
}
"""Names of sets for a reader."""
ABOUT_ROWS = (
    "“Other real patients” are training patients: how far real clips lie from real ones. The last columns are the "
    "held-out real clips made worse in a known way, so that a figure can be read."
)


@dataclass(frozen=True)
class Measure:
    """A measure of a row.

    Attributes:
        key: In the row.
        title: For a reader, with its unit.
        plotted: Whether it gets a plot of its own.
    """

    key: str
    title: str
    plotted: bool = False


def all_rows(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a section, the reference first where there is one."""
    reference = section.get("reference")
    first = [reference] if isinstance(reference, Mapping) else []
    return [*first, *section.get("rows", ())]


def is_estimate(value: object) -> bool:
    """Whether this is a number with its interval."""
    return isinstance(value, Mapping) and ("mean" in value or "value" in value) and {"low", "high"} <= set(value)


def found_measures(rows: Sequence[Mapping[str, Any]]) -> list[Measure]:
    """Every measure with an interval, under the names of the file, for a section that has no words of its own here."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if is_estimate(value))
    return [Measure(key, key.replace("_", " ")) for key in keys]


def rows_table(rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure], caption: str) -> Table:
    """A column a set, a row a measure, with intervals below the numbers."""
    head = ["", *(TITLES.get(row["name"], row["name"]) for row in rows)]
    body: list[list[Cell | str]] = [["clips", *(str(row["n"]) for row in rows)]] if "n" in rows[0] else []
    for measure in measures:
        if not any(is_estimate(row.get(measure.key)) for row in rows):
            continue
        cells = [_cell(row.get(measure.key)) for row in rows]
        body.append([measure.title, *cells])
    return Table(caption, head, body)


def _cell(value: object) -> Cell | str:
    if not isinstance(value, Mapping) or not is_estimate(value):
        return "–"
    return Cell(significant(middle(value)), span(value))


def rows_plots(rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure]) -> list[Picture]:
    """A plot of each measure that asks for one."""
    pictures = []
    for measure in measures:
        known = [row for row in rows if is_estimate(row.get(measure.key)) and middle(row[measure.key]) is not None]
        if not measure.plotted or not known:
            continue
        values = "; ".join(f"{row['name']} {significant(middle(row[measure.key]))}" for row in known)
        pictures.append(
            svg_picture(
                sets_plot(known, measure.key, measure.title),
                f"{measure.title} of each set of clips, with its interval: {values}",
                "",
            )
        )
    return pictures


def curves_picture(
    rows: Sequence[Mapping[str, Any]],
    curves: Sequence[Sequence[Mapping[str, Any]]],
    x: Sequence[float | int],
    xlabel: str,
    ylabel: str,
    caption: str,
    **options: Any,
) -> list[Picture]:
    """A curve of each set over the same points, each an estimate; nothing where none of them is known."""
    series = [
        of_set(row["name"], x[: len(entries)], entries)
        for row, entries in zip(rows, curves, strict=True)
        if any(entry["mean"] is not None for entry in entries)
    ]
    if not series:
        return []
    described = "; ".join(
        f"{line.name} {significant(line.y[0])} at {line.x[0]:g}, {significant(line.y[-1])} at {line.x[-1]:g}"
        for line in series
    )
    content = lines_plot(series, xlabel, ylabel, **options)
    return [svg_picture(content, f"{ylabel} by {xlabel}: {described}", caption)]
