"""Clips for the report: typical ones by the seed, and the worst ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, MeasuredClip, Subset
from sfvd_pl.datasets.windows import Window
from sfvd_pl.pipeline.evaluation.run import Evaluation
from sfvd_pl.pipeline.inference import predict_clips
from sfvd_pl.report.media import MediaClips, ReportMedia
from sfvd_pl.report.numbers import significant
from sfvd_pl.report.sections.memorisation import closest

SUSPECTS = 3
"""Pairs of a suspicious clip and what it is like."""
SHOWN = 6
"""Clips in each group of the page."""


def to_byte(pixels: NDArray[np.generic], intensity_max: int) -> NDArray[np.uint8]:
    """Pixels as 8 bit, by the depth of their detector."""
    scaled = pixels.astype(np.float32) * (255.0 / intensity_max)
    return scaled.round().clip(0, 255).astype(np.uint8)


def _group(
    clips: ClipSet,
    numbers: Sequence[int],
    title: Callable[[MeasuredClip, int], str],
    predicted: Callable[[ClipSet], list[NDArray[np.bool_]]] | None = None,
) -> MediaClips | None:
    """Some clips of a set, cut to the length of the shortest and padded to the size of the largest."""
    chosen = [clips[number] for number in numbers]
    if not chosen:
        return None
    length = min(len(clip.image) for clip in chosen)
    size = np.max([clip.image.shape[1:] for clip in chosen], axis=0)

    def stack(pictures: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        room = [[(0, 0), *((0, int(gap)) for gap in size - frames.shape[1:])] for frames in pictures]
        return np.stack([np.pad(frames[:length], gaps) for frames, gaps in zip(pictures, room, strict=True)])

    found = None if predicted is None else predicted(Subset(clips, tuple(numbers)))
    hidden = [np.zeros_like(clip.wire_mask) if clip.ignore is None else clip.ignore for clip in chosen]
    return MediaClips(
        to_byte(stack([clip.image for clip in chosen]), clips.intensity_max),
        stack([clip.wire_mask for clip in chosen]),
        tuple(title(clip, number) for clip, number in zip(chosen, numbers, strict=True)),
        predicted=None if found is None else stack(found),
        ignore=stack(hidden) if any(part.any() for part in hidden) else None,
    )


def collect_media(evaluation: Evaluation, seed: int) -> ReportMedia:
    """Typical clips by seed, not the best ones; the rejected; and those whose label holds least."""
    rng = np.random.default_rng(seed)
    context = evaluation.context
    made, reference, evaluator = context.inputs.synthetic, context.inputs.reference, context.inputs.evaluator
    real = None
    if reference is not None:
        real = _group(
            reference,
            _some(rng, range(len(reference))),
            lambda clip, _: f"test patient {clip.patient}, {clip.name}",
        )
    if made is None:
        return ReportMedia(real=real)
    accepted = _accepted(made)
    scores = evaluation.metrics.get("label_fidelity", {}).get("clips", [])
    known = [row for row in scores if row["dice"] is not None]
    worst = None
    if evaluator is not None and known:
        dice = {row["number"]: row["dice"] for row in known}
        worst = _group(
            made,
            sorted(dice, key=lambda number: dice[number])[:SHOWN],
            lambda clip, number: f"Dice {dice[number]:.2f}; {_title(made, clip, number)}",
            lambda clips: [found >= 0.5 for _, found in predict_clips(evaluator, clips)],
        )
    suspects, originals = _suspects(evaluation, made)
    return ReportMedia(
        real=real,
        suspects=suspects,
        originals=originals,
        synthetic=_group(made, _some(rng, np.flatnonzero(accepted)), lambda c, n: _title(made, c, n)),
        rejected=_group(made, np.flatnonzero(~accepted)[:SHOWN].tolist(), lambda c, n: _title(made, c, n)),
        worst=worst,
    )


def _suspects(evaluation: Evaluation, made: ClipSet) -> tuple[MediaClips | None, MediaClips | None]:
    """The clips most like a training clip, and the windows of training clips that they are like."""
    section, source = evaluation.metrics.get("memorisation"), evaluation.context.inputs.source
    if not section or source is None:
        return None, None
    artifact = Artifact.open(source, Kind.SOURCE)
    rows = {str(name): row for row, name in enumerate(artifact.column("clips/name"))}
    pairs: list[tuple[Any, ...]] = []
    for entry in section["clips"]:
        nearest = closest(entry)
        if nearest is not None and nearest["training_clip"] in rows and len(pairs) < SUSPECTS:
            clip = made[entry["number"]]
            found = _window(artifact, rows[nearest["training_clip"]], nearest, clip.image.shape)
            if found is not None:
                pairs.append((entry, nearest, clip, *found))
    if not pairs or len({pair[2].image.shape for pair in pairs}) > 1:
        return None, None
    titles = [f"{entry['clip']}: {entry['verdict']}, evidence {significant(entry['evidence'])}" for entry, *_ in pairs]
    names = [f"nearest: training patient {near['training_patient']}, {near['training_clip']}" for _, near, *_ in pairs]
    suspects = MediaClips(
        to_byte(np.stack([clip.image for *_, clip, _, _ in pairs]), made.intensity_max),
        np.stack([clip.wire_mask for *_, clip, _, _ in pairs]),
        tuple(titles),
    )
    originals = MediaClips(
        to_byte(np.stack([image for *_, image, _ in pairs]), artifact.intensity_max),
        np.stack([mask for *_, mask in pairs]),
        tuple(names),
    )
    return suspects, originals


def _window(
    artifact: Artifact, row: int, nearest: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Picture and mask of a window of a training clip, aligned with the clip that is like it; None without a place."""
    if nearest["top"] is None or nearest["left"] is None or shape[1] != shape[2]:
        return None
    frames, length = shape[0], int(artifact.column("clips/length")[row])
    first = min(max(nearest["training_frame"] - nearest["frame"], 0), max(length - frames, 0))
    offsets = np.clip(np.arange(first, first + frames), 0, length - 1)
    place = Window(
        max(nearest["top"], 0), max(nearest["left"], 0), shape[1], nearest["quarter_turns"], nearest["mirrored"]
    )
    block = slice(int(offsets[0]), int(offsets[-1]) + 1)
    image, mask = (
        artifact.clip_rows(key, row, block.start, block.stop - block.start)[offsets - offsets[0]]
        for key in ("frames/image", "frames/wire_mask")
    )
    return place.cut(image), place.cut(mask)


