"""Predictions of the compared segmenters on test clips, and the section ``segmentation`` made from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance, refuse_seen
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.segmentation import AnnotatedFrames
from sfvd_pl.errors import ArtifactError
from sfvd_pl.metrics.arms import segmentation_section
from sfvd_pl.metrics.segmentation import PatientTable, patient_table, score_frames
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import default_device, predict_frames


def measure_segmentation(context: EvaluationContext) -> dict[str, Any]:
    """The arms of the comparison on the test patients, over all seeds."""
    source = Artifact.open(context.source, Kind.SOURCE)
    tables = [
        arm_tables(path, source) for path in context.track(context.segmentation, "segmentation", unit="seed")
    ]
    return segmentation_section(
        {arm: [table[arm] for table in tables] for arm in tables[0]}, seeds=context.seeds, seed=context.seed
    )


def probabilities(module: SegmentationModule, dataset: Dataset[FrameBatch], title: str) -> NDArray[np.float16]:
    """Wire probability of every frame of a dataset, ``N H W``."""
    return np.concatenate([p.astype(np.float16) for _, p in predict_frames(module, dataset, title=title)])


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
    clips, first, length = np.unique(index.clip_of_frame[rows], return_index=True, return_counts=True)
    frames, device = AnnotatedFrames(source, "test"), default_device()
    predictions, patients = [], set(ClipIndex(source, "train").patients)
    for arm, path in checkpoints.items():
        module = load_for_inference(SegmentationModule, path, device)
        learned = set(module.learned_from.get("patients", ()))
        refuse_seen(learned, index.patients, what=f"the segmenter of the arm {arm!r}", file=path)
        patients |= learned
        predictions.append(probabilities(module, frames, f"test {arm}"))
    provenance = Provenance(
        seed=seed,
        config=config,
        parents={"source": index.artifact.content_hash, **{a: file_hash(p) for a, p in checkpoints.items()}},
        patients=tuple(patients),
    )
    with ArtifactWriter(out, Kind.SEGMENTATION, provenance, overwrite=True) as writer:
        writer.write("arms/name", list(checkpoints))
        writer.write("frames/probability", np.stack(predictions))
        writer.write("frames/source_frame", rows.astype(np.int64))
        writer.write("clips/source_clip", clips.astype(np.int64))
        writer.write("clips/name", [str(index.name[c]) for c in clips])
        writer.write("clips/patient", [str(index.patient[c]) for c in clips])
        writer.write("clips/start", first.astype(np.int64))
        writer.write("clips/length", length.astype(np.int64))
    return out


def arm_tables(segmentation: Path, source: Artifact) -> dict[str, PatientTable]:
    """Scores of each arm by patient.

    Raises:
        ArtifactError: The predictions are of another source, whose frames have other masks.
    """
    made = Artifact.open(segmentation, Kind.SEGMENTATION)
    if made.parents.get("source") != source.content_hash:
        raise ArtifactError(
            "these are predictions on another source",
            file=segmentation,
            key="parents['source']",
            expected=f"{source.content_hash} ({source.path})",
            found=made.parents.get("source", "no source"),
            remedy="pass the source that was segmented",
        )
    masks = np.concatenate([source.rows("frames/wire_mask", r, r + 1) for r in made.column("frames/source_frame")])
    tables: dict[str, PatientTable] = {}
    for number, arm in enumerate(made.column("arms/name")):
        probability = made.rows("frames/probability", number, number + 1)[0]
        tables[str(arm)] = patient_table(
            score_frames(probability, masks),
            start=made.column("clips/start"),
            length=made.column("clips/length"),
            patients=[str(p) for p in made.column("clips/patient")],
        )
    return tables
