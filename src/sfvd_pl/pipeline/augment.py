"""Stage 3 as a whole: from checkpoints, scenes and the source to a synthetic artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch

from sfvd_pl.artifacts import (
    LEASE_SECONDS,
    Artifact,
    Kind,
    Provenance,
    content_hash,
    refuse_seen,
    require_source,
    shared_fact,
)
from sfvd_pl.augment.gate import Gate, GateConfig
from sfvd_pl.augment.plan import Plan, PlanConfig
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.segmentation import AnnotatedFrames
from sfvd_pl.diffusion import SamplerConfig
from sfvd_pl.errors import ArtifactError, CheckpointError, ConfigError
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.modules.checkpoint import load_for_inference, to_plain
from sfvd_pl.modules.checkpoints import AnswersSignals
from sfvd_pl.modules.generation import ClipGenerator, GuideConfig, PlanDataModule
from sfvd_pl.modules.logging import LoggingConfig, close_loggers, make_loggers
from sfvd_pl.modules.media import log_clips
from sfvd_pl.modules.memory import SAMPLING_REMEDY, explained_memory
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.progress import make_progress
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.modules.workers import Worker, one_device, this_worker
from sfvd_pl.modules.writer import GenerationWriter, shards_folder
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import default_device, predict_frames, sampling_precision


@dataclass(frozen=True)
class AugmentSettings:
    """Everything that ``sfvd augment`` needs.

    Attributes:
        source: The source artifact.
        suspects: What the guide suspects in the training clips.
        scene_ckpt: Trained scene model.
        motion_ckpt: Trained motion model.
        guide_ckpt: Segmenter that steers, trained on real labelled clips only.
        gate_ckpt: Second segmenter, trained independently of the guide; None where labels are too few for one.
        out: The synthetic artifact.
        run_dir: Folder for pictures and logs.
        plan: How many clips and how they vary.
        gate: What a clip has to fulfil.
        guide: How the guide steers.
        sampler: Overrides the sampler of both models; None keeps that of their checkpoints.
        batch_size: Clips that are kept together in a shard.
        seed: Decides, with the sample ids, every clip.
        accelerator: As in Lightning's Trainer.
        devices: Devices of this machine, each worked by a process of its own; further machines and array tasks run
            the same command.
        precision: As in Lightning's Trainer; ``auto`` draws in bfloat16 where the hardware multiplies in it.
        merge: Put the artifact together when all clips are there; without, ``sfvd data merge`` does.
        lease_seconds: A process that gives no sign of life for so long is taken for dead, and others make its clips.
        logging: Where pictures go beside the disk.
    """

    source: Path
    suspects: Path
    scene_ckpt: Path
    motion_ckpt: Path
    guide_ckpt: Path
    out: Path
    run_dir: Path
    gate_ckpt: Path | None = None
    plan: PlanConfig = field(default_factory=PlanConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    guide: GuideConfig = field(default_factory=GuideConfig)
    sampler: SamplerConfig | None = None
    batch_size: int = 4
    seed: int = 0
    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    precision: str = "auto"
    merge: bool = True
    lease_seconds: float = LEASE_SECONDS
    logging: LoggingConfig = field(default_factory=lambda: LoggingConfig(stage="augment"))


def _load_models(
    settings: AugmentSettings,
) -> tuple[SceneModule, MotionModule, SegmentationModule, SegmentationModule | None]:
    scene = load_for_inference(SceneModule, settings.scene_ckpt)
    motion = load_for_inference(MotionModule, settings.motion_ckpt)
    guide = load_for_inference(SegmentationModule, settings.guide_ckpt)
    judge = None if settings.gate_ckpt is None else load_for_inference(SegmentationModule, settings.gate_ckpt)
    for diffusion in (scene, motion):
        diffusion.sampler_config = settings.sampler or diffusion.sampler_config
        diffusion.seed = settings.seed
    if settings.gate_ckpt is not None and file_hash(settings.guide_ckpt) == file_hash(settings.gate_ckpt):
        raise ConfigError(
            "the guide and the gate are the same segmenter, so the gate would approve of whatever it steered to",
            file=settings.gate_ckpt,
            key="gate_ckpt",
            expected="a segmenter trained independently of the guide",
            found="the guide's checkpoint",
            remedy="train a second segmenter with another seed",
        )
    return scene, motion, guide, judge


def _learned_from(
    settings: AugmentSettings, source: Artifact, modules: Mapping[str, RecordedModule]
) -> tuple[str, ...]:
    """Patients that any of the models saw or a clip may show; they must be training patients of this very source."""
    unseen = set(ClipIndex(settings.source, "val").patients) | set(ClipIndex(settings.source, "test").patients)
    require_source(Artifact.open(settings.suspects, Kind.SEGMENTATION), source, unseen)
    patients = set(ClipIndex(settings.source, "train").patients)
    for role, module in modules.items():
        learned = set(module.learned_from.get("patients", ()))
        refuse_seen(learned, unseen, what=f"the {role}", file=getattr(settings, f"{role}_ckpt"))
        patients |= learned
        if module.learned_from.get("source") != source.content_hash:
            raise CheckpointError(
                f"the {role} was trained on another source",
                file=getattr(settings, f"{role}_ckpt"),
                key="source",
                expected=source.content_hash,
                found=module.learned_from.get("source"),
                remedy="run the stages before this one on this source",
            )
    return tuple(sorted(patients))


def real_dice(judge: SegmentationModule, source: Path) -> float:
    """What the second segmenter reaches on real clips of the validation patients: median of its mean Dice on each.

    A clip of whole frames each, as it will see the synthetic ones.

    Raises:
        ConfigError: No validation frame holds a wire.
    """
    scores: dict[int, list[float]] = {}
    frames = AnnotatedFrames(source, "val", limit=64)
    for batch, probability in predict_frames(judge, frames):
        masks = batch.wire_mask[:, 0].numpy() > 0.5
        for row, p, m in zip(batch.row.tolist(), probability, masks, strict=True):
            if m.any():
                scores.setdefault(int(frames.frames.clip_of_frame[row]), []).append(dice(p >= 0.5, m))
    if not scores:
        raise ConfigError(
            "no validation frame holds a wire, so the second segmenter has nothing to be measured on",
            file=source,
            key="frames/wire_mask",
            expected="annotated validation frames with a wire",
            found="none",
            remedy="leave out gate_ckpt: the gate's first rules need no segmenter",
        )
    return float(np.median([np.mean(values) for values in scores.values()]))


def _agreed_dice(settings: AugmentSettings, judge: SegmentationModule, source: Artifact) -> float:
    """The least Dice of a clip, worked out by whichever process is first: it's part of what all clips share."""
    assert settings.gate_ckpt is not None
    config = to_plain(settings.gate)
    parents = {"source": source.content_hash, "gate_ckpt": file_hash(settings.gate_ckpt)}
    made = _dice_of(settings.out, config, parents)
    if made is not None:
        return made
    device = default_device() if settings.accelerator != "cpu" else torch.device("cpu")
    least = shared_fact(
        shards_folder(settings.out),
        "gate",
        {"config": config, **parents},
        lambda: {"dice": settings.gate.dice_ratio * real_dice(judge.to(device), settings.source)},
    )
    return float(least["dice"])


