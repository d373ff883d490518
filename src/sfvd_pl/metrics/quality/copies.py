"""Whether two frames are copies of one picture, after a flip, a shift, a small zoom, other grey values, noise.

Two runs of one patient, or of two, may look as alike as two photographs of one room. What they never share is what is
new in each exposure: the noise, and where heart and wire were at that moment. So the frames are laid on one another
(by their fine structure, whatever the flip, shift and zoom), and then compared twice:

- ``structure``: correlation of the fine structure itself;
- ``grain``: correlation of the fine structure that is left of each frame once the mean of its own clip is taken away.
  Bones, leads, burned-in text and dust on the detector stand still, and are gone.

Fine structure is divided by its local strength, which makes it the same under any gradual change of grey values and
keeps single strong edges from deciding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from sfvd_pl.metrics.arrays import Array
from sfvd_pl.metrics.quality.likeness import resized, zoomed

WORKING_PX = 128
"""Longer side of a frame when it is compared."""
SMALL_PX = 64
"""The same while the flip and the zoom are sought."""
ZOOMS = tuple(float(z) for z in np.linspace(0.88, 1.12, 9).round(2))
SMALL_BAND = (1.0, 3.0, 5.0)
"""Band and local strength at that size, in its pixels."""
FINE_ZOOMS = tuple(float(z) for z in np.linspace(-0.04, 0.04, 9).round(2))
REACH = 0.09
"""Shifts are tried up to this share of the frame."""
MARGIN_PX = 5
"""Rim that isn't compared, where a shifted or zoomed copy has made-up pixels."""
GLANCE = 0.38
"""Coarse correlation of the first two frames below which two clips have nothing to do with one another."""
SEEN = 0.5
"""The same of the frames that fit best."""
GRAIN = 0.2
"""Correlation of grain from which two frames are copies."""
GRAIN_MEAN = 0.12
"""The same of the mean over all frames that two clips would share, 3 at least: chance doesn't hit them all."""
STRUCTURE = 0.75
"""Correlation of structure from which frames of two patients are copies."""
STRUCTURE_WITHIN = 0.97
"""The same for one patient, of whom two still runs of one view show the same structure."""
CLAMP = 2.0

Singles = npt.NDArray[np.float32]


def working(frame: Array) -> Singles:
    """A frame with its longer side at ``WORKING_PX``."""
    scale = WORKING_PX / max(frame.shape)
    return resized(frame, max(8, round(frame.shape[0] * scale)), max(8, round(frame.shape[1] * scale)))


def fine_structure(frame: Array, fine: float = 0.7, coarse: float = 2.5, local: float = 8.0) -> Singles:
    """A band pass in units of its own local strength, clamped to -2..2; (H, W)."""
    values = np.asarray(frame, np.float32)
    band = ndimage.gaussian_filter(values, fine, mode="nearest")
    band -= ndimage.gaussian_filter(values, coarse, mode="nearest")
    strength = np.sqrt(ndimage.gaussian_filter(band * band, local, mode="nearest", truncate=2.5))
    typical = float(np.median(strength))
    if typical < 1e-4:  # nothing but rounding
        return np.zeros_like(band)
    return np.asarray(np.clip(band / (strength + 0.25 * typical), -CLAMP, CLAMP), np.float32)


@dataclass(frozen=True)
class Alignment:
    """How one frame lies on another: flip it, zoom it about its centre, move it.

    Attributes:
        score: Coarse correlation, -1..1.
        flip: (rows, columns), -1 where they are reversed.
        zoom: Enlargement.
        shift: Rows and columns, in working pixels.
    """

    score: float
    flip: tuple[int, int]
    zoom: float
    shift: tuple[int, int]

    def describe(self) -> str:
        """In words, for a reader: ``mirrored, zoomed 1.05``."""
        words = {(1, 1): "", (1, -1): "mirrored", (-1, 1): "upside down", (-1, -1): "turned by 180 degrees"}
        parts = [words[self.flip]] if self.flip != (1, 1) else []
        if abs(self.zoom - 1) >= 0.015:
            parts.append(f"zoomed {self.zoom:.2f}")
        share = max(abs(s) for s in self.shift) / WORKING_PX
        if share >= 0.015:
            parts.append(f"shifted by {100 * share:.0f} % of the frame")
        return ", ".join(parts)


