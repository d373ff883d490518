"""The label-efficiency study: segmenters by the number of labelled clips that they learned from.

Each run holds patients out and learns from some labelled clips of the others. The runs with one number of labelled
clips are compared as one set of test patients, each measured by segmenters that never saw it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from sfvd_pl.metrics.arms import segmentation_section
from sfvd_pl.metrics.schema.checks import Check, integer, keys, limit, listed, text
from sfvd_pl.metrics.schema.sections import SECTION_CHECKS
from sfvd_pl.metrics.scores import MEASURES, FrameScores, ScoredFrames
from sfvd_pl.metrics.tables import CLIP_COLUMNS, Cell, clip_rows

SCHEMA_VERSION = 1
REFERENCE = "real"
"""The arm that every other one is tested against."""
COLUMNS = ("run", "labels", *CLIP_COLUMNS)


@dataclass(frozen=True)
class StudyRun:
    """One run of a study, scored.

    Attributes:
        name: Of the run.
        held_out: Its test patients.
        labels: Number of labelled clips that were asked for; None: all.
        labelled: Names of these clips.
        seed: Of the draw of labelled clips and of the trainings.
        arms: Arm -> scores of the test frames.
        frames: The test frames.
    """

    name: str
    held_out: tuple[str, ...]
    labels: int | None
    labelled: tuple[str, ...]
    seed: int
    arms: Mapping[str, FrameScores]
    frames: ScoredFrames


def study_metrics(name: str, preset: str, runs: Sequence[StudyRun], *, seed: int = 0) -> dict[str, Any]:
    """The content of ``study.json``.

    Args:
        name: Of the study.
        preset: Of its runs.
        runs: At least one; those of one number of labels may lack seeds of some patients.
        seed: Of the resampling.

    Returns:
        ``curve`` has an entry for each number of labels, the fewest first, whose ``segmentation`` is a section of a
        metrics file over all held-out patients, with the thirds of visibility as its bins.
    """
    thirds = _thirds(runs)
    seeds = sorted({run.seed for run in runs})
    curve = []
    for labels in sorted({run.labels for run in runs}, key=lambda number: inf if number is None else number):
        arms, frames = _joined([run for run in runs if run.labels == labels], seeds)
        section = segmentation_section(
            arms, frames, seeds=seeds, reference=REFERENCE, edges=(-inf, *thirds, inf), seed=seed
        )
        curve.append({"labels": labels, "segmentation": section})
    told = ("name", "held_out", "labels", "labelled", "seed")
    return {
        "schema_version": SCHEMA_VERSION,
        "study": name,
        "preset": preset,
        "thirds": thirds,
        "runs": [{key: getattr(run, key) for key in told} for run in runs],
        "curve": curve,
    }


def _thirds(runs: Sequence[StudyRun]) -> list[float]:
    """Limits (CNR) of the faint, the middle and the plain third of all test frames."""
    seen = np.concatenate([frames.visibility for frames in _tested(runs).values()])
    seen = seen[np.isfinite(seen)]
    low, high = np.quantile(seen, (1 / 3, 2 / 3)) if seen.size else (0.0, 1.0)
    return [float(low), float(max(high, np.nextafter(low, inf)))]


def _tested(runs: Sequence[StudyRun]) -> dict[tuple[str, ...], ScoredFrames]:
    """Frames of each set of held-out patients, whichever run they were scored in."""
    return {run.held_out: run.frames for run in sorted(runs, key=lambda run: run.held_out)}


def _joined(runs: Sequence[StudyRun], seeds: Sequence[int]) -> tuple[dict[str, list[FrameScores]], ScoredFrames]:
    """All held-out patients in one table a seed; NaN where a run isn't there."""
    tested = _tested(runs)
    first = np.cumsum([0, *(len(part.names) for part in tested.values())])
    columns = ("frame", "visibility", "spacing_mm")
    frames = ScoredFrames(
        clip=np.concatenate([part.clip + n for n, part in zip(first, tested.values(), strict=False)]),
        **{key: np.concatenate([getattr(part, key) for part in tested.values()]) for key in columns},
        names=tuple(name for part in tested.values() for name in part.names),
        patients=tuple(patient for part in tested.values() for patient in part.patients),
    )
    unknown = {held: FrameScores(np.full((len(part), len(MEASURES)), np.nan)) for held, part in tested.items()}
    arms = {}
    for arm in runs[0].arms:
        found = {(run.held_out, run.seed): run.arms[arm] for run in runs}
        tables = [[found.get((held, seed), unknown[held]) for held in tested] for seed in seeds]
        arms[arm] = [FrameScores.concatenate(table) for table in tables]
    return arms, frames


def study_rows(runs: Sequence[StudyRun]) -> Iterator[tuple[Cell, ...]]:
    """Rows of ``COLUMNS``: one a test clip of each arm of each run."""
    for run in runs:
        labels = "all" if run.labels is None else run.labels
        for row in clip_rows({arm: [scores] for arm, scores in run.arms.items()}, run.frames, [run.seed]):
            yield (run.name, labels, *row)


def _number_or_all(value: object, key: str) -> None:
    if value is not None:
        integer(1)(value, key)


check_study: Check = keys(
    {
        "schema_version": integer(),
        "study": text,
        "preset": text,
        "thirds": listed(limit),
        "runs": listed(
            keys({"name": text, "held_out": listed(text), "labels": _number_or_all, "labelled": listed(text),
                  "seed": integer(None)})
        ),
        "curve": listed(keys({"labels": _number_or_all, "segmentation": SECTION_CHECKS["segmentation"].check})),
    }
)  # fmt: skip
"""Check of a study file's content, called with it and ``""``; raises a MetricsError."""