def _dice_of(out: Path, config: dict[str, Any], parents: dict[str, str]) -> float | None:
    """The threshold of an artifact that was made with the same settings, for a process that comes after the end."""
    try:
        made = Artifact.open(out, Kind.SYNTHETIC)
    except ArtifactError:
        return None
    recorded = made.config.get("gate", {})
    if any(made.parents.get(key) != value for key, value in parents.items()) or recorded.get("dice") is None:
        return None
    same = {key: value for key, value in recorded.items() if key in config} == config
    return float(recorded["dice"]) if same else None


def make_synthetic(settings: AugmentSettings, worker: Worker | None = None) -> Path:
    """Make the synthetic artifact, or this process's part of it; killed, the next call goes on with what is missing.

    Args:
        settings: The same in all processes that make one artifact.
        worker: This process among them; None asks the environment.

    Raises:
        SfvdError: Checkpoints or artifacts that don't belong together, or a leak of unseen patients.
    """
    worker = this_worker() if worker is None else worker
    source = Artifact.open(settings.source, Kind.SOURCE)
    scene, motion, guide, judge = _load_models(settings)
    models: dict[str, RecordedModule] = {"scene": scene, "motion": motion, "guide": guide}
    if judge is not None:
        models["gate"] = judge
    patients = _learned_from(settings, source, models)
    plan = Plan(settings.plan, settings.source, settings.suspects, settings.seed)
    gate = Gate(settings.gate, None if judge is None else _agreed_dice(settings, judge, source))
    paths = [f"{role}_ckpt" for role in models]
    provenance = Provenance(
        seed=settings.seed,
        config={
            "plan": to_plain(settings.plan),
            "gate": {**to_plain(settings.gate), "dice": gate.dice},
            "guide": to_plain(settings.guide),
            "attenuation": list(plan.attenuation),
            "sampler": to_plain(motion.sampler_config),
        },
        parents={
            "source": source.content_hash,
            "suspects": content_hash(settings.suspects),
            **{key: file_hash(getattr(settings, key)) for key in paths},
        },
        patients=patients,
    )
    generator = ClipGenerator(scene, motion, guide, judge, gate, settings.guide, plan, source.intensity_max)
    writer = GenerationWriter(
        settings.out,
        Kind.SYNTHETIC,
        provenance,
        source.intensity_max,
        lambda columns: columns,
        worker,
        merge=settings.merge,
        lease_seconds=settings.lease_seconds,
    )
    _predict(settings, generator, PlanDataModule(plan, settings.batch_size), writer, worker)
    return settings.out