def _some(rng: np.random.Generator, numbers: Sequence[int] | NDArray[np.int64]) -> list[int]:
    chosen: list[int] = np.sort(rng.permutation(np.asarray(numbers, np.int64))[:SHOWN]).tolist()
    return chosen


def _accepted(clips: ClipSet) -> NDArray[np.bool_]:
    """Whether the gate let each clip pass; all of them where there was no gate."""
    if isinstance(clips, ArtifactClips) and clips.artifact.kind is Kind.SYNTHETIC:
        verdicts: NDArray[np.bool_] = clips.artifact.column("clips/accepted")[clips.rows].astype(bool)
        return verdicts
    return np.ones(len(clips), bool)


def _title(clips: ClipSet, clip: MeasuredClip, number: int) -> str:
    if not isinstance(clips, ArtifactClips) or clips.artifact.kind is not Kind.SYNTHETIC:
        return clip.name
    column, row = clips.artifact.column, clips.rows[number]
    asked, got = column("clips/requested_visibility")[row], column("clips/measured_visibility")[row]
    shown = str(column("clips/background")[row])
    title = f"{column('clips/mask_origin')[row]} mask{' in ' if shown else ''}{shown}, visibility asked {asked:.1f}, measured {got:.1f}"
    reason = str(column("clips/reject_reason")[row])
    return f"{title}: {reason}" if reason else title
