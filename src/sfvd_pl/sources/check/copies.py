"""Looking for copies through a whole artifact: exact ones by digest, others by likeness and a close look."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sfvd_pl.artifacts import Artifact
from sfvd_pl.metrics.quality.copies import (
    GRAIN,
    GRAIN_MEAN,
    Alignment,
    Resemblance,
    Still,
    Variants,
    compare_aligned,
    find_copy,
    working,
)
from sfvd_pl.metrics.quality.facts import CopyFacts
from sfvd_pl.metrics.quality.likeness import Candidate, Likeness, describe, describe_queries, query_frames

AROUND = 24
"""Frames before and after the likeliest one that are tried."""
MEAN_OF = 32
"""Frames, evenly spaced, that make a clip's mean."""
LEAST_SHARED = 3
"""Frames from which the mean of their grain counts."""
PARTNERS = 8
"""Clips with the same frame that a clip is held against: 600 that begin with one test picture make no 180,000 pairs."""
KEPT_CLIPS = 8
"""Clips whose working frames are kept at a time."""

Pixels = npt.NDArray[np.generic]


def digest(frame: Pixels) -> bytes:
    """16 bytes that two frames share only if they have the same shape and pixels."""
    head = f"{frame.shape}{frame.dtype}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(frame).tobytes(), digest_size=16).digest()


class ClipStills:
    """Working frames of one clip, read when they are asked for."""

    def __init__(self, artifact: Artifact, clip: int) -> None:
        self._artifact, self._clip = artifact, clip
        self._height = int(artifact.column("clips/height")[clip])
        self._width = int(artifact.column("clips/width")[clip])
        self.length = int(artifact.column("clips/length")[clip])
        self._frames: dict[int, npt.NDArray[np.float32]] = {}
        self._variants: dict[int, Variants] = {}
        chosen = np.unique(np.linspace(0, self.length - 1, min(self.length, MEAN_OF)).round().astype(int))
        mean = np.asarray(np.mean([self._frame(int(t)) for t in chosen], axis=0), np.float32)
        self._mean = mean if self.length > 1 else None

    def _frame(self, t: int) -> npt.NDArray[np.float32]:
        if t not in self._frames:
            if len(self._frames) > 2 * AROUND + MEAN_OF:
                self._frames.clear()
            picture = self._artifact.clip_rows("frames/image", self._clip, t, 1)[0]
            self._frames[t] = working(picture[: self._height, : self._width])
        return self._frames[t]

    def still(self, t: int) -> Still:
        """One frame, as it is compared."""
        return Still(self._frame(t), self._mean)

    def variants(self, t: int) -> Variants:
        """Its flips and zooms."""
        if t not in self._variants:
            self._variants = {t: Variants(self._frame(t))}
        return self._variants[t]


