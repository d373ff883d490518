"""The plan: which samples are made, each from what and with which strengths, decided before any is made."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sfvd_pl.artifacts import Artifact
from sfvd_pl.datasets.sequences import MaskSequence, SequenceBank, scene_sequence
from sfvd_pl.datasets.windows import philox
from sfvd_pl.diffusion import sample_seed
from sfvd_pl.errors import ConfigError


@dataclass(frozen=True)
class PlanConfig:
    """How many clips and how they vary.

    Attributes:
        num_clips: Clips to make.
        segmentation_scale: Largest strength of the segmentation guidance, units of x0 a guided step.
        segmentation_jitter: Standard deviation of the strength around what the requested visibility asks for, as a
            share of ``segmentation_scale``.
        reuse_scenes: Share of the clips that start from a scene of the scenes artifact, refined with guidance, as
            far as there are scenes; the rest draws scenes of its own.
    """

    num_clips: int = 64
    segmentation_scale: float = 0.02
    segmentation_jitter: float = 0.25
    reuse_scenes: float = 0.5

    def __post_init__(self) -> None:
        """Check counts and shares."""
        if self.num_clips < 1:
            raise ConfigError("nothing to make", key="num_clips", expected="at least 1", found=self.num_clips)
        if self.segmentation_scale < 0 or self.segmentation_jitter < 0:
            raise ConfigError(
                "a strength is negative; the sign is drawn for each clip",
                key="segmentation_scale",
                expected="at least 0",
                found=min(self.segmentation_scale, self.segmentation_jitter),
            )
        if not 0.0 <= self.reuse_scenes <= 1.0:
            raise ConfigError("a share lies outside 0..1", key="reuse_scenes", expected="0..1", found=self.reuse_scenes)


@dataclass(frozen=True)
class PlannedClip:
    """One line of the plan.

    Attributes:
        sample_id: Identity: with the seed it decides all noise.
        scene_row: Row of the scenes artifact to start from; -1 draws a scene.
        requested_visibility: Contrast-to-noise ratio asked for.
        segmentation_scale: Strength of the segmentation guidance; positive makes the wire clearer.
        mask_origin: ``labelled``, ``simulated`` or ``vessel``.
        mask_source: Name of the clip, or seed of the simulator.
    """

    sample_id: int
    scene_row: int
    requested_visibility: float
    segmentation_scale: float
    mask_origin: str
    mask_source: str


class Plan:
    """Turns a sample id into a planned clip and its mask sequence.

    Args:
        config: How many and how they vary.
        bank: Mask sequences and the range of requested visibilities.
        scenes: Scenes to start from.
        seed: Of the run.
    """

    def __init__(self, config: PlanConfig, bank: SequenceBank, scenes: Artifact, seed: int) -> None:
        self.config = config
        self.bank = bank
        self.scenes = scenes
        self.seed = seed
        reused = min(round(config.reuse_scenes * config.num_clips), scenes.n_clips)
        ids = [int(i) for i in scenes.column("clips/sample_id")]
        self._row_of = {ids[row]: row for row in range(reused)}
        # Ids behind those of all scenes: a drawn scene must not repeat the noise of one that exists.
        fresh = range(max(ids) + 1, max(ids) + 1 + config.num_clips - reused)
        self.sample_ids = [*self._row_of, *fresh]

    def sequence(self, sample_id: int) -> MaskSequence:
        """The mask sequence of a sample."""
        row = self._row_of.get(sample_id)
        return self.bank.sequence(sample_id) if row is None else scene_sequence(self.scenes, row)

    def clip(self, sample_id: int, sequence: MaskSequence) -> PlannedClip:
        """The line of the plan for a sample."""
        return PlannedClip(
            sample_id=sample_id,
            scene_row=self._row_of.get(sample_id, -1),
            requested_visibility=sequence.visibility,
            segmentation_scale=self._scale(sample_id, sequence.visibility),
            mask_origin=sequence.origin,
            mask_source=sequence.mask_source,
        )

    def _scale(self, sample_id: int, visibility: float) -> float:
        """Clearer for plain wires, fainter for faint ones, drawn around what the request asks for."""
        low, high = self.bank.visibility_range
        place = 0.5 if high <= low else (visibility - low) / (high - low)
        jitter = float(philox(sample_seed(self.seed, sample_id, "strength")).standard_normal())
        strength = (2.0 * place - 1.0) + self.config.segmentation_jitter * jitter
        return self.config.segmentation_scale * max(-1.0, min(1.0, strength))

    def batches(self, sample_ids: Sequence[int], size: int) -> list[list[int]]:
        """Ids in batches that are refined or drawn throughout, since the two take different steps."""
        reused = [i for i in sample_ids if i in self._row_of]
        fresh = [i for i in sample_ids if i not in self._row_of]
        return [group[k : k + size] for group in (reused, fresh) for k in range(0, len(group), size)]

    def save(self, path: Path) -> None:
        """Write all lines as JSON, for a person to read."""
        lines = [asdict(self.clip(i, self.sequence(i))) for i in self.sample_ids]
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        partial.write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")
        partial.replace(path)
