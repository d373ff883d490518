"""Copies of training clips, planted to see whether a search for copies finds them."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sfvd_pl.datasets.sets import NOISE_SHARE, ClipSet, MeasuredClip, digest_of
from sfvd_pl.datasets.windows import Window, philox
from sfvd_pl.diffusion import sample_seed

PlantedKind = Literal["exact", "noised", "noisier", "shifted", "flipped", "regrained"]

NOISED = {"noised": 0.03, "noisier": NOISE_SHARE}
"""Standard deviation of a copy's noise as a share of full scale: above the grain of most clips, and well above."""
SHIFT_PX = 5.0
"""Largest shift of a shifted copy along each axis, pixels of the clip; between pixels, too."""
SMOOTHED_PX = 1.0
"""Blur that takes a regrained copy's own noise away, pixels."""


@dataclass(frozen=True)
class Planted(ClipSet):
    """Copies of the clips of a set.

    Attributes:
        base: The set, of training clips where a search is to be tried.
        kind: ``exact``; ``noised`` and ``noisier`` (independent Gaussian noise, see ``NOISED``); ``shifted`` (all
            frames by one and the same distance of up to ``SHIFT_PX``, the edge repeated); ``flipped`` (turned and
            mirrored in one of the seven ways); ``regrained`` (blurred, with new noise as strong as what the blur took).
        seed: Of what is drawn.
    """

    base: ClipSet
    kind: PlantedKind
    seed: int = 0
    title: str = field(init=False)
    intensity_max: int = field(init=False)

    def __post_init__(self) -> None:
        """Take over what is the base's; refuse an unknown kind."""
        if self.kind not in get_args(PlantedKind):
            raise ValueError(f"unknown kind of copy {self.kind!r}: one of {get_args(PlantedKind)}")
        object.__setattr__(self, "intensity_max", self.base.intensity_max)
        object.__setattr__(self, "title", f"{self.kind} copies of {self.base.title}")

    def __len__(self) -> int:
        """How many clips."""
        return len(self.base)

    @property
    def identity(self) -> str:
        """Digest of the base and the edit."""
        constants = [NOISED, SHIFT_PX, SMOOTHED_PX]
        return digest_of("planted", self.base.identity, self.kind, self.seed, constants)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patient of each clip."""
        return self.base.patients

    def __getitem__(self, number: int) -> MeasuredClip:
        """One clip."""
        clip = self.base[number]
        rng = philox(sample_seed(self.seed, number, f"planted-{self.kind}"))
        if self.kind == "flipped":
            way = int(rng.integers(1, 8))
            turn = Window(0, 0, clip.image.shape[1], way // 2, bool(way % 2))
            return replace(clip, image=turn.cut(clip.image), wire_mask=turn.cut(clip.wire_mask).astype(np.uint8))
        pixels = clip.image.astype(np.float32)
        if self.kind == "shifted":
            shift = (0.0, *rng.uniform(-SHIFT_PX, SHIFT_PX, 2))
            mask = ndimage.shift(clip.wire_mask, [round(s) for s in shift], order=0, mode="nearest")
            return replace(clip, image=self._pixels(_moved(pixels, shift), clip), wire_mask=mask)
        noise = rng.standard_normal(pixels.shape, np.float32)
        if self.kind in NOISED:
            pixels += noise * (NOISED[self.kind] * self.intensity_max)
        elif self.kind == "regrained":
            smooth = ndimage.gaussian_filter(pixels, (0, SMOOTHED_PX, SMOOTHED_PX), mode="nearest")
            pixels = smooth + noise * float((pixels - smooth).std())
        return replace(clip, image=self._pixels(pixels, clip))

    def _pixels(self, pixels: NDArray[np.float32], clip: MeasuredClip) -> NDArray[np.generic]:
        return pixels.round().clip(0, self.intensity_max).astype(clip.image.dtype)


def _moved(frames: NDArray[np.float32], shift: tuple[float, ...]) -> NDArray[np.float32]:
    return np.asarray(ndimage.shift(frames, shift, order=1, mode="nearest"), np.float32)
