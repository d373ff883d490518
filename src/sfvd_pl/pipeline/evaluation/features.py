"""Vectors of the clips of a set in every feature space: whole frames, and windows around the wire."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sfvd_pl.datasets.sets import ClipSet, Degradation, Degraded, MeasuredClip, Subset
from sfvd_pl.datasets.windows import Window, philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.distribution import VectorSet
from sfvd_pl.networks.features import FeatureSpace
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError

CLIP_LIMIT = 512
"""Clips of a set at most, so that memory doesn't grow with their number; four frames each are more than there are
numbers in any space here."""
FRAMES = 4
"""Frames of a clip: the first two and the last two, for appearance and for change from one frame to the next."""
ROI_PX = 32
"""Side of the windows around the wire, at native scale."""
BATCH_CLIPS = 16
VIEWS = ("whole", "roi")


def paired_frames(length: int) -> list[int]:
    """Frames of a clip that are embedded one by one: two pairs of consecutive ones, or all of a short clip."""
    return list(range(length)) if length < FRAMES else [0, 1, length - 2, length - 1]


def wire_places(clip: MeasuredClip, seed: int, number: int) -> list[Window] | None:
    """Windows around a wire pixel, one for each of :func:`paired_frames` and one for the whole clip at the end.

    Both frames of a pair (all of a short clip) have one place, so that a difference between them is the picture's.
    None where the wire is not known to be in view.
    """
    frames = paired_frames(len(clip.image))
    centres = [*(frames[:1] if len(frames) < FRAMES else frames[::2]), len(clip.image) // 2]
    found = []
    for frame in centres:
        pixels = np.argwhere(clip.wire_mask[frame]) if clip.annotated[frame] else np.empty((0, 2), int)
        if not len(pixels):
            return None
        rng = philox(sample_seed(seed, number * 4096 + frame, "roi"))
        corner = pixels[int(rng.integers(len(pixels)))] - ROI_PX // 2
        top, left = np.clip(corner, 0, np.maximum(np.array(clip.wire_mask.shape[1:]) - ROI_PX, 0))
        found.append(Window(int(top), int(left), ROI_PX))
    per_pair = [len(frames)] if len(frames) < FRAMES else [2, 2]
    return [place for place, count in zip(found, [*per_pair, 1], strict=True) for _ in range(count)]


@dataclass(frozen=True)
class Columns:
    """Where in a row of numbers the vectors of a view in a space are.

    Attributes:
        spaces: The spaces.
        views: Of :data:`VIEWS`.
    """

    spaces: tuple[FeatureSpace, ...]
    views: tuple[str, ...]

    def _width(self, space: FeatureSpace) -> int:
        return space.num_features * (FRAMES if space.kind == "frame" else 1)

    @property
    def total(self) -> int:
        """Numbers in a row."""
        return len(self.views) * sum(self._width(space) for space in self.spaces)

    def cut(self, rows: NDArray[np.floating], view: str, space: FeatureSpace) -> NDArray[np.floating]:
        """``N F D`` of a space of frames, ``N 1 D`` of a space of clips."""
        first = self.views.index(view) * sum(self._width(s) for s in self.spaces)
        first += sum(self._width(s) for s in self.spaces[: self.spaces.index(space)])
        found: NDArray[np.floating] = rows[:, first : first + self._width(space)]
        return found.reshape(len(rows), -1, space.num_features)


@dataclass(frozen=True)
class EmbeddedSet:
    """A set of clips in every space.

    Attributes:
        rows: ``N columns.total``; NaN where a view of a clip, or a frame of a short one, doesn't exist.
        columns: What they are.
        groups: ``N``, the clip that each window is cut from.
        units: ``N``, what is resampled together: its patient, or itself if it was generated.
    """

    rows: NDArray[np.float32]
    columns: Columns
    groups: NDArray[np.int64]
    units: NDArray[np.int64]

    def frames(self, view: str, space: FeatureSpace, count: int) -> VectorSet:
        """A vector a frame, of the first ``count`` clips that have this view."""
        found = self.columns.cut(self.rows, view, space)
        there = np.flatnonzero(np.isfinite(found[:, 0, 0]))[:count]
        vectors = found[there]
        known = np.isfinite(vectors[..., 0])
        clips = np.repeat(there, known.sum(1))
        return VectorSet(vectors[known].astype(np.float64), self.groups[clips], self.units[clips])

    def clips(self, view: str, space: FeatureSpace, count: int) -> VectorSet:
        """A vector a clip: that of the space, or of a space of frames their mean and their mean absolute change."""
        found = self.columns.cut(self.rows, view, space)
        there = np.flatnonzero(np.isfinite(found[:, 0, 0]))[:count]
        vectors = found[there].astype(np.float64)
        if space.kind == "clip":
            return VectorSet(vectors[:, 0], self.groups[there], self.units[there])
        change = np.abs(np.diff(vectors, axis=1))[:, ::2]  # within pairs; of a short clip, of every second step
        return VectorSet(
            np.concatenate([np.nanmean(vectors, 1), np.nanmean(change, 1)], 1), self.groups[there], self.units[there]
        )

    def count(self, view: str) -> int:
        """Clips that have this view."""
        found = [np.isfinite(self.columns.cut(self.rows, view, space)[:, 0, 0]) for space in self.columns.spaces]
        return int(np.any(found, 0).sum())


def has_wire(clip: MeasuredClip) -> bool:
    """Whether windows around its wire can be cut."""
    return wire_places(clip, 0, 0) is not None


def equal_sets(context: EvaluationContext) -> tuple[dict[str, ClipSet], bool]:
    """Reference, synthetic and training clips in seeded order, as many of each; and whether each has its wire in view.

    Where the reference has wires, only clips with a wire in view are taken, since generated ones all have one.

    Raises:
        NotMeasuredError: There are too few to compare.
    """
    sets = {"reference": context.reference, "synthetic": context.synthetic, "floor": context.training}
    orders = {
        name: np.random.default_rng([context.seed, number]).permutation(len(clips))
        for number, (name, clips) in enumerate(sets.items())
    }
    with_wire = {name: list(_first(orders[name], clips)) for name, clips in sets.items()}
    wires = len(with_wire["reference"]) > 1
    chosen = with_wire if wires else {name: [int(i) for i in order] for name, order in orders.items()}
    count = min(CLIP_LIMIT, *(len(numbers) for numbers in chosen.values()))
    if count < 2:
        short = min(chosen, key=lambda name: len(chosen[name]))
        raise NotMeasuredError(f"fewer than two clips to compare ({short}, {sets[short].title})")
    return {name: Subset(clips, tuple(chosen[name][:count])) for name, clips in sets.items()}, wires


def _first(order: NDArray[np.int64], clips: ClipSet) -> Iterator[int]:
    """Clips with a wire in view, in this order, up to the limit."""
    found = 0
    for number in order:
        if found < CLIP_LIMIT and has_wire(clips[int(number)]):
            found += 1
            yield int(number)


def embedded_sets(context: EvaluationContext) -> dict[str, EmbeddedSet]:
    """Reference, synthetic clips, floor, and the floor's clips degraded; the last is of windows around wrong masks."""
    sets, wires = equal_sets(context)
    views = VIEWS if wires else VIEWS[:1]
    belong = {name: _belonging(clips, generated=name == "synthetic") for name, clips in sets.items()}
    found = {name: embedded(context, name, clips, views, *belong[name]) for name, clips in sets.items()}
    kinds: tuple[Degradation, ...] = ("blur", "noise", "wrong masks") if wires else ("blur", "noise")
    for kind in kinds:
        worse = Degraded(sets["floor"], kind, seed=context.seed)
        found[kind] = embedded(context, kind, worse, VIEWS[1:] if kind == "wrong masks" else views, *belong["floor"])
    return found


