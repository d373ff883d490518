"""Any section whose sets are held against one another, in the words of the file."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.report.sections.rows import ABOUT_ROWS, all_rows, found_measures, rows_plots, rows_table
from sfvd_pl.report.views import Block, View


def other_view(name: str, section: Mapping[str, Any]) -> View:
    """A table of all that has an interval."""
    title = name.replace("_", " ").capitalize()
    rows = all_rows(section)
    if not rows:
        return View(name.replace("_", "-"), title, title, [Block(text=["See metrics.json."])])
    measures = found_measures(rows)
    block = Block("", [ABOUT_ROWS], [rows_table(rows, measures, f"{title} of each set")], rows_plots(rows, measures))
    return View(name.replace("_", "-"), title, title, [block])
