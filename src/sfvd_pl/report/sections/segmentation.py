"""The section on the compared segmenters."""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.metrics.scores import DEFINITIONS, HEADLINE
from sfvd_pl.report import plots
from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import interval, middle, number, significant, span
from sfvd_pl.report.sections.verdict import difference
from sfvd_pl.report.views import Block, Cell, Picture, Table, View

TITLES: Mapping[str, str] = {
    measure.name: measure.title + (f" ({measure.unit})" if measure.unit in ("px", "mm") else "")
    for measure in DEFINITIONS
}
INTERVALS = {
    "none": "With one test patient there is no interval.",
    "student": "Intervals are Student's over patients: with so few, they assume a bell-shaped spread.",
    "bootstrap": "Intervals resample patients.",
}


def segmentation_view(section: Mapping[str, Any]) -> View:
    """Each arm with intervals over patients, differences, tests, and the same by visibility and patient."""
    arms = section["arms"]
    text = [
        f"Held-out test patients: {section['n_patients']}, {section['n_clips']} clips, {section['n_frames']} "
        "labelled frames. Frames are averaged within clips, clips within patients, then training seeds "
        f"({', '.join(str(seed) for seed in section['seeds'])}). {INTERVALS[section['interval']['method']]} Every "
        "arm took the same number of optimiser steps."
    ]
    blocks = [
        Block("", text, [_table(arms)], _plots(section)),
        Block("Tests", [_about_tests(section)], [_tests(section)], closed=True) if section["tests"]["rows"] else None,
        Block("All measures", tables=[_all(arms)], closed=True),
        Block("By visibility of the wire", tables=[_by_visibility(arms)], closed=True),
        Block("Each patient", tables=[_patients(arms)], closed=True),
    ]
    return View(
        "segmentation", "Does it help segmentation?", "Segmentation", [block for block in blocks if block is not None]
    )


def _table(arms: Sequence[Mapping[str, Any]]) -> Table:
    head = ["trained on", *(TITLES[name] for name in HEADLINE), "Dice against reference"]
    body: list[list[Cell | str]] = []
    for arm in arms:
        against: Cell | str = "–"
        if "difference" in arm:
            against = Cell(difference(arm["difference"]["dice"]), f"against {arm['difference']['reference']}")
        cells = [Cell(significant(middle(arm[name])), span(arm[name])) for name in HEADLINE]
        body.append([arm["name"], *cells, against])
    return Table("Segmenters on test patients, mean and 95 % interval over patients", head, body)


def _plots(section: Mapping[str, Any]) -> list[Picture]:
    pictures = []
    for measure in HEADLINE:
        values = "; ".join(f"{arm['name']} {interval(arm[measure])}" for arm in section["arms"])
        ceiling = None if "px" in measure else 1.0
        pictures.append(
            svg_picture(
                plots.arms_plot(section, measure, TITLES[measure], ceiling=ceiling),
                f"{TITLES[measure]} of each arm: {values}",
                f"{TITLES[measure]}, mean and 95 % interval over patients. Faint dots are patients.",
            )
        )
    return pictures


def _about_tests(section: Mapping[str, Any]) -> str:
    tests = section["tests"]
    return (
        f"{tests['method']}, {tests['family']} tests. The smallest p that so few patients can give is "
        f"{number(tests['smallest_p'], 3)}, corrected {number(tests['smallest_p_holm'], 3)}."
    )


def _tests(section: Mapping[str, Any]) -> Table:
    body = [
        [
            f"{row['arm']}, {TITLES[row['measure']]}",
            str(row["n_patients"]),
            number(row["p"], 3),
            number(row["p_holm"], 3),
        ]
        for row in section["tests"]["rows"]
    ]
    return Table(f"Against {section['reference']}", ["arm, measure", "patients", "p", "p, corrected"], body)


def _all(arms: Sequence[Mapping[str, Any]]) -> Table:
    known = [name for name in TITLES if any(arm[name]["mean"] is not None for arm in arms)]
    body: list[list[Cell | str]] = [
        [TITLES[name], *(Cell(significant(middle(arm[name])), span(arm[name])) for arm in arms)] for name in known
    ]
    return Table("Every measure of every arm", ["", *(arm["name"] for arm in arms)], body)


def _by_visibility(arms: Sequence[Mapping[str, Any]]) -> Table:
    body: list[list[Cell | str]] = [
        [
            f"{arm['name']}, CNR {number(row['low'], 1)} to {number(row['high'], 1)}",
            str(row["n_frames"]),
            str(row["n_patients"]),
            *(Cell(significant(middle(row[name])), span(row[name])) for name in HEADLINE),
        ]
        for arm in arms
        for row in arm["by_visibility"]
        if row["n_frames"]
    ]
    return Table("By visibility", ["", "frames", "patients", *(TITLES[name] for name in HEADLINE)], body)


def _patients(arms: Sequence[Mapping[str, Any]]) -> Table:
    body: list[list[Cell | str]] = [
        [f"{arm['name']}, {patient}", *(significant(row[name]) for name in HEADLINE)]
        for arm in arms
        for patient, row in sorted(arm["patients"].items())
    ]
    return Table("Every patient, mean over clips and seeds", ["", *(TITLES[name] for name in HEADLINE)], body)