def _predict(
    settings: AugmentSettings,
    generator: ClipGenerator,
    datamodule: PlanDataModule,
    writer: GenerationWriter,
    worker: Worker,
) -> None:
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    writer.begin(datamodule)
    if writer.work.made():
        return
    trainer = pl.Trainer(
        accelerator=settings.accelerator,
        precision=sampling_precision() if settings.precision == "auto" else settings.precision,  # type: ignore[arg-type]
        default_root_dir=settings.run_dir,
        logger=False,
        callbacks=[writer, AnswersSignals(), *([make_progress("augment")] if worker.rank == 0 else [])],
        enable_progress_bar=worker.rank == 0,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,  # the guide needs gradients
        **one_device(worker, settings.accelerator),
    )
    try:
        with explained_memory({"batch_size": settings.batch_size}, SAMPLING_REMEDY):
            trainer.predict(generator, datamodule=datamodule, return_predictions=False)
    finally:
        writer.work.close()
    if writer.work.merged:
        trainer.loggers = make_loggers(settings.run_dir, settings.logging)
        _log_result(trainer, settings)
        close_loggers(trainer.loggers)


def _log_result(trainer: pl.Trainer, settings: AugmentSettings) -> None:
    """Accept rate and a few clips, to the loggers and the pictures' folder."""
    made = Artifact.open(settings.out, Kind.SYNTHETIC)
    accepted = made.column("clips/accepted")
    for logger in trainer.loggers:
        logger.log_metrics({"accept_rate": float(accepted.mean()), "clips": float(made.n_clips)}, step=0)
        logger.save()
    few = min(8, made.n_clips)
    length = int(made.column("clips/length")[0])
    rows = {
        key: made.rows(f"frames/{key}", 0, few * length).reshape(few, 1, length, *made.frame_shape)
        for key in ("image", "wire_mask")
    }
    log_clips(
        trainer,
        "synthetic",
        torch.from_numpy(rows["image"].astype(np.float32) / made.intensity_max),
        torch.from_numpy(rows["wire_mask"].astype(np.float32)),
    )
