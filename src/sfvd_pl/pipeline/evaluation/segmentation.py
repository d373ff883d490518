"""Predictions of the compared segmenters on test clips, and the section ``segmentation`` made from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.artifacts import Artifact, Kind, Provenance, refuse_seen
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.segmentation import AnnotatedFrames
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.evaluation.arms import SegmentationScores, score_segmentations
from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import default_device, predict_frames, write_predictions


def measure_segmentation(context: EvaluationContext) -> dict[str, Any]:
    """The arms of the comparison on the test patients, over all seeds."""
    return scores_of(context).section(context.seed)


def scores_of(context: EvaluationContext) -> SegmentationScores:
    """Every frame's scores, kept from one call to the next."""
    source, paths, seeds = Artifact.open(context.source, Kind.SOURCE), context.segmentation, context.seeds
    depends = [context.identity("source"), context.identity("segmentation")]
    table = context.stored(
        "segmentation scores", depends, lambda: score_segmentations(paths, source, seeds=seeds).as_table()
    )
    return SegmentationScores.of_table(table, Artifact.open(paths[0], Kind.SEGMENTATION), seeds)


def probabilities(module: SegmentationModule, dataset: AnnotatedFrames, title: str) -> NDArray[np.float16]:
    """Wire probability of every frame of a dataset, ``N H W``; 0 beyond a frame's extent."""
    found = np.zeros((len(dataset), *dataset.frames.artifact.frame_shape), np.float16)
    first = 0
    for _, probability in predict_frames(module, dataset, title=title):
        count, height, width = probability.shape
        found[first : first + count, :height, :width] = probability
        first += count
    return found


def write_segmentation(
    out: Path, source: Path, checkpoints: Mapping[str, Path], *, seed: int, config: dict[str, Any]
) -> Path:
    """Predictions of every arm on the test patients as one artifact.

    Args:
        out: The artifact.
        source: The source artifact.
        checkpoints: Trained segmenter of each arm.
        seed: Of the arms.
        config: Settings of the arms.
    """
    index = ClipIndex(source, "test", "annotated")
    rows = index.labelled_rows
    device = default_device()
    predictions, patients = [], set(ClipIndex(source, "train").patients)
    for arm, path in checkpoints.items():
        module = load_for_inference(SegmentationModule, path, device)
        learned = set(module.learned_from.get("patients", ()))
        refuse_seen(learned, index.patients, what=f"the segmenter of the arm {arm!r}", file=path)
        patients |= learned
        frames = AnnotatedFrames(source, "test", frames=module.frames)
        predictions.append(probabilities(module, frames, f"test {arm}"))
    provenance = Provenance(
        seed=seed,
        config=config,
        parents={"source": index.artifact.content_hash, **{a: file_hash(p) for a, p in checkpoints.items()}},
        patients=tuple(patients),
    )
    write_predictions(out, provenance, index, rows, dict(zip(checkpoints, predictions, strict=True)))
    return out
