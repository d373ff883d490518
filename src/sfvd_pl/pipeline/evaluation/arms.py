"""The comparison of segmenters: predictions of every arm and seed scored against their source's labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ArtifactError, ConfigError
from sfvd_pl.metrics.arms import segmentation_section
from sfvd_pl.metrics.scores import MEASURES, FrameScores, ScoredFrames, score_frames
from sfvd_pl.metrics.tables import CLIP_COLUMNS, FRAME_COLUMNS, clip_rows, frame_rows, write_table
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.metrics.wire import Wire

FRAMES_TABLE = "segmentation-frames.csv"
CLIPS_TABLE = "segmentation-clips.csv"
_FACTS = 4
"""Columns before the scores in a table of numbers."""


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of the arms of a comparison.

    Attributes:
        arms: Arm -> scores of each seed, all of the same frames.
        frames: These frames.
        seeds: Of the trainings.
    """

    arms: dict[str, list[FrameScores]]
    frames: ScoredFrames
    seeds: tuple[int, ...]

    def as_table(self) -> NDArray[np.float64]:
        """All numbers in one array, a row a frame: clip, frame, visibility, spacing; scores by arm, seed, measure."""
        facts = [self.frames.clip, self.frames.frame, self.frames.visibility, self.frames.spacing_mm]
        scores = [table.values for tables in self.arms.values() for table in tables]
        return np.concatenate([np.stack(facts, axis=1).astype(np.float64), *scores], axis=1)

    @classmethod
    def of_table(cls, table: NDArray[np.float64], predictions: Artifact, seeds: Sequence[int]) -> "SegmentationScores":
        """What :meth:`as_table` was made from.

        Args:
            table: The array.
            predictions: One of the artifacts that were scored: the names of arms, clips and patients.
            seeds: Of the trainings.
        """
        arms = [str(name) for name in predictions.column("arms/name")]
        scores = table[:, _FACTS:].reshape(len(table), len(arms), len(seeds), len(MEASURES))
        frames = ScoredFrames(
            clip=table[:, 0].astype(np.int64),
            frame=table[:, 1].astype(np.int64),
            visibility=table[:, 2],
            spacing_mm=table[:, 3],
            names=tuple(str(name) for name in predictions.column("clips/name")),
            patients=tuple(str(patient) for patient in predictions.column("clips/patient")),
        )
        tables = {arm: [FrameScores(scores[:, a, s]) for s in range(len(seeds))] for a, arm in enumerate(arms)}
        return cls(tables, frames, tuple(int(seed) for seed in seeds))

    def section(self, seed: int = 0) -> dict[str, Any]:
        """The section ``segmentation`` of a metrics file; the seed is that of the resampling."""
        return segmentation_section(self.arms, self.frames, seeds=self.seeds, seed=seed)

    def write_tables(self, folder: Path) -> tuple[Path, Path]:
        """Every frame's and every clip's scores as two CSV files in a folder."""
        return (
            write_table(folder / FRAMES_TABLE, FRAME_COLUMNS, frame_rows(self.arms, self.frames, self.seeds)),
            write_table(folder / CLIPS_TABLE, CLIP_COLUMNS, clip_rows(self.arms, self.frames, self.seeds)),
        )


def score_segmentations(paths: Sequence[Path], source: Artifact, *, seeds: Sequence[int]) -> SegmentationScores:
    """Score predictions clip by clip; a clip's pictures are in memory only while it is scored.

    Args:
        paths: One segmentation artifact a seed, at least one.
        source: What was segmented.
        seeds: Of the trainings, in the order of ``paths``.

    Raises:
        ConfigError: There isn't one seed a path.
        ArtifactError: The predictions are of another source, whose frames have other masks; or the artifacts hold
            different arms or frames.
    """
    if not paths or len(paths) != len(seeds):
        raise ConfigError(
            "there isn't one seed for each artifact of predictions",
            key="seeds",
            expected=f"{len(paths)} seeds, at least one",
            found=list(seeds),
        )
    made = [_open(path, source) for path in paths]
    first = made[0]
    names = [str(name) for name in first.column("arms/name")]
    for path, artifact in zip(paths[1:], made[1:], strict=True):
        _require_alike(path, artifact, paths[0], first)
    parts: dict[str, list[list[FrameScores]]] = {name: [[] for _ in made] for name in names}
    facts = []
    for clip in range(first.n_clips):
        labels, ignore, offsets, seen, spacing, size = _labels(first, source, clip)
        facts.append((offsets, seen, np.full(len(labels), spacing)))
        for number, artifact in enumerate(made):
            probability = artifact.clip_rows("frames/probability", clip)[:, :, : size[0], : size[1]]
            for name, found in zip(names, probability, strict=True):
                parts[name][number].append(score_frames(found, labels, ignore=ignore, spacing_mm=spacing))
    clip_of_frame = np.repeat(np.arange(first.n_clips), [len(offsets) for offsets, _, _ in facts])
    columns = [np.concatenate(column) for column in zip(*facts, strict=True)]
    frames = ScoredFrames(
        clip=clip_of_frame.astype(np.int64),
        frame=columns[0].astype(np.int64),
        visibility=columns[1].astype(np.float64),
        spacing_mm=columns[2].astype(np.float64),
        names=tuple(str(name) for name in first.column("clips/name")),
        patients=tuple(str(patient) for patient in first.column("clips/patient")),
    )
    whole = {name: [FrameScores.concatenate(part) for part in tables] for name, tables in parts.items()}
    return SegmentationScores(whole, frames, tuple(int(seed) for seed in seeds))


def _open(path: Path, source: Artifact) -> Artifact:
    made = Artifact.open(path, Kind.SEGMENTATION)
    if made.parents.get("source") != source.content_hash:
        raise ArtifactError(
            "these are predictions on another source",
            file=path,
            key="parents['source']",
            expected=f"{source.content_hash} ({source.path})",
            found=made.parents.get("source", "no source"),
            remedy="pass the source that was segmented",
        )
    return made


def _require_alike(path: Path, artifact: Artifact, first_path: Path, first: Artifact) -> None:
    for key in ("arms/name", "frames/source_frame", "clips/start"):
        one, two = first.column(key), artifact.column(key)
        if not np.array_equal(one, two):
            raise ArtifactError(
                f"the seeds can't be compared: their {key} differ",
                file=path,
                key=key,
                expected=f"as in {first_path}",
                found=two.tolist() if len(two) < 10 else f"{len(two)} others",
                remedy="segment the same test frames with the same arms for every seed",
            )


def _labels(
    made: Artifact, source: Artifact, clip: int
) -> tuple[list[Wire], np.ndarray, np.ndarray, np.ndarray, float, tuple[int, int]]:
    """Of a clip: labels and pixels to ignore within its valid extent, indices of the frames, their visibility, mm a
    pixel, the extent."""
    start, length = (int(made.column(f"clips/{key}")[clip]) for key in ("start", "length"))
    row = int(made.column("clips/source_clip")[clip])
    column = source.column
    offsets = made.column("frames/source_frame")[start : start + length] - int(column("clips/start")[row])
    first, count = int(offsets.min()), int(offsets.max() - offsets.min()) + 1
    size = (int(column("clips/height")[row]), int(column("clips/width")[row]))
    masks, ignore, image = (
        source.clip_rows(key, row, first, count)[offsets - first, : size[0], : size[1]]
        for key in ("frames/wire_mask", "frames/ignore", "frames/image")
    )
    spacing = float(column("clips/spacing_mm")[row])
    seen = clip_visibility(image, masks, ignore=ignore)
    return [Wire(mask) for mask in masks], ignore, offsets, seen, spacing, size
