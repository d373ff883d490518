"""The report of a run: measures on disk and one HTML page with pictures of what they mean."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.artifacts import Kind
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, MeasuredClip, Subset
from sfvd_pl.metrics.schema import clean_metrics, write_metrics
from sfvd_pl.pipeline.evaluation.run import Evaluation
from sfvd_pl.pipeline.evaluation.segmentation import scores_of
from sfvd_pl.pipeline.inference import predict_clips
from sfvd_pl.report.html import write_report
from sfvd_pl.report.media import MediaClips, ReportMedia

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
    """Some clips of a set, cut to the length of the shortest and to one size."""
    chosen = [clips[number] for number in numbers]
    chosen = [clip for clip in chosen if clip.image.shape[1:] == chosen[0].image.shape[1:]]
    if not chosen:
        return None
    length = min(len(clip.image) for clip in chosen)
    found = None if predicted is None else predicted(Subset(clips, tuple(numbers)))
    return MediaClips(
        to_byte(np.stack([clip.image[:length] for clip in chosen]), clips.intensity_max),
        np.stack([clip.wire_mask[:length] for clip in chosen]),
        tuple(title(clip, number) for clip, number in zip(chosen, numbers, strict=True)),
        predicted=None if found is None else np.stack([mask[:length] for mask in found]),
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
    return ReportMedia(
        real=real,
        synthetic=_group(made, _some(rng, np.flatnonzero(accepted)), lambda c, n: _title(made, c, n)),
        rejected=_group(made, np.flatnonzero(~accepted)[:SHOWN].tolist(), lambda c, n: _title(made, c, n)),
        worst=worst,
    )


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
    title = f"{column('clips/mask_origin')[row]} mask, visibility asked {asked:.1f}, measured {got:.1f}"
    reason = str(column("clips/reject_reason")[row])
    return f"{title}: {reason}" if reason else title


def write_run_report(folder: Path, evaluation: Evaluation, head: dict[str, Any]) -> tuple[Path, Path]:
    """Write ``metrics.json``, its tables and ``index.html`` into a folder; returns the paths of file and page."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = clean_metrics({**head, **evaluation.metrics})
    numbers = write_metrics(folder / "metrics.json", metrics)
    if "segmentation" in metrics:
        scores_of(evaluation.context).write_tables(folder)
    return numbers, write_report(folder, metrics, collect_media(evaluation, int(head["seed"])))
