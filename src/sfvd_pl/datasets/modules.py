"""DataModules: artifacts in, typed batches out."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from sfvd_pl.artifacts import Artifact, Kind, SharedWork, content_hash, refuse_seen_by
from sfvd_pl.datasets.batch import ClipBatch, FrameBatch, GenerationBatch
from sfvd_pl.datasets.clips import ClipDataset, FixedSamples
from sfvd_pl.datasets.index import ClipIndex, Intensity
from sfvd_pl.datasets.loaders import DealtBatches, EpochSampler, ResumableLoader, worker_options
from sfvd_pl.datasets.pieces import divided, piece_loader
from sfvd_pl.datasets.segmentation import AnnotatedFrames, ArtifactFrames, MixConfig, SegmentationDataset
from sfvd_pl.datasets.sequences import SceneRollouts, SequenceBank, SequenceConfig, SequenceDataset
from sfvd_pl.errors import ConfigError

VALIDATION_SEED_OFFSET = 1
"""Added to the seed, so that validation draws differ from those of training."""


def cpu_cores() -> int:
    """The cores this process may use, which on a shared node is fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _SourceDataModule(pl.LightningDataModule):
    """What every DataModule on a source artifact has: loaders in a fixed order and the intensity statistics.

    Attributes:
        decisive: Settings that decide which samples a training sees, in which order; the batch size is no such one.
    """

    decisive: tuple[str, ...] = ("seed", "window", "steps_per_epoch")

    def __init__(self, source: Path, seed: int, batch_size: int, steps_per_epoch: int, num_workers: int) -> None:
        super().__init__()
        self.source = Path(source)
        self.seed = seed
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.num_workers = num_workers
        self._intensity: Intensity | None = None

    @property
    def intensity(self) -> Intensity:
        """Statistics of the training patients, which the modules standardise by."""
        if self._intensity is None:
            self._intensity = ClipIndex(self.source, "train").intensity()
        return self._intensity

    @property
    def source_hash(self) -> str:
        """Content hash of the source, which a checkpoint remembers."""
        return Artifact.open(self.source, Kind.SOURCE).content_hash

    @property
    def training_settings(self) -> dict[str, Any]:
        """What a resumed training must share with its beginning."""
        return {key: getattr(self, key) for key in self.decisive}

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients that a model trained here has learned from."""
        return ClipIndex(self.source, "train").patients

    @property
    def unseen(self) -> tuple[str, ...]:
        """Patients whose results are to be trusted, of the validation and the test split."""
        return ClipIndex(self.source, "val").patients + ClipIndex(self.source, "test").patients

    @property
    def workers(self) -> int:
        """Loader processes: as asked, or what the machine has to spare."""
        if self.num_workers >= 0:
            return self.num_workers
        ranks = 1 if self.trainer is None else self.trainer.num_devices
        return min(8, cpu_cores() // ranks - 1)

    def _loader_options(self, collate: Any) -> dict[str, Any]:
        workers = max(0, self.workers)
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        options: dict[str, Any] = {"collate_fn": collate, "num_workers": workers, "pin_memory": on_gpu}
        return options | (worker_options() if workers else {})

    def _training_loader(self, dataset: Dataset[Any], collate: Any) -> ResumableLoader:
        trainer = self.trainer
        world, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        accumulate = 1 if trainer is None else trainer.accumulate_grad_batches
        sampler = EpochSampler(self.steps_per_epoch * accumulate * self.batch_size * world, rank, world)
        return ResumableLoader(
            dataset, sampler, batch_size=self.batch_size, **self._loader_options(collate)
        )

    def _dealt_loader(self, dataset: Dataset[Any], batch_size: int, collate: Any) -> DataLoader[Any]:
        """Samples to measure on, each by one rank."""
        trainer = self.trainer
        world, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        batches = DealtBatches(len(dataset), batch_size, rank, world)  # type: ignore[arg-type]
        generator = torch.Generator()  # for the reason below
        return DataLoader(dataset, batch_sampler=batches, collate_fn=collate, num_workers=0, generator=generator)

    def _plain_loader(self, dataset: Dataset[Any], batch_size: int, collate: Any) -> DataLoader[Any]:
        # Few samples: a worker of its own would take longer to start than to read them.
        # A generator of its own: a loader draws a seed for its workers, from the global generator otherwise, and a
        # resumed training starts more loaders than an unbroken one.
        return DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=False,
            collate_fn=collate,
            num_workers=0,
            generator=torch.Generator(),
        )


class SceneDataModule(_SourceDataModule):
    """Single frames to train the scene model on; mask sequences to generate scenes for.

    Args:
        source: The source artifact.
        window: Side of the training windows and of what is generated, pixels; cut at native scale.
        frames: Length of the mask sequences that the generated scenes are to follow.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations; training draws samples without end.
        labelled_share: Share of samples drawn from labelled frames; the rest trains the null branch.
        val_samples: Validation samples, the same each time.
        num_scenes: Scenes that predict generates.
        predict_batch_size: Samples that are generated at once.
        simulated_share: Share of simulated wires among the generated.
        visibility_quantiles: Range of the requested visibility, as quantiles of the labelled frames'.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    decisive = (*_SourceDataModule.decisive, "labelled_share", "val_samples")

    def __init__(
        self,
        source: Path,
        window: int = 64,
        frames: int = 8,
        batch_size: int = 16,
        steps_per_epoch: int = 100,
        labelled_share: float = 0.75,
        val_samples: int = 32,
        num_scenes: int = 32,
        predict_batch_size: int = 16,
        simulated_share: float = 0.5,
        visibility_quantiles: tuple[float, float] = (0.05, 0.95),
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        self.window = window
        self.frames = frames
        self.labelled_share = labelled_share
        self.val_samples = val_samples
        self.num_scenes = num_scenes
        self.predict_batch_size = predict_batch_size
        self.sequences = SequenceConfig(frames, window, simulated_share, visibility_quantiles)
        self.work: SharedWork | None = None

    def train_dataloader(self) -> ResumableLoader:
        """Windows of frames, labelled and unlabelled."""
        dataset = ClipDataset(
            self.source, "train", seed=self.seed, window=self.window, labelled_share=self.labelled_share
        )
        return self._training_loader(dataset, ClipBatch.collate)

    def val_dataloader(self) -> DataLoader[ClipBatch]:
        """Labelled windows of held-out patients, the same each time."""
        dataset = ClipDataset(
            self.source,
            "val",
            seed=self.seed + VALIDATION_SEED_OFFSET,
            window=self.window,
            labelled_share=1.0,
            augment=False,
        )
        return self._dealt_loader(FixedSamples(dataset, self.val_samples), self.batch_size, ClipBatch.collate)

    @property
    def sample_ids(self) -> list[int]:
        """Sample ids of the scenes that predict generates."""
        return list(range(self.num_scenes))

    def pieces(self, sample_ids: list[int]) -> list[list[int]]:
        """Samples that are generated together."""
        return divided(sample_ids, self.predict_batch_size)

    def predict_dataloader(self) -> DataLoader[GenerationBatch]:
        """Mask sequences whose scenes are to be made by this process."""
        bank = SequenceBank(self.source, self.sequences, self.seed)

        def make(ids: list[int]) -> GenerationBatch:
            sequences = SequenceDataset(bank, ids)
            return GenerationBatch.collate([sequences[k] for k in range(len(ids))])

        return piece_loader(self.work or self.pieces(self.sample_ids), self.predict_batch_size, make)


class MotionDataModule(_SourceDataModule):
    """Blocks of frames with their context to train the motion model on; scenes to roll out.

    Args:
        source: The source artifact.
        scenes: The scenes artifact, which predict rolls out.
        window: Side of the windows, pixels.
        frames: Length of the clips to generate.
        block: Frames that are denoised together.
        history: Frames before the block that the model is given beside the first one.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations.
        labelled_share: Share of samples drawn from labelled clips.
        val_samples: Validation samples, the same each time.
        predict_batch_size: Clips that are generated at once.
        num_clips: Clips that predict generates; at most as many as there are scenes.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    decisive = (*SceneDataModule.decisive, "frames", "block", "history")

    def __init__(
        self,
        source: Path,
        scenes: Path | None = None,
        window: int = 64,
        frames: int = 8,
        block: int = 4,
        history: int = 2,
        batch_size: int = 4,
        steps_per_epoch: int = 100,
        labelled_share: float = 0.75,
        val_samples: int = 16,
        predict_batch_size: int = 8,
        num_clips: int = 16,
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        self.scenes = None if scenes is None else Path(scenes)
        self.window = window
        self.frames = frames
        self.block = block
        self.history = history
        self.labelled_share = labelled_share
        self.val_samples = val_samples
        self.predict_batch_size = predict_batch_size
        self.num_clips = num_clips
        self.work: SharedWork | None = None
        if frames < 1 + block:
            raise ConfigError(
                "clips are too short for one block behind the first frame",
                key="data.frames",
                expected=f"at least 1 + block = {1 + block}",
                found=frames,
                remedy="lower data.block or raise data.frames",
            )

    def _dataset(self, split: str, seed: int, *, labelled_share: float, augment: bool) -> ClipDataset:
        return ClipDataset(
            self.source,
            split,
            seed=seed,
            window=self.window,
            context=1 + self.history,
            block=self.block,
            frames=self.frames,
            labelled_share=labelled_share,
            augment=augment,
        )

    def train_dataloader(self) -> ResumableLoader:
        """Blocks with their context, labelled and unlabelled."""
        dataset = self._dataset("train", self.seed, labelled_share=self.labelled_share, augment=True)
        return self._training_loader(dataset, ClipBatch.collate)

    def val_dataloader(self) -> DataLoader[ClipBatch]:
        """Labelled blocks of held-out patients, the same each time."""
        dataset = self._dataset(
            "val", self.seed + VALIDATION_SEED_OFFSET, labelled_share=1.0, augment=False
        )
        return self._dealt_loader(FixedSamples(dataset, self.val_samples), self.batch_size, ClipBatch.collate)

    @property
    def sample_ids(self) -> list[int]:
        """Sample ids of the scenes that predict rolls out."""
        return [int(i) for i in self._open_scenes().column("clips/sample_id")[: self.num_clips]]

    def _open_scenes(self) -> Artifact:
        if self.scenes is None:
            raise ConfigError(
                "rolling out clips needs scenes",
                key="data.scenes",
                expected="a scenes artifact",
                found="none",
                remedy="run `sfvd scene predict` first and pass its artifact",
            )
        return Artifact.open(self.scenes, Kind.SCENES)

    def pieces(self, sample_ids: list[int]) -> list[list[int]]:
        """Samples that are generated together."""
        return divided(sample_ids, self.predict_batch_size)

    def predict_dataloader(self) -> DataLoader[GenerationBatch]:
        """Scenes whose clips are to be made by this process."""
        scenes = self._open_scenes()
        if scenes.frame_shape != (self.window, self.window):
            raise ConfigError(
                "the scenes have another size than the motion model's windows",
                file=self.scenes,
                key="data.window",
                expected=self.window,
                found=scenes.frame_shape,
                remedy="generate the scenes with the same window",
            )
        row_of = {int(i): row for row, i in enumerate(scenes.column("clips/sample_id"))}

        def make(ids: list[int]) -> GenerationBatch:
            rollouts = SceneRollouts(scenes, [row_of[i] for i in ids])
            return GenerationBatch.collate([rollouts[k] for k in range(len(ids))])

        return piece_loader(self.work or self.pieces(self.sample_ids), self.predict_batch_size, make)


class SegmentationDataModule(_SourceDataModule):
    """Windows to train a wire segmenter on, whole frames to test it on.

    Args:
        source: The source artifact.
        synthetic: The synthetic artifact, for the arms that use one.
        mix: Which arm, and how synthetic frames are mixed in.
        window: Side of the training windows, pixels.
        labels: ``labelled``: masks of labelled clips. ``annotated``: of all annotated clips of the training
            patients, for the independent segmenter that measures label fidelity.
        batch_size: Samples a step on each device.
        steps_per_epoch: Optimiser steps between validations.
        eval_batch_size: Whole frames at a time in validation and test.
        val_frames: At most this many validation frames, spread evenly; all are tested.
        num_workers: Loader processes; -1 takes what the machine has to spare.
        seed: Decides every sample together with its id.
    """

    decisive = (*_SourceDataModule.decisive, "mix", "labels", "val_frames")

    def __init__(
        self,
        source: Path,
        synthetic: Path | None = None,
        mix: MixConfig = MixConfig(),  # noqa: B008  # frozen
        window: int = 64,
        labels: str = "labelled",
        batch_size: int = 12,
        steps_per_epoch: int = 100,
        eval_batch_size: int = 8,
        val_frames: int = 48,
        num_workers: int = -1,
        seed: int = 0,
    ) -> None:
        super().__init__(source, seed, batch_size, steps_per_epoch, num_workers)
        if labels not in ("labelled", "annotated"):
            raise ConfigError(
                "unknown choice of labels", key="data.labels", expected="labelled or annotated", found=labels
            )
        self.synthetic = synthetic
        self.mix = mix
        self.window = window
        self.labels = labels
        self.eval_batch_size = eval_batch_size
        self.val_frames = val_frames

    @property
    def training_settings(self) -> dict[str, Any]:
        """As above, with the content hash of the synthetic clips where the arm uses them."""
        clips = self.synthetic if self.mix.needs_synthetic else None
        return super().training_settings | {"synthetic": None if clips is None else content_hash(clips)}

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients that a segmenter trained here has learned from, also by way of synthetic clips."""
        own = super().patients
        if self.synthetic is None or not self.mix.needs_synthetic:
            return own
        synthetic = Artifact.open(self.synthetic, Kind.SYNTHETIC)
        refuse_seen_by(synthetic, self.unseen, what="the generator of the synthetic clips")
        return tuple(sorted({*own, *synthetic.patients}))

    def train_dataloader(self) -> ResumableLoader:
        """Windows of labelled frames, real or synthetic by the arm."""
        trainer = self.trainer
        steps = self.steps_per_epoch if trainer is None or trainer.max_steps < 0 else trainer.max_steps
        world = 1 if trainer is None else trainer.world_size * trainer.accumulate_grad_batches
        dataset = SegmentationDataset(
            self.source,
            seed=self.seed,
            window=self.window,
            labels=self.labels,
            mix=self.mix,
            synthetic=self.synthetic,
            total_samples=steps * self.batch_size * world,
            unseen=self.unseen,
        )
        return self._training_loader(dataset, FrameBatch.collate)

    def val_dataloader(self) -> DataLoader[FrameBatch]:
        """Whole annotated frames of the validation patients."""
        dataset = AnnotatedFrames(self.source, "val", limit=self.val_frames)
        return self._dealt_loader(dataset, self.eval_batch_size, FrameBatch.collate)

    def test_dataloader(self) -> DataLoader[FrameBatch]:
        """Every annotated frame of the test patients."""
        return self._dealt_loader(
            AnnotatedFrames(self.source, "test"), self.eval_batch_size, FrameBatch.collate
        )

    def predict_dataloader(self) -> DataLoader[FrameBatch]:
        """Every frame of the source."""
        dataset = ArtifactFrames(Artifact.open(self.source))
        return self._plain_loader(dataset, self.eval_batch_size, FrameBatch.collate)
