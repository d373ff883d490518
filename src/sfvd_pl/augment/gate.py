"""The gate: a label is false where the wire has been erased, so such clips are turned away and counted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.errors import ConfigError

NOT_FOUND = "wire not found"
TOO_FAINT = "fainter than any real wire"


@dataclass(frozen=True)
class GateConfig:
    """What a synthetic clip has to fulfil.

    Attributes:
        dice_ratio: Least Dice of the gate's segmenter against the clip's masks, as a share of the Dice that it
            reaches on real frames of the validation patients.
        visibility_quantile: The clip's visibility must not lie below this quantile of the labelled real frames';
            None asks for no visibility.
    """

    dice_ratio: float = 0.6
    visibility_quantile: float | None = 0.02

    def __post_init__(self) -> None:
        """Both are shares."""
        for key in ("dice_ratio", "visibility_quantile"):
            value = getattr(self, key)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ConfigError("a share lies outside 0..1", key=key, expected="0..1", found=value)


@dataclass(frozen=True)
class Gate:
    """Thresholds, worked out on real frames.

    Attributes:
        dice: Least mean Dice over a clip's frames.
        visibility: Least median visibility; None asks for none.
    """

    dice: float
    visibility: float | None

    def reasons(
        self, dice: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> list[str]:
        """Why each clip is turned away; an empty text where it is accepted.

        Args:
            dice: Mean Dice of each clip.
            visibility: Median visibility of each clip; NaN counts as too faint.
        """
        verdicts = []
        for found, seen in zip(dice, visibility, strict=True):
            if not found >= self.dice:
                verdicts.append(NOT_FOUND)
            else:
                visible = self.visibility is None or seen >= self.visibility
                verdicts.append("" if visible else TOO_FAINT)
        return verdicts
