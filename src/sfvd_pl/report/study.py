"""The page on a label-efficiency study: one picture, one table."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sfvd_pl.report.embed import data_uri, fill
from sfvd_pl.report.numbers import interval, number, signed
from sfvd_pl.report.overlay import save_bytes
from sfvd_pl.report.plots import Series, lines_plot
from sfvd_pl.report.template.study import PAGE
from sfvd_pl.report.views import Block, Cell, Picture, Table, View

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8a8f98")
"""Okabe and Ito's, which colour-blind people tell apart."""
LOOKS = (("-", "o"), ("-", "s"), ("--", "^"), (":", "v"), ("-.", "D"), ("--", "x"), (":", "P"), ("-.", "*"))
HEAD = ("labelled clips, arm", "patients", "Dice", "clDice", "Dice, faint third", "Dice minus real", "p", "p corrected")
CAUTIONS = (
    "Intervals and tests are over patients. Held-out patients share most of their training patients, so they are not "
    "independent of one another, and the luck of one draw of labelled clips is part of each patient's figure.",
    "p is corrected for the arms and measures at one number of labels, not for the numbers of labels together.",
    "A figure of simulated clips says how this software behaves, not how a method does in a hospital.",
)


def write_study(folder: Path, study: Mapping[str, Any]) -> Path:
    """Write ``study.png`` and ``index.html``; returns the page.

    Args:
        folder: Where.
        study: The content of ``study.json``, as it is read.
    """
    png, rows = study_plot(study), list(figures(study))
    save_bytes(folder / "study.png", png)
    low, high = study["thirds"]
    text = [
        "Frames are averaged within clips, clips within patients, then seeds. The faint third holds the test frames "
        f"whose wire has a CNR below {number(low)}; the plain third begins at {number(high)}."
    ]
    table = Table("Mean and 95 % interval over held-out patients", HEAD, [_cells(row) for row in rows])
    alt = "; ".join(f"{row['arm']}, {row['labels']}: {interval(row['dice'])}" for row in rows)
    picture = Picture(data_uri(png, "png"), alt, "Dice by number of labelled clips. Bands are 95 % intervals.", 640)
    view = View("curve", "What do labels buy?", "Curve", [Block(text=text, tables=[table], pictures=[picture])])
    return save_bytes(folder / "index.html", fill(PAGE, study=study, view=view, cautions=CAUTIONS).encode())


def figures(study: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for each arm at each number of labelled clips: what table, picture and terminal show."""
    for point in study["curve"]:
        section = point["segmentation"]
        tests = {row["arm"]: row for row in section["tests"]["rows"] if row["measure"] == "dice"}
        for arm in section["arms"]:
            test = tests.get(arm["name"], {})
            yield {
                "labels": "all" if point["labels"] is None else str(point["labels"]),
                "arm": arm["name"],
                "patients": sum(values["dice"] is not None for values in arm["patients"].values()),
                "dice": arm["dice"],
                "cldice": arm["cldice"],
                "faint": arm["by_visibility"][0]["dice"],
                "faint_patients": arm["by_visibility"][0]["n_patients"],
                "difference": arm.get("difference", {}).get("dice"),
                "p": test.get("p"),
                "p_holm": test.get("p_holm"),
            }


def _cells(row: Mapping[str, Any]) -> list[Cell | str]:
    gap = row["difference"]
    return [
        f"{row['labels']}, {row['arm']}",
        str(row["patients"]),
        *(Cell(number(row[key]["mean"], 3), _span(row[key])) for key in ("dice", "cldice")),
        Cell(number(row["faint"]["mean"], 3), f"{_span(row['faint'])}, {row['faint_patients']} patients".lstrip(", ")),
        Cell(signed(gap["mean"], 3), _span(gap)) if gap else "–",
        number(row["p"], 3),
        number(row["p_holm"], 3),
    ]


def _span(entry: Mapping[str, Any]) -> str:
    return "" if entry["low"] is None else f"{number(entry['low'], 3)} to {number(entry['high'], 3)}"


def study_lines(study: Mapping[str, Any]) -> list[str]:
    """The table for a terminal."""
    rows = [HEAD, *([_plain(cell) for cell in _cells(row)] for row in figures(study))]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _plain(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.text} ({cell.detail})" if cell.detail else cell.text


def study_plot(study: Mapping[str, Any]) -> bytes:
    """Dice over the number of labelled clips, a line an arm with its interval as a band, as PNG."""
    rows = list(figures(study))
    ticks = list(dict.fromkeys(row["labels"] for row in rows))
    series = []
    for k, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
        own = [row for row in rows if row["arm"] == arm]
        y, low, high = ([row["dice"][key] for row in own] for key in ("mean", "low", "high"))
        x = [ticks.index(row["labels"]) for row in own]
        style, marker = LOOKS[k % len(LOOKS)]
        series.append(Series(arm, x, y, COLOURS[k % len(COLOURS)], style, marker, low=low, high=high))
    xlabel, ylabel = "labelled clips to learn from", "Dice on held-out patients (mean, 95 % interval)"
    return lines_plot(series, xlabel, ylabel, floor=0, ticks=ticks, size=(6.4, 4.2), kind="png")