class Variants:
    """Spectra of one frame in all flips and zooms, made once for all the frames it is compared with."""

    def __init__(self, frame: Singles) -> None:
        self._shape = max(4, frame.shape[0] // 2), max(4, frame.shape[1] // 2)
        reach = round(REACH * SMALL_PX)
        self._size = tuple(fft.next_fast_len(n + reach, real=True) for n in self._shape)
        small = resized(frame, *self._shape)
        self._keys: list[tuple[tuple[int, int], float]] = []
        spectra, lengths = [], []
        for zoom in ZOOMS:
            picture = _framed(fine_structure(zoomed(small, zoom), *SMALL_BAND))
            for flip in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                self._keys.append((flip, zoom))
                spectra.append(np.conj(fft.rfft2(picture[:: flip[0], :: flip[1]], self._size)))
                lengths.append(float(np.linalg.norm(picture)))
        self._spectra, self._lengths = np.stack(spectra), np.array(lengths)

    def align(self, other: Singles, flip: tuple[int, int] | None = None) -> Alignment:
        """The flip, zoom and shift that lay this frame best on another; with ``flip``, only that flip is tried."""
        tried = [k for k, key in enumerate(self._keys) if flip in (None, key[0])]
        small = resized(other, *self._shape)
        picture = _framed(fine_structure(small, *SMALL_BAND))
        found = fft.irfft2(self._spectra[tried] * fft.rfft2(picture, self._size), self._size)
        reach = round(REACH * SMALL_PX)
        steps = np.arange(-reach, reach + 1)
        near = found[:, (steps % self._size[0])[:, None], steps % self._size[1]]
        near = near / (self._lengths[tried, None, None] * float(np.linalg.norm(picture)) + 1e-9)
        k, row, column = np.unravel_index(int(near.argmax()), near.shape)
        best_flip, zoom = self._keys[tried[int(k)]]
        scale = WORKING_PX // SMALL_PX
        return Alignment(
            float(near.max()), best_flip, zoom, (int(steps[row]) * scale, int(steps[column]) * scale)
        )


def _framed(picture: Singles) -> Singles:
    """Mean 0, and nothing on the rim."""
    out = np.zeros_like(picture)
    out[2:-2, 2:-2] = picture[2:-2, 2:-2] - picture[2:-2, 2:-2].mean()
    return out


@dataclass(frozen=True)
class Resemblance:
    """How alike two frames are once laid on one another; -1..1 each, NaN where it can't be said."""

    alignment: Alignment
    structure: float
    grain: float

    @property
    def evidence(self) -> float:
        """The larger of the two, each as a multiple of what makes a copy."""
        return float(np.nanmax([self.structure / STRUCTURE, self.grain / GRAIN]))

    def copied(self, *, same_patient: bool, grain: float = GRAIN) -> bool:
        """Whether they are copies of one picture; ``grain`` is the least correlation of grain that says so."""
        least = STRUCTURE_WITHIN if same_patient else STRUCTURE
        return self.grain >= grain or self.structure >= least


@dataclass(frozen=True)
class Still:
    """A frame as it is compared: itself, and the mean of its clip; None where the clip doesn't move."""

    frame: Singles
    mean: Singles | None


def find_copy(first: Still, seconds: Sequence[Still], at: int, variants: Variants) -> tuple[int, Resemblance]:
    """Look for a copy of one frame among the frames of another clip.

    Args:
        first: The frame.
        seconds: Frames of the other clip.
        at: The one of them that looks most like it. A description is too coarse to tell neighbours apart, so
            the others are tried, too.
        variants: Of the frame.

    Returns:
        Which of ``seconds`` resembles it most, and how; structure and grain are NaN where a coarse look says that
        they have nothing to do with one another.
    """
    glance = variants.align(seconds[at].frame)
    if glance.score < GLANCE:
        return at, Resemblance(glance, float("nan"), float("nan"))
    coarse = [variants.align(second.frame, glance.flip) for second in seconds]
    order = sorted(range(len(seconds)), key=lambda k: -coarse[k].score)[:3]
    if coarse[order[0]].score < SEEN:
        return order[0], Resemblance(coarse[order[0]], float("nan"), float("nan"))
    alignment = _refined(first, seconds[order[0]], coarse[order[0]])
    found = [(k, compare_aligned(first, seconds[k], alignment)) for k in order]
    return max(found, key=lambda pair: pair[1].evidence)


def _refined(first: Still, second: Still, alignment: Alignment) -> Alignment:
    """Zoom to a hundredth and shift to a pixel, by the correlation of structure."""
    target = fine_structure(second.frame)
    best, structure = alignment, -1.0
    for step in FINE_ZOOMS:
        trial = replace(alignment, zoom=alignment.zoom + step)
        picture, against = _overlay(first.frame, target, trial)
        shift = _peak(picture, against)
        for near in _around(shift):
            value = overlap_correlation(picture, against, near)
            if value > structure:
                best, structure = replace(trial, shift=near), value
    return best


def compare_aligned(first: Still, second: Still, alignment: Alignment) -> Resemblance:
    """Compare two frames in an alignment that is known."""
    picture, against = _overlay(first.frame, fine_structure(second.frame), alignment)
    structure = overlap_correlation(picture, against, alignment.shift)
    return Resemblance(alignment, structure, _grain(first, second, alignment))


def _grain(first: Still, second: Still, alignment: Alignment) -> float:
    if first.mean is None or second.mean is None:
        return float("nan")
    new = fine_structure(second.frame - second.mean)
    picture, against = _overlay(first.frame - first.mean, new, alignment)
    return overlap_correlation(picture, against, alignment.shift)


def _overlay(frame: Singles, target: Singles, alignment: Alignment) -> tuple[Singles, Singles]:
    """Fine structure of the first frame, flipped and zoomed, and the second's, without their rims."""
    rows, columns = alignment.flip
    picture = fine_structure(zoomed(frame[::rows, ::columns], alignment.zoom))
    height, width = min(picture.shape[0], target.shape[0]), min(picture.shape[1], target.shape[1])
    inside = (slice(MARGIN_PX, height - MARGIN_PX), slice(MARGIN_PX, width - MARGIN_PX))
    return picture[inside], target[inside]


def _peak(picture: Singles, against: Singles) -> tuple[int, int]:
    """The shift, in rows and columns, at which two pictures correlate most."""
    reach = round(REACH * WORKING_PX)
    size = tuple(fft.next_fast_len(n + reach, real=True) for n in picture.shape)
    found = fft.irfft2(np.conj(fft.rfft2(picture, size)) * fft.rfft2(against, size), size)
    steps = np.arange(-reach, reach + 1)
    near = found[(steps % size[0])[:, None], steps % size[1]]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    return int(steps[row]), int(steps[column])


def _around(shift: tuple[int, int]) -> Iterable[tuple[int, int]]:
    return ((shift[0] + row, shift[1] + column) for row in (-1, 0, 1) for column in (-1, 0, 1))


def overlap_correlation(picture: Singles, against: Singles, shift: tuple[int, int]) -> float:
    """Pearson correlation of two pictures where they overlap once the first is moved; 0 where one is constant."""
    height, width = picture.shape
    row, column = shift
    one = picture[max(0, -row) : height - max(0, row), max(0, -column) : width - max(0, column)]
    two = against[max(0, row) : height - max(0, -row), max(0, column) : width - max(0, -column)]
    if one.size == 0:
        return 0.0
    one, two = one - one.mean(), two - two.mean()
    length = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(np.vdot(one, two)) / length if length > 1e-6 else 0.0
