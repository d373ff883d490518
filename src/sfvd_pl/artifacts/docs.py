"""The tables of ``docs/artifacts.md``, made from the schema so that they can't differ from it.

``python -m sfvd_pl.artifacts.docs docs/artifacts.md`` writes them anew between their two markers.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from sfvd_pl.artifacts.columns import AXES, Column
from sfvd_pl.artifacts.schema import SCHEMA_VERSION, SCHEMAS, Schema
from sfvd_pl.errors import ArtifactError

BEGIN = "<!-- schema: begin (python -m sfvd_pl.artifacts.docs docs/artifacts.md) -->"
END = "<!-- schema: end -->"


def schema_markdown() -> str:
    """The generated part of the page: the axes, and one table for each kind of artifact."""
    lines = [f"Schema version {SCHEMA_VERSION}.", "", "| axis | counts |", "| --- | --- |"]
    lines += [f"| {name} | {meaning} |" for name, meaning in AXES.items()]
    for schema in SCHEMAS.values():
        lines += ["", *_table(schema)]
    return "\n".join(lines) + "\n"


def _table(schema: Schema) -> list[str]:
    head = ["key", "dtype", "axes", "unit", "values", "meaning"]
    rows = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for column in schema.by_key.values():
        dtype = "uint8 or uint16" if column.dtype == "image" else column.dtype
        cells = [f"`{column.key}`", dtype, " ".join(column.axes), column.unit, _values(column), column.doc]
        rows.append(f"| {' | '.join(cells)} |")
    return [f"### {schema.kind.value}", "", schema.doc, "", *rows]


def _values(column: Column) -> str:
    if column.choices is not None:
        return ", ".join(f"`{choice}`" for choice in column.choices)
    if column.dtype == "image":
        text = "0 to intensity_max"
    elif column.range is None:
        text = "finite" if column.dtype.startswith("float") else "any"
    elif column.range[1] == float("inf"):
        text = f"{column.range[0]:g} or more"
    else:
        text = f"{column.range[0]:g} to {column.range[1]:g}"
    return f"{text}, or NaN" if column.nan_ok else text


def renewed(page: str) -> str:
    """A page with the generated part written anew.

    Raises:
        ArtifactError: the page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ArtifactError(
            "the page lacks the markers of its generated part",
            expected=f"{BEGIN} ... {END}",
            remedy="put them back",
        )
    return f"{before}{BEGIN}\n{schema_markdown()}{END}{after}"


def main(arguments: Sequence[str]) -> None:
    """Renew each of the pages given."""
    for name in arguments:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
