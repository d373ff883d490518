"""The sets of clips that a section holds against one another: one row each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np

from sfvd_pl.artifacts import Kind
from sfvd_pl.datasets.backgrounds import shown_by_clip
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, Degradation, Degraded, MeasuredClip, Subset
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError

T = TypeVar("T")

CLIP_LIMIT = 256
"""Clips of a set that are measured at most, spread evenly over it: intervals hardly narrow beyond."""
REFERENCE = "real"
"""Name of the row that the others are held against."""


def compared_sets(context: EvaluationContext, degradations: Sequence[Degradation]) -> list[tuple[str, ClipSet]]:
    """Name and clips of each row, the reference first: it, ``synthetic``, ``floor``, then it degraded.

    Without clips of training patients there is no floor.

    Raises:
        NotMeasuredError: There are no generated clips, or no reference.
    """
    reference = spread(context.reference)
    sets = [(REFERENCE, reference), ("synthetic", spread(context.synthetic))]
    with suppress(NotMeasuredError):
        sets.append(("floor", spread(context.training)))
    return sets + [(kind, Degraded(reference, kind, seed=context.seed)) for kind in degradations]


def spread(clips: ClipSet, limit: int = CLIP_LIMIT) -> ClipSet:
    """The set, or ``limit`` of its clips spread evenly over it."""
    if len(clips) <= limit:
        return clips
    return Subset(clips, tuple(int(i) for i in np.linspace(0, len(clips) - 1, limit).round()))


def each(
    context: EvaluationContext, function: Callable[[MeasuredClip], T], name: str, clips: ClipSet, what: str
) -> Iterator[tuple[str, T]]:
    """A function of clip after clip, with what the clip is resampled with.

    Args:
        context: Says in how many processes, and whether to show progress.
        function: See :meth:`EvaluationContext.over_clips`.
        name: The row's name.
        clips: Its clips.
        what: Of the progress bar.
    """
    yield from zip(groups(clips), context.over_clips(function, clips, f"{what}: {name}"), strict=True)


def groups(clips: ClipSet) -> list[str]:
    """What each clip is resampled with: the patient of a real one, or whom a generated one shows; else itself."""
    if isinstance(clips, Subset):
        whole = groups(clips.base)
        return [whole[number] for number in clips.numbers]
    if isinstance(clips, Degraded):
        return groups(clips.base)
    if isinstance(clips, ArtifactClips) and clips.artifact.kind is not Kind.SOURCE:
        shown = shown_by_clip(clips.artifact, "background_patient")
        return [shown[row] or f"clip {row}" for row in clips.rows]
    return list(clips.patients)


def longest(sets: Sequence[tuple[str, ClipSet]]) -> int:
    """Frames of the longest clip, by the first of each set: clips of a set are cut alike."""
    return max(len(clips[0].image) for _, clips in sets)
