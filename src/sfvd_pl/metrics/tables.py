"""Tables beside ``metrics.json``: segmentation scores of every frame and every clip, as CSV."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sfvd_pl.metrics.arms import Arms
from sfvd_pl.metrics.arrays import finite_mean
from sfvd_pl.metrics.scores import MEASURES, ScoredFrames

FRAME_COLUMNS: tuple[str, ...] = (
    *("arm", "seed", "patient", "clip", "frame", "visibility", "spacing_mm"),
    *MEASURES,
)
CLIP_COLUMNS: tuple[str, ...] = ("arm", "seed", "patient", "clip", "frames", "visibility", *MEASURES)
Cell = str | int | float


def frame_rows(arms: Arms, frames: ScoredFrames, seeds: Sequence[int]) -> Iterator[tuple[Cell, ...]]:
    """Rows of ``FRAME_COLUMNS``: one a frame of each training of each arm."""
    for arm, tables in arms.items():
        for seed, scores in zip(seeds, tables, strict=True):
            for row in range(len(frames)):
                clip = int(frames.clip[row])
                yield (
                    *(arm, int(seed), frames.patients[clip], frames.names[clip], int(frames.frame[row])),
                    *(float(frames.visibility[row]), float(frames.spacing_mm[row])),
                    *scores.values[row].tolist(),
                )


def clip_rows(arms: Arms, frames: ScoredFrames, seeds: Sequence[int]) -> Iterator[tuple[Cell, ...]]:
    """Rows of ``CLIP_COLUMNS``: one a clip of each training of each arm; means over its frames."""
    lengths = np.bincount(frames.clip, minlength=len(frames.names))
    visibility = [finite_mean(frames.visibility[frames.clip == clip]) for clip in range(len(frames.names))]
    for arm, tables in arms.items():
        for seed, scores in zip(seeds, tables, strict=True):
            means = frames.clip_means(scores)
            for clip, (patient, name) in enumerate(zip(frames.patients, frames.names, strict=True)):
                yield (
                    *(arm, int(seed), patient, name, int(lengths[clip]), visibility[clip]),
                    *means[clip].tolist(),
                )


def write_table(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Path:
    """Write a CSV; it appears under its name only when it is whole. What isn't known is an empty field.

    Args:
        path: Where; a file there is replaced.
        columns: The heading.
        rows: One cell a column; numbers are written with all their digits.
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                writer.writerow(["" if isinstance(cell, float) and not np.isfinite(cell) else cell for cell in row])
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target
