"""The report of a run: measures on disk and one HTML page with pictures of what they mean."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.metrics.schema import clean_metrics, write_metrics
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.pipeline.evaluate import Evaluation
from sfvd_pl.report.html import write_report
from sfvd_pl.report.media import MediaClips, ReportMedia

SHOWN = 6
"""Clips in each group of the page."""


def to_byte(pixels: NDArray[np.generic], intensity_max: int) -> NDArray[np.uint8]:
    """Pixels as 8 bit, by the depth of their detector."""
    scaled = pixels.astype(np.float32) * (255.0 / intensity_max)
    return scaled.round().clip(0, 255).astype(np.uint8)


def _synthetic_group(made: Artifact, rows: NDArray[np.int64], titles: list[str]) -> MediaClips | None:
    if len(rows) == 0:
        return None
    images = np.stack([made.clip_rows("frames/image", int(row)) for row in rows])
    masks = np.stack([made.clip_rows("frames/wire_mask", int(row)) for row in rows])
    return MediaClips(to_byte(images, made.intensity_max), masks, tuple(titles))


def _synthetic_title(made: Artifact, row: int) -> str:
    column = made.column
    asked, got = column("clips/requested_visibility")[row], column("clips/measured_visibility")[row]
    title = f"{column('clips/mask_origin')[row]} mask, visibility asked {asked:.1f}, measured {got:.1f}"
    reason = str(column("clips/reject_reason")[row])
    return f"{title}: {reason}" if reason else title


def collect_media(source: Artifact, made: Artifact, evaluation: Evaluation, seed: int) -> ReportMedia:
    """Typical clips by seed, not the best ones; the rejected; and those whose label holds least."""
    rng = np.random.default_rng(seed)
    accepted = made.column("clips/accepted")
    typical = np.sort(rng.permutation(np.flatnonzero(accepted))[:SHOWN])
    rejected = np.flatnonzero(~accepted)[:SHOWN]
    length = int(made.column("clips/length").min())
    reference = [clip for clip in evaluation.reference if len(clip.image) >= length]
    chosen = np.sort(rng.permutation(len(reference))[:SHOWN])
    real = None
    if len(chosen):
        real = MediaClips(
            to_byte(np.stack([reference[i].image[:length] for i in chosen]), source.intensity_max),
            np.stack([reference[i].wire_mask[:length] for i in chosen]),
            tuple(f"test patient {reference[i].patient}, {reference[i].name}" for i in chosen),
        )
    return ReportMedia(
        real=real,
        synthetic=_synthetic_group(made, typical, [_synthetic_title(made, int(r)) for r in typical]),
        rejected=_synthetic_group(made, rejected, [_synthetic_title(made, int(r)) for r in rejected]),
        worst=_worst(made, evaluation),
    )


def _worst(made: Artifact, evaluation: Evaluation) -> MediaClips:
    """The synthetic clips in which the independent segmenter agrees least with the label."""
    scores, start, length = [], made.column("clips/start"), made.column("clips/length")
    for row in range(made.n_clips):
        frames = slice(int(start[row]), int(start[row] + length[row]))
        found = evaluation.synthetic_probability[frames] >= 0.5
        masks = made.clip_rows("frames/wire_mask", row)
        scores.append(float(np.mean([dice(f, m) for f, m in zip(found, masks, strict=True)])))
    worst = np.argsort(scores)[:SHOWN]
    return MediaClips(
        to_byte(np.stack([made.clip_rows("frames/image", int(r)) for r in worst]), made.intensity_max),
        np.stack([made.clip_rows("frames/wire_mask", int(r)) for r in worst]),
        tuple(f"Dice {scores[r]:.2f}; {_synthetic_title(made, int(r))}" for r in worst),
        predicted=np.stack(
            [evaluation.synthetic_probability[int(start[r]) : int(start[r] + length[r])] >= 0.5 for r in worst]
        ),
    )


def write_run_report(
    folder: Path, source: Path, synthetic: Path, evaluation: Evaluation, head: dict[str, Any]
) -> tuple[Path, Path]:
    """Write ``metrics.json`` and ``index.html`` into a folder; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics = clean_metrics({**head, **evaluation.metrics})
    numbers = write_metrics(folder / "metrics.json", metrics)
    made = Artifact.open(synthetic, Kind.SYNTHETIC)
    media = collect_media(Artifact.open(source, Kind.SOURCE), made, evaluation, int(head["seed"]))
    return numbers, write_report(folder, metrics, media)