class CopyFinder:
    """Gathers a short description of each clip, then says which clips share frames.

    Args:
        artifact: A source.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._patients = [str(name) for name in artifact.column("clips/patient")]
        self._likeness = Likeness()
        self._where: dict[bytes, list[tuple[int, int]]] = {}
        self._clips = 0
        self._kept: OrderedDict[int, ClipStills] = OrderedDict()

    def add(self, blocks: Iterable[Pixels], length: int) -> None:
        """Add the next clip in consecutive blocks (t, H, W) of its valid extent, ``length`` frames in all."""
        wanted, described, queries, t = set(query_frames(length)), [], [], 0
        for block in blocks:
            described.append(describe(block))
            asked = [k for k in range(len(block)) if t + k in wanted]
            if asked:
                queries.append(describe_queries(block[asked]))
            for k, frame in enumerate(block):
                if frame.min() < frame.max():
                    self._where.setdefault(digest(frame), []).append((self._clips, t + k))
            t += len(block)
        self._likeness.add(np.concatenate(described), np.concatenate(queries), sorted(wanted))
        self._clips += 1

    def find(self, *, progress: bool = False) -> list[CopyFacts]:
        """All pairs of clips that share frames, in the order of the clips."""
        found = {(pair.first, pair.second): pair for pair in self._exact()}
        alike = self._likeness.candidates(self._patients)
        candidates = [c for c in alike if (c.first, c.second) not in found]
        candidates.sort(key=lambda c: (c.first, c.second))
        for candidate in tqdm(candidates, "copies", disable=not progress, unit="pair"):
            pair = self._look(candidate)
            if pair is not None:
                found[candidate.first, candidate.second] = pair
        return [found[key] for key in sorted(found)]

    def _exact(self) -> list[CopyFacts]:
        """Frames with the same digest; each later clip is held against the first ``PARTNERS`` that have the frame."""
        pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for places in self._where.values():
            earlier: dict[int, int] = {}
            for clip, frame in places:
                if clip in earlier:
                    continue
                for other, at in islice(earlier.items(), PARTNERS):
                    pairs.setdefault((other, clip), []).append((at, frame))
                earlier[clip] = frame
        return [CopyFacts(*clips, tuple(sorted(frames)), exact=True) for clips, frames in pairs.items()]

    def _stills(self, clip: int) -> ClipStills:
        if clip not in self._kept:
            self._kept[clip] = ClipStills(self._artifact, clip)
            if len(self._kept) > KEPT_CLIPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(clip)
        return self._kept[clip]

    def _look(self, candidate: Candidate) -> CopyFacts | None:
        one, two = self._stills(candidate.first), self._stills(candidate.second)
        least = max(0, candidate.second_frame - AROUND)
        near = range(least, min(two.length, candidate.second_frame + AROUND + 1))
        seconds = [two.still(t) for t in near]
        variants = one.variants(candidate.first_frame)
        at, alike = find_copy(
            one.still(candidate.first_frame), seconds, candidate.second_frame - least, variants
        )
        same = self._patients[candidate.first] == self._patients[candidate.second]
        if not alike.copied(same_patient=same, grain=GRAIN_MEAN):
            return None
        shared = _shared(one, two, near[at] - candidate.first_frame, alike.alignment)
        grains = [pair.grain for pair in shared.values() if np.isfinite(pair.grain)]
        together = len(grains) >= LEAST_SHARED and float(np.mean(grains)) >= GRAIN_MEAN
        if not (alike.copied(same_patient=same) or together):
            return None
        least_grain = GRAIN_MEAN if together else GRAIN
        frames = [where for where, pair in shared.items() if pair.copied(same_patient=same, grain=least_grain)]
        best = max(shared.values(), key=lambda pair: pair.evidence)
        how = alike.alignment.describe()
        pairs = tuple(frames or [(candidate.first_frame, near[at])])
        return CopyFacts(candidate.first, candidate.second, pairs, False, how, best.structure, best.grain)


def _shared(
    one: ClipStills, two: ClipStills, shift: int, alignment: Alignment
) -> dict[tuple[int, int], Resemblance]:
    """How frames t of one clip resemble frames t + shift of the other, of at most 64."""
    pairs = [(t, t + shift) for t in range(max(0, -shift), min(one.length, two.length - shift))]
    return {(a, b): compare_aligned(one.still(a), two.still(b), alignment) for a, b in pairs[:64]}


def spanning(pairs: Sequence[CopyFacts], rank: Sequence[int]) -> list[CopyFacts]:
    """Enough pairs to join every group of copies: a clip that is there ten times makes nine findings, not 45.

    Args:
        pairs: Of clips.
        rank: Gravity of each, the gravest lowest. The gravest pairs are kept, so a group that holds a leak says so.
    """
    parent: dict[int, int] = {}

    def root(clip: int) -> int:
        while parent.setdefault(clip, clip) != clip:
            clip = parent[clip]
        return clip

    kept = []
    for _, pair in sorted(zip(rank, pairs, strict=True), key=lambda item: item[0]):
        one, two = root(pair.first), root(pair.second)
        if one != two:
            parent[one] = two
            kept.append(pair)
    return kept
