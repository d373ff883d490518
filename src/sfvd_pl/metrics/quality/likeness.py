"""Which frames look alike: a short description of each, and the nearest other clips of every clip.

A description is the amplitude spectrum of the frame's structures of a twentieth to half of its size, without the fall
towards fine ones that all pictures share. A shift of the frame leaves it as it is, a flip mirrors it. It finds
candidates only; :mod:`sfvd_pl.metrics.quality.copies` decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sfvd_pl.metrics.arrays import Array, Ints, require_axes

SIDE = 48
"""Rows and columns at which a frame is described."""
COARSE = SIDE / 8
"""Of the blur that is taken away first, in pixels of that size: every chest is dark in the middle."""
RADIUS = 11
"""Largest frequency, in periods a frame."""
SMOOTH = 0.6
"""Of the spectrum, in periods a frame: what a small zoom moves still overlaps."""
ZOOMS = (0.95, 1.0, 1.055)
"""Enlargements that a query is tried at."""
QUERIES = 8
"""Frames of a clip that look for others, evenly spread with both ends; every frame can be found."""
NEAREST = 5
"""Clips that are looked at closely for each clip, and of other patients' clips as many again at most."""
LEAST = 0.6
"""Correlation of descriptions below which two frames aren't looked at closely."""
BLOCK = 4096
"""Rows of one matrix product."""

_ROWS, _COLUMNS = np.mgrid[-RADIUS : RADIUS + 1, 0 : RADIUS + 1]
_RING = np.rint(np.hypot(_ROWS, _COLUMNS)).astype(int)
_KEPT = (_RING >= 1) & (_RING <= RADIUS)
_RINGS = [_RING[_KEPT] == radius for radius in range(1, RADIUS + 1)]
LENGTH = int(_KEPT.sum())
"""Numbers of one description."""

Singles = npt.NDArray[np.float32]


