"""The gate: a label is false where no wire was drawn, so such clips are turned away and counted."""

from dataclasses import dataclass

from sfvd_pl.errors import ConfigError

LOST = "lost in the noise"
BROKEN = "drawn in part"
NOT_FOUND = "not found by the second segmenter"


@dataclass(frozen=True)
class GateConfig:
    """What a synthetic clip has to fulfil.

    Attributes:
        attenuation_cnr: Least signal that the drawn wire takes away along its mask, over the local noise.
        drawn_share: Least share of the wire's centreline along which it was drawn.
        dice_ratio: Where there is a second segmenter: its least Dice on a clip, as a share of the Dice that it reaches
            on real clips of the validation patients.
        min_labelled_clips: With fewer labelled training clips there is no second segmenter that could be told from the
            guide, and the first two rules alone decide.
    """

    attenuation_cnr: float = 0.5
    drawn_share: float = 0.8
    dice_ratio: float = 0.5
    min_labelled_clips: int = 8

    def __post_init__(self) -> None:
        """Shares lie within 0..1."""
        for key in ("drawn_share", "dice_ratio"):
            value = getattr(self, key)
            if not 0.0 <= value <= 1.0:
                raise ConfigError("a share lies outside 0..1", key=key, expected="0..1", found=value)


@dataclass(frozen=True)
class Gate:
    """Thresholds.

    Attributes:
        config: The rules that need no network.
        dice: Least mean Dice of the second segmenter over a clip; None where there is none.
    """

    config: GateConfig
    dice: float | None = None

    def reason(self, attenuation_cnr: float, drawn_share: float, dice: float) -> str:
        """Why a clip is turned away; empty where it is accepted. NaN fulfils no rule."""
        if not attenuation_cnr >= self.config.attenuation_cnr:
            return LOST
        if not drawn_share >= self.config.drawn_share:
            return BROKEN
        if self.dice is not None and not dice >= self.dice:
            return NOT_FOUND
        return ""