def _belonging(clips: ClipSet, *, generated: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Groups and units of clips, see :class:`EmbeddedSet`."""
    numbers = np.arange(len(clips))
    if generated:
        return numbers, numbers
    names = [f"{clip.patient}/{clip.name}" for clip in clips]
    groups, units = (np.unique(of, return_inverse=True)[1].astype(np.int64) for of in (names, list(clips.patients)))
    return groups, units


def embedded(
    context: EvaluationContext,
    name: str,
    clips: ClipSet,
    views: Sequence[str],
    groups: NDArray[np.int64],
    units: NDArray[np.int64],
) -> EmbeddedSet:
    """A set in every space; from the cache where it is known."""
    columns = Columns(context.spaces, tuple(views))
    spaces = [f"{s.name} {s.weights_sha256} {s.resizing}" for s in context.spaces]
    depends = [clips.identity, str(context.seed), *views, *spaces, f"{FRAMES} {ROI_PX}"]
    rows = context.stored(f"features {name}", depends, lambda: _embed(context, name, clips, columns))
    return EmbeddedSet(rows, columns, groups, units)


def _embed(context: EvaluationContext, name: str, clips: ClipSet, columns: Columns) -> NDArray[np.float32]:
    rows = np.full((len(clips), columns.total), np.nan, np.float32)
    batch: list[tuple[int, MeasuredClip]] = []
    for number, clip in enumerate(context.track(clips, f"features: {name}", total=len(clips))):
        if batch and (len(batch) == BATCH_CLIPS or clip.image.shape != batch[0][1].image.shape):
            _embed_batch(context.seed, batch, clips.intensity_max, columns, rows)
            batch = []
        batch.append((number, clip))
    if batch:
        _embed_batch(context.seed, batch, clips.intensity_max, columns, rows)
    return rows


def _embed_batch(
    seed: int,
    batch: Sequence[tuple[int, MeasuredClip]],
    intensity_max: int,
    columns: Columns,
    rows: NDArray[np.float32],
) -> None:
    """Vectors of some clips of one shape, put into their rows."""
    for view in columns.views:
        parts = [(number, *cut) for number, clip in batch if (cut := _cut(clip, view, seed, number)) is not None]
        if not parts:
            continue
        numbers = [number for number, _, _ in parts]
        frames, whole = (
            torch.from_numpy(np.stack([part[i] for part in parts]).astype(np.float32) / intensity_max) for i in (1, 2)
        )
        for space in columns.spaces:
            place = columns.cut(rows, view, space)  # a view into the rows
            if space.kind == "clip" and whole.shape[1] > 1:
                place[numbers, 0] = _finite(space, whole[:, None])
            elif space.kind == "frame":
                vectors = _finite(space, frames.flatten(0, 1)[:, None])
                place[numbers, : frames.shape[1]] = vectors.reshape(len(parts), -1, space.num_features)


def _finite(space: FeatureSpace, pictures: torch.Tensor) -> NDArray[np.float32]:
    """Vectors of pictures; NaN would be taken for a view that a clip doesn't have."""
    vectors: NDArray[np.float32] = space.embed(pictures).numpy()
    if not np.isfinite(vectors).all():
        raise MetricsError(
            "a feature network returned NaN or infinity",
            key=space.name,
            expected=f"{space.num_features} finite numbers a picture",
            remedy="train it again, or bring another one",
        )
    return vectors


def _cut(
    clip: MeasuredClip, view: str, seed: int, number: int
) -> tuple[NDArray[np.generic], NDArray[np.generic]] | None:
    """Frames of a view, and the clip in that view; None where it has none."""
    chosen = paired_frames(len(clip.image))
    if view == "whole":
        return clip.image[chosen], clip.image
    places = wire_places(clip, seed, number)
    if places is None:
        return None
    frames = [place.cut(clip.image[frame]) for place, frame in zip(places[:-1], chosen, strict=True)]
    return np.stack(frames), places[-1].cut(clip.image)
