"""Stage 4's measures: label fidelity, noise, visibility, the gate, the comparison of segmenters."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance, refuse_seen, refuse_seen_by
from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.modules import cpu_cores
from sfvd_pl.datasets.reference import ReferenceClip, ReferenceFrames, reference_clips
from sfvd_pl.datasets.segmentation import AnnotatedFrames, ArtifactFrames
from sfvd_pl.errors import ArtifactError, ConfigError
from sfvd_pl.metrics.arms import segmentation_section
from sfvd_pl.metrics.calibration import gate_section, visibility_section
from sfvd_pl.metrics.label import LabelFidelity, label_fidelity, label_fidelity_section
from sfvd_pl.metrics.noise import NoiseAccumulator, noise_section
from sfvd_pl.metrics.schema import SCHEMA_VERSION
from sfvd_pl.metrics.segmentation import PatientTable, patient_table, score_frames
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import default_device, predict_frames


@dataclass(frozen=True)
class EvaluateSettings:
    """What is measured.

    Attributes:
        source: The source artifact.
        synthetic: The synthetic artifact.
        evaluator_ckpt: Segmenter that measures label fidelity: neither guide nor gate.
        segmentation: Predictions of the arms, one artifact for each seed.
        seeds: Seeds of the arms, in the same order.
        seed: Of windows, shuffling and resampling.
        windows_per_clip: Windows cut from each real test clip for the reference.
    """

    source: Path
    synthetic: Path
    evaluator_ckpt: Path
    segmentation: list[Path] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    seed: int = 0
    windows_per_clip: int = 2


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


def _real_fidelity(clips: list[ReferenceClip], probability: NDArray[np.float16], seed: int) -> LabelFidelity:
    length = np.array([len(clip.image) for clip in clips], np.int64)
    return label_fidelity(
        probability,
        np.concatenate([clip.wire_mask for clip in clips]),
        start=np.cumsum(length) - length,
        length=length,
        patients=[clip.patient for clip in clips],
        visibility=np.concatenate([clip_visibility(clip.image, clip.wire_mask) for clip in clips]),
        annotated=np.concatenate([clip.annotated for clip in clips]),
        seed=seed,
    )


def _synthetic_fidelity(synthetic: Artifact, probability: NDArray[np.float16], seed: int) -> LabelFidelity:
    names = [str(name) for name in synthetic.column("clips/name")]
    return label_fidelity(
        probability,
        synthetic.rows("frames/wire_mask", 0, synthetic.n_frames),
        start=synthetic.column("clips/start"),
        length=synthetic.column("clips/length"),
        patients=names,  # no patients here: each clip is resampled by itself
        visibility=synthetic.column("frames/visibility"),
        groups=[str(source) for source in synthetic.column("clips/mask_source")],
        seed=seed,
    )


@dataclass(frozen=True)
class Evaluation:
    """Measures, and what the report shows of what was measured.

    Attributes:
        metrics: Sections of ``metrics.json``.
        reference: Real held-out windows.
        synthetic_probability: The evaluator's answer on the synthetic frames, ``N H W``.
    """

    metrics: dict[str, Any]
    reference: list[ReferenceClip]
    synthetic_probability: NDArray[np.float16]


def evaluate(settings: EvaluateSettings) -> Evaluation:
    """Measure everything.

    Raises:
        ConfigError: The test patients have no window to compare with.
    """
    source = Artifact.open(settings.source, Kind.SOURCE)
    synthetic = Artifact.open(settings.synthetic, Kind.SYNTHETIC)
    evaluator = load_for_inference(SegmentationModule, settings.evaluator_ckpt, default_device())
    held_out = ClipIndex(settings.source, "test").patients
    known = evaluator.learned_from.get("patients", ())
    refuse_seen(known, held_out, what="the evaluator", file=settings.evaluator_ckpt)
    refuse_seen_by(synthetic, held_out, what="the generator of the synthetic clips")
    reference = reference_clips(
        settings.source,
        "test",
        window=synthetic.frame_shape[0],
        frames=int(synthetic.column("clips/length").max()),
        seed=settings.seed,
        windows_per_clip=settings.windows_per_clip,
    )
    if not reference:
        raise ConfigError(
            "no test clip keeps its wire in view of a window, so synthetic clips have nothing to be held against",
            file=settings.source,
            key="split test",
            expected=f"windows of {synthetic.frame_shape[0]} px with a wire",
            found="none",
        )
    real_probability = probabilities(evaluator, ReferenceFrames(reference, source.intensity_max), "real frames")
    made_probability = probabilities(evaluator, ArtifactFrames(synthetic), "synthetic frames")
    gate = synthetic.config["gate"]
    metrics = {
        "label_fidelity": label_fidelity_section(
            _synthetic_fidelity(synthetic, made_probability, settings.seed),
            _real_fidelity(reference, real_probability, settings.seed),
        ),
        "noise": _noise(synthetic, reference, source.intensity_max),
        "visibility": visibility_section(
            synthetic.column("clips/requested_visibility"), synthetic.column("clips/measured_visibility")
        ),
        "gate": gate_section(
            synthetic.column("clips/accepted"),
            [str(reason) for reason in synthetic.column("clips/reject_reason")],
            dice_threshold=gate["dice"],
            visibility_threshold=float("nan") if gate["visibility"] is None else gate["visibility"],
        ),
    }
    if settings.segmentation:
        tables = [arm_tables(path, source) for path in settings.segmentation]
        metrics["segmentation"] = segmentation_section(
            {arm: [table[arm] for table in tables] for arm in tables[0]}, seeds=settings.seeds, seed=settings.seed
        )
    return Evaluation(metrics, reference, made_probability)


def _noise(synthetic: Artifact, reference: list[ReferenceClip], intensity_max: int) -> dict[str, object]:
    real, made = (NoiseAccumulator(intensity_max=intensity_max) for _ in range(2))
    for clip in reference:
        real.update(clip.image, clip.wire_mask)
    for row in range(synthetic.n_clips):
        made.update(synthetic.clip_rows("frames/image", row), synthetic.clip_rows("frames/wire_mask", row))
    return noise_section(made.result(), real.result())


def machine() -> dict[str, Any]:
    """What the figures were got on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpu_cores": cpu_cores(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def metrics_head(run: str, preset: str, seed: int, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of ``metrics.json`` that says what was run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "preset": preset,
        "seed": seed,
        "machine": machine(),
        "stages": stages,
        "sets": {},
        "not_measured": {},
    }
