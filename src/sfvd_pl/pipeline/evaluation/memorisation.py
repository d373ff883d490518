"""The section ``memorisation``: which generated clips are copies of training clips."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, get_args

import numpy as np

from sfvd_pl.datasets.backgrounds import Backgrounds, shown_by_clip
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.planted import Planted, PlantedKind
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, MeasuredClip, Subset, WindowClips
from sfvd_pl.datasets.windows import Window
from sfvd_pl.metrics.arrays import Array
from sfvd_pl.metrics.memorisation.bank import Bank
from sfvd_pl.metrics.memorisation.scores import (
    PICTURE_LEVELS,
    WIRE,
    Level,
    Score,
    calibrate,
    picture_scores,
    wire_score,
)
from sfvd_pl.metrics.memorisation.search import Nearest, Query, find_nearest
from sfvd_pl.metrics.memorisation.section import (
    Judged,
    clip_entries,
    memorisation_section,
    planted_row,
    set_row,
)
from sfvd_pl.metrics.memorisation.views import (
    View,
    padded,
    picture_view,
    wire_view,
    working_clip,
    working_mask,
)
from sfvd_pl.metrics.memorisation.wires import wire_in_question
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError
from sfvd_pl.pipeline.evaluation.neighbours import DOMAIN, Neighbours
from sfvd_pl.pipeline.evaluation.rows import spread

FALSE_ALARMS = 0.01
"""Share of clips of other patients that may be called copies, all levels together."""
CALIBRATION = 128
"""Windows of real clips that the thresholds are calibrated on, at most."""
PLANTED = 12
"""Copies of each kind that are planted."""
SEGMENT = 32
"""Frames of a training clip that are searched as one piece."""
SEARCHED = 8192
"""Training frames that are searched at most, in pieces spread evenly over all."""
BLOCK = 32
"""Clips that are looked for at a time."""


@dataclass(frozen=True)
class Asked:
    """A set of clips to look for.

    Attributes:
        clips: The set.
        own: Whether each clip's own patient is left out of the search.
        driven: Whether a training clip's mask may have driven it.
    """

    clips: ClipSet
    own: bool = False
    driven: bool = False


def measure_memorisation(context: EvaluationContext) -> dict[str, Any]:
    """Nearest training clips of every generated clip, with thresholds calibrated on real clips of other patients.

    A clip that shows a real one is a copy of it by construction: of such a clip, only the course of the wire that was
    drawn into it is held against the training clips' wires.

    Raises:
        NotMeasuredError: There are no training clips, or too few real clips of others to calibrate on.
    """
    synthetic = context.synthetic
    shown = _shown(synthetic)
    fresh = [number for number, name in enumerate(shown) if not name]
    anchored = [number for number, name in enumerate(shown) if name]
    window = min(min(synthetic[number].image.shape[1:]) for number in fresh[:1] or anchored)
    frames = len(synthetic[0].image)
    index = ClipIndex(context.source, "train", "annotated")
    if not len(index.clips):
        raise NotMeasuredError("there are no training clips")
    with ExitStack() as stack:
        search = Search(context, window, stack.enter_context(Bank()), stack.enter_context(Bank()), whole=bool(fresh))
        training = search.fill(index, frames)
        asked = calibration_sets(context, window, frames)
        scores = [judged for part in asked for judged in search.judge(part, "real clips")]
        patients = [patient for part in asked for patient in part.clips.patients]
        calibrated = calibrate(search.levels, [entry.scores for entry in scores], patients, FALSE_ALARMS)
        if not any(np.isfinite(threshold.value) for threshold in calibrated.thresholds):
            raise NotMeasuredError("there are too few real clips of other patients to calibrate on")
        judged = search.judge(Asked(Subset(synthetic, tuple(fresh)), driven=True), "generated clips")
        by_number = dict(zip(fresh, judged, strict=True))
        if anchored:
            by_number |= zip(anchored, search.judge_drawn(_drawn(context, synthetic, anchored)), strict=True)
        made = [by_number[number] for number in range(len(synthetic))]
        in_question = [entry.scores for entry in made if entry.scores]
        rows = [set_row("synthetic", in_question, calibrated)]
        floor = _floor(context)
        if floor is not None:
            if isinstance(floor, WindowClips) and floor.whole:
                floor = _windows(context, floor.index.split, window, frames, CALIBRATION)
            held_out = search.judge(Asked(spread(floor)), "held-out clips")
            rows.append(set_row("floor", [entry.scores for entry in held_out], calibrated))
        planted = []
        for kind in get_args(PlantedKind) if fresh else ():
            copies = Planted(_windows(context, "train", window, frames, PLANTED), kind, context.seed)
            found = list(search.judge(Asked(copies), f"{kind} copies"))
            planted.append(planted_row(kind, found, calibrated, search.banks))
        return memorisation_section(
            calibrated,
            rate=FALSE_ALARMS,
            training=training,
            judged={
                "whole": len(fresh),
                "wire": len(in_question) - len(fresh),
                "lent": len(made) - len(in_question),
            },
            artifact=synthetic.artifact.content_hash if isinstance(synthetic, ArtifactClips) else "",
            wire_found_by="mask" if search.evaluator is None else "evaluator",
            rows=rows,
            planted=planted,
            clips=clip_entries(made, calibrated, search.banks, window),
        )


def _shown(clips: ClipSet) -> list[str]:
    """Name of the real clip that each clip shows; empty where it shows none."""
    if not isinstance(clips, ArtifactClips):
        return [""] * len(clips)
    names = shown_by_clip(clips.artifact, "background")
    return [names[row] for row in clips.rows]


def _drawn(
    context: EvaluationContext, clips: ClipSet, numbers: Sequence[int]
) -> Iterator[tuple[MeasuredClip, Array]]:
    """Anchored clips with the wire that was drawn into each."""
    assert isinstance(clips, ArtifactClips)
    backgrounds = Backgrounds(clips.artifact, context.source)
    for number in context.track(numbers, "drawn wires", total=len(numbers)):
        yield clips[number], backgrounds.drawn(clips.rows[number]).wire_mask


def _windows(context: EvaluationContext, split: str, window: int, frames: int, count: int) -> ClipSet:
    """About ``count`` windows of a split, with the wire or without, as many of each clip."""
    clips = len(ClipIndex(context.source, split).clips)
    each = min(4, max(1, -(-count // max(1, clips))))
    found = WindowClips(
        context.source, split, window=window, frames=frames, seed=context.seed, windows_per_clip=each, with_wire=False
    )
    return spread(found, count)


def calibration_sets(context: EvaluationContext, window: int, frames: int) -> list[Asked]:
    """Real clips that can't be copies: of validation patients, and of training patients against all the others.

    The held-out patients of the reference are left for the check of the false alarms.
    """
    train = _windows(context, "train", window, frames, CALIBRATION // 2)
    asked = [Asked(train, own=True)] if len(set(train.patients)) > 1 else []
    held_out = set() if _floor(context) is None else set(context.reference.patients)
    for split in ("val", "test"):
        clips = _windows(context, split, window, frames, CALIBRATION // 2)
        if len(clips) and not held_out & set(clips.patients):
            asked.append(Asked(clips))
    if not asked:
        raise NotMeasuredError("there is no real clip of another patient to calibrate on")
    return asked


def _floor(context: EvaluationContext) -> ClipSet | None:
    """The reference, if it is of patients whom no training clip shows; None otherwise."""
    try:
        clips = context.reference
    except NotMeasuredError:
        return None
    train = set(ClipIndex(context.source, "train").patients)
    return clips if not train & set(clips.patients) else None


class Search:
    """Training clips, and the scores of clips that are looked for among them.

    Args:
        context: Networks and processes.
        window: Side of what is compared, pixels.
        pictures: An empty bank.
        wires: Another one.
        whole: Whether pictures are compared, or wires only.
    """

    def __init__(self, context: EvaluationContext, window: int, pictures: Bank, wires: Bank, *, whole: bool) -> None:
        self.context = context
        self.window = window
        self.whole = whole
        self.pictures = pictures
        self.wires = wires
        self.names: set[str] = set()
        self.neighbours: list[Neighbours] = []
        with suppress(NotMeasuredError):
            self.neighbours = [Neighbours(space, window) for space in context.spaces if whole and space.name == DOMAIN]
        self.evaluator: SegmentationModule | None = None
        with suppress(NotMeasuredError):
            self.evaluator = context.evaluator

    @property
    def banks(self) -> dict[str, Bank]:
        """The bank that a level's matches are of."""
        pictures = [*PICTURE_LEVELS, *(neighbours.level for neighbours in self.neighbours)]
        return {**{level.name: self.pictures for level in pictures}, WIRE.name: self.wires}

    @property
    def levels(self) -> list[Level]:
        """What is measured."""
        found = [*(PICTURE_LEVELS if self.whole else ()), *([WIRE] if len(self.wires) else [])]
        return [*found, *(neighbours.level for neighbours in self.neighbours)]

    def fill(self, index: ClipIndex, frames: int) -> dict[str, int]:
        """Add the training clips piece by piece; returns what there is and how much of it is searched."""
        pieces = [
            (int(clip), first)
            for clip in index.clips
            for first in range(0, max(1, int(index.length[clip]) - frames + 1), SEGMENT)
        ]
        kept = min(len(pieces), max(1, SEARCHED // SEGMENT))
        chosen = np.unique(np.linspace(0, len(pieces) - 1, kept).round().astype(int))
        for number in self.context.track(chosen.tolist(), "training clips"):
            clip, first = pieces[number]
            self._add(index, clip, first, SEGMENT + frames - 1)
        self.names = {str(index.name[clip]) for clip in index.clips}
        return {
            "clips": len(index.clips),
            "patients": len(index.patients),
            "frames": int(index.length[index.clips].sum()),
            "searched": (self.pictures if self.whole else self.wires).frames,
        }

    def _add(self, index: ClipIndex, clip: int, first: int, count: int) -> None:
        offsets = np.arange(first, min(first + count, int(index.length[clip])))
        name, patient = str(index.name[clip]), str(index.patient[clip])
        if self.whole:
            frames = index.image(clip, offsets)
            for neighbours in self.neighbours:
                neighbours.add(len(self.pictures), patient, frames)
            image = working_clip(frames * 255.0, self.window)
            self.pictures.add(picture_view(padded(image)), name=name, patient=patient, first=first)
        masks = index.wire_mask(clip, offsets)
        if masks.any():
            mask = working_mask(masks, self.window).astype(np.float32)
            self.wires.add(wire_view(padded(mask, mode="constant")), name=name, patient=patient, first=first)

    def judge(self, asked: Asked, title: str) -> Iterator[Judged]:
        """The scores of each clip of a set, in blocks, so that memory doesn't grow with their number."""
        scale = 255.0 / asked.clips.intensity_max
        for block in _blocks(self._with_wires(asked.clips, title), BLOCK):
            clips = [clip for clip, _ in block]
            owners = [clip.patient if asked.own else "" for clip in clips]
            scores: list[dict[str, Score]] = [{} for _ in clips]
            if self.whole:
                pictures = [Query(self._picture(clip, scale), owner) for clip, owner in zip(clips, owners, strict=True)]
                scores = [picture_scores(found) for found in self._nearest(self.pictures, pictures)]
            for neighbours in self.neighbours:
                images = [clip.image.astype(np.float32) * (scale / 255.0) for clip in clips]
                for entry, score in zip(scores, neighbours.scores(images, owners), strict=True):
                    entry[neighbours.level.name] = score
            for k, nearest in self._wires(block, owners, asked.driven):
                scores[k] |= wire_score(nearest)
            yield from (Judged(clip.name, entry) for clip, entry in zip(clips, scores, strict=True))

    def judge_drawn(self, clips: Iterable[tuple[MeasuredClip, Array]]) -> Iterator[Judged]:
        """The scores of drawn wires by their course, around their middle; none where a training clip lent its mask."""
        for block in _blocks(clips, BLOCK):
            parts = []
            for clip, drawn in block:
                middle = np.argwhere(drawn)[:, 1:].mean(0) if drawn.any() else np.zeros(2)
                room = np.maximum(np.array(drawn.shape[1:]) - self.window, 0)
                top, left = np.clip(middle.round() - self.window // 2, 0, room).astype(int)
                part = Window(int(top), int(left), self.window).cut(drawn).astype(np.uint8)
                parts.append((replace(clip, image=part, wire_mask=part, ignore=None), part))
            scores: list[dict[str, Score]] = [{} for _ in parts]
            for k, nearest in self._wires(parts, [""] * len(parts), driven=True):
                scores[k] = wire_score(nearest)
            yield from (Judged(clip.name, entry) for (clip, _), entry in zip(parts, scores, strict=True))

    def _wires(
        self, block: Sequence[tuple[MeasuredClip, Array]], owners: Sequence[str], driven: bool
    ) -> Iterator[tuple[int, Nearest | None]]:
        """Number of each clip of a block that has a wire in question, with what that is nearest to."""
        numbers, queries = [], []
        for number, (clip, found) in enumerate(block):
            asked = clip.wire_mask if driven and clip.mask_group in self.names else None
            wire = wire_in_question(found, asked)
            if wire is not None:
                numbers.append(number)
                queries.append(Query(wire_view(working_mask(wire, self.window)), owners[number]))
        yield from zip(numbers, self._nearest(self.wires, queries), strict=True)

    def _nearest(self, bank: Bank, queries: Sequence[Query]) -> list[Nearest | None]:
        if not len(bank):
            return [None] * len(queries)
        return find_nearest(bank, queries, workers=self.context.processes)

    def _picture(self, clip: MeasuredClip, scale: float) -> View:
        mask = working_mask(clip.wire_mask, self.window)
        return picture_view(working_clip(clip.image.astype(np.float32) * scale, self.window), mask)

    def _with_wires(self, clips: ClipSet, title: str) -> Iterator[tuple[MeasuredClip, Array]]:
        """Each clip with the wire that is seen in it: by the evaluator, or where its mask says."""
        if self.evaluator is None:
            yield from ((clip, clip.wire_mask) for clip in self.context.track(clips, title, total=len(clips)))
            return
        for clip, probability in self.context.predictions(clips, title):
            yield clip, probability >= 0.5


def _blocks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive items, ``size`` at a time."""
    walk = iter(items)
    while block := list(islice(walk, size)):
        yield block
