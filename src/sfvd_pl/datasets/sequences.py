"""Mask sequences of fresh clips, whose background is generated."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.utils.data import Dataset

from sfvd_pl.artifacts import Artifact
from sfvd_pl.datasets.batch import GenerationBatch
from sfvd_pl.datasets.courses import MIN_WIRE_PIXELS
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.windows import centreline_nearness, choose_window, philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import ConfigError
from sfvd_pl.sources.phantom.simulate import simulate_wire_masks

TRIES = 32
"""Windows tried before one with the wire in every frame is given up and the next clip taken."""


@dataclass(frozen=True)
class SequenceConfig:
    """Which mask sequences drive the generator.

    Attributes:
        frames: Length T of a sequence.
        window: Side of the frames, pixels.
        simulated_share: Share of simulated wires; the rest are those of labelled training clips.
    """

    frames: int
    window: int
    simulated_share: float = 0.5

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0.0 <= self.simulated_share <= 1.0:
            raise ConfigError(
                "a share lies outside 0..1", key="simulated_share", expected="0..1", found=self.simulated_share
            )


@dataclass(frozen=True)
class MaskSequence:
    """One mask sequence.

    Attributes:
        wire_mask: ``T H W``, 0 or 1.
        origin: ``labelled`` or ``simulated``.
        mask_source: Name of the clip, or seed of the simulator.
    """

    wire_mask: UInt8[np.ndarray, "T H W"]
    origin: str
    mask_source: str


class SequenceBank:
    """Turns a sample id into a mask sequence of one window, from labelled training clips and from the wire simulator.

    Masks of validation and test patients never enter.

    Args:
        source: The source artifact.
        config: Which sequences.
        seed: With the sample id, decides the sequence.
    """

    def __init__(self, source: Path | str, config: SequenceConfig, seed: int) -> None:
        self.index = ClipIndex(source, "train")
        self.index.require_labels()
        self.config = config
        self.seed = seed
        self.runs = self.index.labelled_runs(config.frames)
        self.wire_width_px = self.index.wire_width_px()

    def sequence(self, sample_id: int) -> MaskSequence:
        """The mask sequence with this id."""
        rng = philox(sample_seed(self.seed, sample_id, "sequence"))
        moved = None
        if rng.random() >= self.config.simulated_share and self.runs:
            moved = self._moved_window(rng)
        if moved is not None:
            wire_mask, clip = moved
            return MaskSequence(wire_mask, "labelled", str(self.index.name[clip]))
        wire_seed = int(rng.integers(2**31))
        size = self.config.window
        wire_mask = simulate_wire_masks(
            wire_seed, self.config.frames, size, size, width_px=self.wire_width_px
        )
        return MaskSequence(wire_mask, "simulated", str(wire_seed))

    def _moved_window(self, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "T H W"], int] | None:
        """A window of a real sequence that keeps the wire in view; None where none was found."""
        for _ in range(TRIES):
            clip, first = self.runs[int(rng.integers(len(self.runs)))]
            wire_mask = self.index.wire_mask(clip, np.arange(first, first + self.config.frames))
            window = choose_window(
                rng,
                self.config.window,
                wire_mask.shape[1],
                wire_mask.shape[2],
                wire_mask,
                wire_probability=1.0,
                augment=True,
            )
            cut = window.cut(wire_mask)
            if (cut.reshape(len(cut), -1).sum(1) >= MIN_WIRE_PIXELS).all():
                return cut.astype(np.uint8), clip
        return None


def as_generation(
    sample_id: int,
    sequence: MaskSequence,
    *,
    scene: Float[torch.Tensor, "1 H W"] | None = None,
) -> GenerationBatch:
    """A mask sequence as a batch of one; ``scene`` is ``1 H W``."""
    return GenerationBatch(
        wire_mask=torch.from_numpy(sequence.wire_mask.astype(np.float32))[None, None],
        nearness=torch.from_numpy(centreline_nearness(sequence.wire_mask))[None, None],
        sample_id=torch.tensor([sample_id], dtype=torch.int64),
        origin=[sequence.origin],
        mask_source=[sequence.mask_source],
        scene=None if scene is None else scene[None],
    )


class SequenceDataset(Dataset[GenerationBatch]):
    """Samples to generate, by sample id.

    Args:
        bank: Where the sequences come from.
        sample_ids: Which, in order.
    """

    def __init__(self, bank: SequenceBank, sample_ids: list[int]) -> None:
        self.bank = bank
        self.sample_ids = sample_ids

    def __len__(self) -> int:
        """How many."""
        return len(self.sample_ids)

    def __getitem__(self, position: int) -> GenerationBatch:
        """The sample at a position of the list."""
        sample_id = self.sample_ids[position]
        return as_generation(sample_id, self.bank.sequence(sample_id))


class SceneRollouts(Dataset[GenerationBatch]):
    """Samples that start from generated scenes, with the mask sequence each scene is to follow.

    Args:
        scenes: The scenes artifact.
        rows: Which of its clips, in order.
    """

    def __init__(self, scenes: Artifact, rows: list[int]) -> None:
        self.scenes = scenes
        self.rows = rows

    def __len__(self) -> int:
        """How many."""
        return len(self.rows)

    def __getitem__(self, position: int) -> GenerationBatch:
        """The rollout at a position of the list."""
        row = self.rows[position]
        sequence = scene_sequence(self.scenes, row)
        return as_generation(
            int(self.scenes.column("clips/sample_id")[row]), sequence, scene=scene_image(self.scenes, row)
        )


def scene_sequence(scenes: Artifact, row: int) -> MaskSequence:
    """The mask sequence that a generated scene is to follow."""
    return MaskSequence(
        scenes.clip_rows("frames/wire_mask", row),
        str(scenes.column("clips/mask_origin")[row]),
        str(scenes.column("clips/mask_source")[row]),
    )


def scene_image(scenes: Artifact, row: int) -> Float[torch.Tensor, "1 H W"]:
    """A generated scene, ``1 H W`` in 0..1."""
    pixels = scenes.rows("clips/scene", row, row + 1).astype(np.float32)
    return torch.from_numpy(pixels / scenes.intensity_max)
