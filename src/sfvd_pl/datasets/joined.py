"""Sets of clips one after the other."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from sfvd_pl.datasets.sets import ClipSet, MeasuredClip


@dataclass(frozen=True)
class Joined(ClipSet):
    """Several sets as one; their pictures share one full scale.

    Attributes:
        parts: The sets, at least one.
        title: Name for a reader.
    """

    parts: tuple[ClipSet, ...]
    title: str
    intensity_max: int = field(init=False)

    def __post_init__(self) -> None:
        """Refuse sets whose pixels don't mean the same."""
        scales = {part.intensity_max for part in self.parts}
        if len(scales) != 1:
            raise ValueError(f"sets of one full scale, not of {sorted(scales)}")
        object.__setattr__(self, "intensity_max", scales.pop())

    def __len__(self) -> int:
        """How many clips."""
        return sum(len(part) for part in self.parts)

    @property
    def identity(self) -> str:
        """Digest of the parts' identities."""
        return hashlib.sha256(" ".join(["joined", *(part.identity for part in self.parts)]).encode()).hexdigest()

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each clip."""
        return tuple(patient for part in self.parts for patient in part.patients)

    def __getitem__(self, number: int) -> MeasuredClip:
        """One clip."""
        ends = np.cumsum([len(part) for part in self.parts])
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = int(np.searchsorted(ends, number, side="right"))
        return self.parts[place][number - int(ends[place] - len(self.parts[place]))]
