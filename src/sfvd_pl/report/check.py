"""The page on a quality control: findings with pictures, coverage, and what was looked for."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.quality.check import SPLITS, Check
from sfvd_pl.metrics.quality.findings import CODES, frames_text
from sfvd_pl.report import plots
from sfvd_pl.report.check_pictures import Pictures
from sfvd_pl.report.embed import fill, svg_picture
from sfvd_pl.report.numbers import number
from sfvd_pl.report.overlay import save_bytes
from sfvd_pl.report.template.check import PAGE
from sfvd_pl.report.views import Picture, Tile

PICTURED = 6
"""Findings of one code that get pictures; further ones are in the list."""
PLOTTED = 40
"""Patients that the plot has rows for."""


def write_check(folder: str | os.PathLike[str], check: Check) -> tuple[Path, Path]:
    """Write ``findings.json`` and ``index.html`` into a folder; returns both paths.

    Raises:
        ConfigError: The folder holds something that isn't a quality control.
        ArtifactError: The source can't be read any more.
    """
    target = Path(folder)
    page, data = target / "index.html", target / "findings.json"
    if page.exists() and not data.exists():
        raise ConfigError(
            "there is a page of something else",
            file=page,
            key="out",
            expected="a new folder, or that of an earlier check",
            remedy="name another folder with --out",
        )
    text = json.dumps(check.as_json(), indent=1, allow_nan=False) + "\n"
    rendered = render(check)
    return save_bytes(data, text.encode()), save_bytes(page, rendered.encode())


def render(check: Check) -> str:
    """The page as text."""
    artifact = Artifact.open(check.path, Kind.SOURCE)
    pictures = Pictures(artifact, check)
    counts = Counter(finding.code for finding in check.findings)
    seen: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    for finding in check.findings:
        seen[finding.code] += 1
        shown = pictures.of(finding) if seen[finding.code] <= PICTURED else []
        rows.append(
            {
                "finding": finding,
                "where": frames_text(finding.frames) if finding.frames else "",
                "other": frames_text(finding.other_frames) if finding.other_frames else "",
                "pictures": shown,
            }
        )
    topics: dict[str, list[tuple[str, str, int]]] = {}
    for code, about in CODES.items():
        topics.setdefault(about.topic, []).append((code, about.title, counts[code]))
    return fill(
        PAGE,
        check=check,
        tiles=_tiles(check),
        rows=rows,
        topics=topics,
        plots=_plots(check),
        sheet=pictures.sheet(),
        intensity_max=artifact.intensity_max,
        pictured=PICTURED,
    )


def _tiles(check: Check) -> list[Tile]:
    splits = check.splits()
    frames, labelled = sum(row.frames for row in splits), sum(row.labelled for row in splits)
    patients = ", ".join(f"{row.name} {row.patients}" for row in splits)
    accepted = len(check.of("accepted"))
    known = f"{accepted} more known and accepted" if accepted else "would make a result false"
    annotated = sum(row.annotated for row in splits)
    return [
        Tile("Errors", str(len(check.of("error"))), known),
        Tile("Warnings", str(len(check.of("warning"))), "may make a result false; look at them"),
        Tile("Patients", str(sum(row.patients for row in splits)), patients),
        Tile("Clips", str(len(check.clips)), f"{frames} frames"),
        Tile("Labelled clips", str(labelled), f"{annotated} annotated frames in all clips"),
    ]


def _plots(check: Check) -> list[Picture]:
    groups = {
        split: [(clip.exposure.mean, clip.exposure.noise) for clip in check.clips if clip.split == split]
        for split in SPLITS
    }
    found = [
        svg_picture(
            plots.exposure_plot(groups),
            "Mean intensity and noise of every clip, by split",
            "Mean intensity and noise, a dot a clip. A dot far from the others is another detector, dose or export.",
        )
    ]
    patients = check.patients()[:PLOTTED]
    values = {
        f"{row.name} ({row.split})": [c.visibility for c in check.clips if c.patient == row.name]
        for row in patients
    }
    medians = [None if np.isnan(row.visibility) else row.visibility for row in patients]
    text = "; ".join(f"{row.name} {number(median)}" for row, median in zip(patients, medians, strict=True))
    found.append(
        svg_picture(
            plots.patients_plot(values, "visibility of the wire (CNR), median of a clip"),
            f"Visibility of the labelled wire by patient, medians: {text}",
            "Visibility of the labelled wire, a dot a clip. Left of 0 the wire is brighter than its surroundings.",
        )
    )
    return found
