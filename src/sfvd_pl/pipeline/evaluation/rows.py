"""The sets of clips that a section holds against one another, and the names of their rows."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from tqdm import tqdm

from sfvd_pl.datasets.sets import ClipSet, Degradation, Degraded, MeasuredClip, Subset
from sfvd_pl.errors import MetricsError

CLIP_LIMIT = 256
"""Clips of a set that are measured at most, spread evenly over it: intervals hardly narrow beyond."""
REFERENCE = "real"
"""Name of the row that the others are held against."""


class Compared(Protocol):
    """What is compared.

    Attributes:
        synthetic: The project's clips.
        reference: Windows of real test patients.
        training: Windows of real training patients.
        seed: Of degradations and resampling.
    """

    @property
    def synthetic(self) -> ClipSet:
        """The project's clips."""

    @property
    def reference(self) -> ClipSet:
        """Windows of real test patients."""

    @property
    def training(self) -> ClipSet:
        """Windows of real training patients."""

    @property
    def seed(self) -> int:
        """Of degradations and resampling."""


def compared_sets(context: Compared, degradations: Sequence[Degradation]) -> list[tuple[str, ClipSet]]:
    """Name and clips of each row, the reference first: it, ``synthetic``, ``floor``, then it degraded.

    A floor without clips is left out.

    Raises:
        MetricsError: There is nothing to hold against one another.
    """
    for key, clips in (("reference", context.reference), ("synthetic", context.synthetic)):
        if not len(clips):
            raise MetricsError(
                "a set of clips to be measured is empty",
                key=key,
                expected="at least one clip",
                found=clips.title,
                remedy="measure other clips, or leave this section out",
            )
    reference = spread(context.reference)
    sets = [(REFERENCE, reference), ("synthetic", spread(context.synthetic)), ("floor", spread(context.training))]
    sets += [(kind, Degraded(reference, kind, seed=context.seed)) for kind in degradations]
    return [(name, clips) for name, clips in sets if len(clips)]


def spread(clips: ClipSet, limit: int = CLIP_LIMIT) -> ClipSet:
    """The set, or ``limit`` of its clips spread evenly over it."""
    if len(clips) <= limit:
        return clips
    return Subset(clips, tuple(int(i) for i in np.linspace(0, len(clips) - 1, limit).round()))


def each(name: str, clips: ClipSet, what: str) -> Iterator[tuple[str, MeasuredClip]]:
    """Clip after clip with what it is resampled with: its patient, or itself where it was generated.

    Args:
        name: The row's name.
        clips: Its clips.
        what: Of the progress bar.
    """
    for number, clip in enumerate(tqdm(clips, f"{what}: {name}", total=len(clips), unit="clip", leave=False)):
        yield (f"clip {number}" if name == "synthetic" else clip.patient), clip


def longest(sets: Sequence[tuple[str, ClipSet]]) -> int:
    """Frames of the longest clip, by the first of each set: clips of a set are cut alike."""
    return max((len(clips[0].image) for _, clips in sets), default=1)