def resized(frame: Array, height: int, width: int) -> Singles:
    """A frame at another size, by Pillow's antialiased bicubic filter; (H, W) to (height, width)."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(frame, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC), np.float32)


def zoomed(frame: Array, factor: float) -> Singles:
    """A frame enlarged about its centre, its size kept; what lies beyond the border is 0."""
    from PIL import Image

    if factor == 1:
        return np.asarray(frame, np.float32)
    height, width = frame.shape
    inner = (width / factor, height / factor)
    box = ((width - inner[0]) / 2, (height - inner[1]) / 2, (width + inner[0]) / 2, (height + inner[1]) / 2)
    picture = Image.fromarray(np.ascontiguousarray(frame, np.float32))
    moved = picture.transform((width, height), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC)
    return np.asarray(moved, np.float32)


def describe(clip: Array) -> Singles:
    """Descriptions of the frames of a clip.

    Args:
        clip: (T, H, W), the valid extent only.

    Returns:
        (T, LENGTH) float32 of unit length; all 0 for a frame of one value.
    """
    require_axes(clip, "T H W", "clip")
    return _unit(_spectra([resized(frame, SIDE, SIDE) for frame in clip]))


def describe_queries(clip: Array) -> Singles:
    """The same of frames as they would look mirrored and zoomed.

    Returns:
        (T, 2 * len(ZOOMS), LENGTH). Upside down is mirrored, to an amplitude spectrum.
    """
    require_axes(clip, "T H W", "clip")
    variants = []
    large = [resized(frame, 2 * SIDE, 2 * SIDE) for frame in clip]
    for zoom in ZOOMS:
        small = [_filled(resized(zoomed(frame, zoom), SIDE, SIDE), zoom) for frame in large]
        spectra = _spectra(small)
        variants += [_unit(spectra), _unit(spectra[:, ::-1])]
    return np.stack(variants, axis=1)


def _filled(small: Singles, zoom: float) -> Singles:
    """The rim beyond a shrunk picture, filled with what the picture shows at its border."""
    if zoom >= 1:
        return small
    rim = int((1 - zoom) * SIDE / 2) + 1
    return np.pad(small[rim:-rim, rim:-rim], rim, mode="edge")


def _spectra(thumbs: Sequence[Singles]) -> Singles:
    """Square roots of amplitudes, (T, 2 RADIUS + 1, RADIUS + 1): rows -RADIUS to RADIUS, columns from 0."""
    window = np.hanning(SIDE + 2)[1:-1]
    fine = np.stack([thumb - ndimage.gaussian_filter(thumb, COARSE, mode="nearest") for thumb in thumbs])
    amplitude = np.abs(np.fft.rfft2(fine * (window[:, None] * window)))
    near = np.concatenate([amplitude[:, -RADIUS:], amplitude[:, : RADIUS + 1]], axis=1)[:, :, : RADIUS + 1]
    return np.asarray(np.sqrt(ndimage.gaussian_filter(near, (0, SMOOTH, SMOOTH))), np.float32)


def _unit(spectra: Singles) -> Singles:
    """Each ring of equal frequency without its mean, and the whole of unit length."""
    flat = spectra[:, _KEPT]
    scale = flat.mean(axis=1, keepdims=True)
    for ring in _RINGS:
        flat[:, ring] -= flat[:, ring].mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(scale > 0.03, flat / np.maximum(length, 1e-6), 0), np.float32)


def query_frames(length: int) -> list[int]:
    """Frames of a clip of ``length`` that look for others."""
    spread = np.linspace(0, length - 1, min(length, QUERIES)).round()
    return [int(t) for t in np.unique(spread)]


@dataclass(frozen=True)
class Candidate:
    """Two clips that look alike, and the two frames that do most; ``first`` is the lower clip."""

    first: int
    second: int
    first_frame: int
    second_frame: int
    likeness: float


class Likeness:
    """Descriptions of all clips: (6 QUERIES + T) x 200 float32 a clip, about 50 kB for 16 frames."""

    def __init__(self) -> None:
        self._frames: list[Singles] = []
        self._queries: list[Singles] = []
        self._at: list[list[int]] = []

    def add(self, described: Singles, queries: Singles, at: Sequence[int]) -> None:
        """Add the next clip: all its frames (T, D), and its queries (Q, V, D) at the frames ``at``."""
        self._frames.append(described)
        self._queries.append(queries)
        self._at.append(list(at))

    def candidates(
        self, patients: Sequence[str], *, nearest: int = NEAREST, least: float = LEAST
    ) -> Iterator[Candidate]:
        """Pairs of clips to look at closely, each pair once.

        For each clip there are the ``nearest`` of all and the ``nearest`` of other patients: the runs of one patient
        look so much alike that they might leave no place to a copy under another name, which is a leak.

        Cost: with M clips of T frames, 8 M queries in 6 variants against M T frames, so 48 M x M T products of
        about 200 numbers in float32, by blocks of at most 4096 x 4096; and at most 2 ``nearest`` M close looks.
        """
        if len(self._frames) < 2:
            return
        best = self._nearest(np.unique(np.asarray(patients, str), return_inverse=True)[1], nearest)
        seen = set()
        for clip, others in enumerate(best):
            for likeness, other in others:
                pair = (min(clip, other), max(clip, other))
                if likeness >= least and pair not in seen:
                    seen.add(pair)
                    yield self._frames_of(clip, other)

    def _nearest(self, owner: Ints, nearest: int) -> list[list[tuple[float, int]]]:
        """For each clip the clips that look most like it, (likeness, clip), by whose (M,) they are."""
        blocks = list(_blocks([len(f) for f in self._frames]))
        best: list[list[tuple[float, int]]] = []
        variants = self._queries[0].shape[1]
        for query_clips in _blocks([len(q) * variants for q in self._queries]):
            queries = np.concatenate([self._queries[c].reshape(-1, LENGTH) for c in query_clips])
            rows = np.cumsum([0] + [len(self._queries[c]) * variants for c in query_clips[:-1]])
            tables = []
            for block in blocks:
                frames = np.concatenate([self._frames[c] for c in block])
                columns = np.cumsum([0] + [len(self._frames[c]) for c in block[:-1]])
                product = queries @ frames.T
                tables.append(
                    np.maximum.reduceat(np.maximum.reduceat(product, columns, axis=1), rows, axis=0)
                )
            table = np.concatenate(tables, axis=1)
            table[np.arange(len(query_clips)), query_clips] = -1.0
            others = np.where(owner[query_clips][:, None] == owner, -1.0, table)
            keep = min(nearest, table.shape[1])
            tops = [np.argpartition(-each, keep - 1, axis=1)[:, :keep] for each in (table, others)]
            top = np.concatenate(tops, axis=1)
            best += [
                [(float(row[c]), int(c)) for c in chosen] for row, chosen in zip(table, top, strict=True)
            ]
        return best

    def _frames_of(self, clip: int, other: int) -> Candidate:
        """The two frames of a pair of clips that look most alike."""
        product = np.einsum("qvd,td->qvt", self._queries[clip], self._frames[other], optimize=True)
        query, _, frame = np.unravel_index(int(product.argmax()), product.shape)
        own, likeness = self._at[clip][int(query)], float(product.max())
        if clip < other:
            return Candidate(clip, other, own, int(frame), likeness)
        return Candidate(other, clip, int(frame), own, likeness)


def _blocks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive clips with at most ``BLOCK`` rows together (or one clip with more)."""
    block: list[int] = []
    rows = 0
    for clip, length in enumerate(lengths):
        if block and rows + length > BLOCK:
            yield block
            block, rows = [], 0
        block.append(clip)
        rows += length
    if block:
        yield block
