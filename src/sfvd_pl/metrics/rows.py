"""Measures of sets of clips, one row a set: the mean of each over its clips, with an interval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Floats
from sfvd_pl.metrics.bootstrap import mean_intervals

Values = Mapping[str, float | Floats]
"""Measures of a clip by name: a number, or a curve of as many numbers in every clip."""


class RowAccumulator:
    """Collects what was measured of each clip of a set; keeps the numbers, never the pictures."""

    def __init__(self) -> None:
        self._groups: list[str] = []
        self._sizes: dict[str, int | None] = {}
        self._values: list[Floats] = []

    def __len__(self) -> int:
        """How many clips."""
        return len(self._groups)

    def update(self, group: str, values: Values) -> None:
        """Add a clip.

        Args:
            group: What it is resampled with: its patient, or the clip's own name.
            values: The same measures for every clip; NaN where one could not be measured.

        Raises:
            MetricsError: The measures, or the length of a curve, are others than those of the first clip.
        """
        sizes = {name: None if np.ndim(value) == 0 else len(np.asarray(value)) for name, value in values.items()}
        if self._groups and sizes != self._sizes:
            raise MetricsError(
                "clips of one set were measured in different ways",
                key="values",
                expected=self._sizes,
                found=sizes,
                remedy="give every clip the same measures and curves of one length, NaN where there is nothing",
            )
        self._sizes = sizes
        self._groups.append(group)
        self._values.append(np.concatenate([np.atleast_1d(np.asarray(v, np.float64)) for v in values.values()]))

    def row(self, name: str, *, seed: int = 0, n: int = 2000) -> dict[str, Any]:
        """``name``, number of clips, and each measure: its mean over the clips with the bounds of its interval.

        A curve becomes a list of those. A set without clips has neither.
        """
        found: dict[str, Any] = {"name": name, "n": len(self)}
        if not self._groups:
            return found
        intervals = mean_intervals(np.stack(self._values), self._groups, seed=seed, n=n)
        dicts = iter([interval.as_dict() for interval in intervals])
        for measure, size in self._sizes.items():
            found[measure] = next(dicts) if size is None else [next(dicts) for _ in range(size)]
        return found


def padded(curve: Sequence[float] | Floats, length: int) -> Floats:
    """A curve with NaN behind its end, so that clips of any length make one table; longer ones are cut."""
    values = np.full(length, np.nan)
    kept = np.asarray(curve, np.float64)[:length]
    values[: len(kept)] = kept
    return values
