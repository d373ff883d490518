"""From clips to ``source.h5``: padding, visibility, what a user should look at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.errors import SourceError
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.split import SPLITS, ClipMeta, SplitConfig, settle

PADDED_BYTES = 2**26
"""Padded pixels that are in memory at once."""


@dataclass(frozen=True)
class Summary:
    """What was written.

    Args:
        path: The artifact.
        patients: Split to the names of its patients.
        clips, frames: How many in all.
        annotated, labelled: Clips with at least one annotated frame, and those whose masks training may use.
        frame_shape: Height and width in the artifact, px.
        visibility: Deciles 10, 50 and 90 of the annotated frames' CNR; NaN where none could be measured.
        warnings: What a user should look at.
        skipped: Recordings that were left out, and why.
    """

    path: Path
    patients: Mapping[str, tuple[str, ...]]
    clips: int
    frames: int
    annotated: int
    labelled: int
    frame_shape: tuple[int, int]
    visibility: tuple[float, float, float]
    warnings: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A few lines for the terminal."""
        height, width = self.frame_shape
        low, middle, high = self.visibility
        lines = [
            f"{self.path}: {self.clips} clips, {self.frames} frames of {height} x {width}",
            *(
                f"  {split}: {len(names)} patients ({', '.join(names) or 'nobody'})"
                for split, names in self.patients.items()
            ),
            f"  annotated clips: {self.annotated}, labelled: {self.labelled}",
            f"  visibility (CNR), deciles 10/50/90: {low:.2f} / {middle:.2f} / {high:.2f}",
            *(f"  warning: {warning}" for warning in self.warnings),
            *(f"  skipped {which}" for which in self.skipped),
        ]
        return "\n".join(lines)


def write_source(
    path: str | Path,
    clips: Iterable[Clip],
    *,
    split: SplitConfig,
    seed: int,
    config: dict[str, Any],
    overwrite: bool = False,
    progress: bool = True,
    frame_shape: tuple[int, int] | None = None,
    intensity_max: int | None = None,
) -> Summary:
    """Write clips as a source artifact, one clip in memory at a time.

    A clip of a smaller range of pixel values is stretched to the artifact's (``Clip.rescaled``), which its
    ``source_scale`` records.

    Args:
        path: The artifact's name.
        clips: A folder scan, a list, or the simulator's iterator.
        split: Fractions.
        seed: Decides splits and labelled clips; also recorded.
        config: Settings to record, JSON types only.
        overwrite: Replace an existing artifact.
        progress: Show a bar.
        frame_shape: Height and width to pad to. Where it isn't given it is ``clips.frame_shape`` if there is
            one, the largest size where the clips can be gone through twice, and the first clip's size
            otherwise.
        intensity_max: Largest pixel value of the artifact. Where it isn't given it is ``clips.intensity_max`` if
            there is one, and the first clip's otherwise.

    Returns:
        What was written and what to look at.

    Raises:
        SourceError: No clips, no annotated frame, fewer than three patients, a name twice, or a clip beyond
            ``frame_shape`` or ``intensity_max``.
        ArtifactError: The file exists, or can't be written.
    """
    shape = frame_shape or _largest(clips)
    stream = iter(clips)
    first = next(stream, None)
    if first is None:
        raise SourceError(
            "there are no clips", file=path, remedy="check the folder or the simulator's settings"
        )
    top = intensity_max or getattr(clips, "intensity_max", None) or first.intensity_max
    table = _Table(path, shape or first.frame_shape, top)
    recorded = {**config, "split": asdict(split)}
    provenance = Provenance(seed=seed, config=recorded, parents={}, patients=())
    writer = ArtifactWriter(path, Kind.SOURCE, provenance, intensity_max=top, overwrite=overwrite)
    total = len(clips) if isinstance(clips, Sized) else None
    with writer:
        for clip in tqdm(chain([first], stream), "source", total, disable=not progress, unit="clip"):
            table.add(writer, clip)
        settled = table.settle(split, seed)
        table.write_columns(writer, settled)
        # who is in it is known only now that the stream has ended
        writer.provenance = replace(provenance, patients=tuple(sorted({clip.patient for clip, _ in settled})))
    return table.summary(settled)


def divide_anew(source: Artifact, out: Path, *, split: SplitConfig, seed: int) -> None:
    """Write the clips of a source artifact as another one, with another split and other labelled clips.

    Args:
        source: The artifact; a clip with masks has them, whether it was labelled there or not.
        out: The new one; one that is there is replaced.
        split: Of its patients.
        seed: Decides split and labelled clips where ``split`` names none; also recorded.

    Raises:
        SourceError: As :func:`settle`.
    """
    start, names, patients = (source.column(f"clips/{key}") for key in ("start", "name", "patient"))
    annotated = np.logical_or.reduceat(source.column("frames/annotated"), start)
    clips = [ClipMeta(str(n), str(p), "", bool(a)) for n, p, a in zip(names, patients, annotated, strict=True)]
    settled = settle(clips, split, seed)
    new: dict[str, Any] = {
        "clips/split": [clip.split for clip, _ in settled],
        "clips/labelled": np.array([labelled for _, labelled in settled], np.bool_),
    }
    recorded = {**source.config, "split": asdict(split)}
    provenance = Provenance(
        seed=seed, config=recorded, parents={"clips": source.content_hash}, patients=source.patients
    )
    with ArtifactWriter(
        out, Kind.SOURCE, provenance, intensity_max=source.intensity_max, overwrite=True
    ) as writer:
        for key in source.keys:
            for rows in [new[key]] if key in new else (block for _, block in source.blocks(key)):
                writer.append(key, rows)


def no_masks(path: Path, clips: int) -> SourceError:
    """The error of a data set without any label."""
    return SourceError(
        "no frame of any clip has a mask",
        file=path,
        expected="masks/<same stem>.png for at least one picture, or a file of labels",
        found=f"{clips} clips without",
        remedy="annotate some frames; without a labelled wire nothing can be learned about wires",
    )


class _ClipRow:
    """What is kept of a clip once its frames are written."""

    def __init__(self, clip: Clip, visibility: npt.NDArray[np.float32]) -> None:
        self.name, self.patient, self.origin, self.intensity = clip.name, clip.patient, clip.origin, clip.intensity
        self.length, self.frame_shape = len(clip), clip.frame_shape
        self.fps, self.spacing_mm, self.angles_deg = clip.fps, clip.spacing_mm, clip.angles_deg
        self.source_scale, self.source_offset, self.affine = clip.source_scale, clip.source_offset, clip.affine
        self.annotated = bool(clip.annotated.any())
        self.visibility = visibility


class _Table:
    """The clip table while frames stream past."""

    def __init__(self, path: str | Path, shape: tuple[int, int], intensity_max: int) -> None:
        self.path, self.shape, self.intensity_max = Path(path), shape, intensity_max
        self.clips: list[_ClipRow] = []
        self.visibility: list[npt.NDArray[np.float32]] = []

    def add(self, writer: ArtifactWriter, clip: Clip) -> None:
        """Write a clip's frames and remember the rest."""
        self._check(clip)
        clip = clip.rescaled(self.intensity_max)
        height, width = clip.frame_shape
        padding = ((0, 0), (0, self.shape[0] - height), (0, self.shape[1] - width))
        seen, known = np.full(len(clip), np.nan), clip.annotated
        ignore = np.zeros_like(clip.wire_mask) if clip.ignore is None else clip.ignore
        if known.any():  # measured before padding: repeated edge pixels have no noise of their own
            seen[known] = clip_visibility(clip.image[known], clip.wire_mask[known], ignore=ignore[known])
        block = max(1, PADDED_BYTES // (self.shape[0] * self.shape[1] * clip.image.itemsize))
        for begin in range(0, len(clip), block):  # a long clip of small frames may lie beside a huge one
            part = slice(begin, begin + block)
            writer.append("frames/image", np.pad(clip.image[part], padding, mode="edge"))
            writer.append("frames/wire_mask", np.pad(clip.wire_mask[part], padding))
            writer.append("frames/ignore", np.pad(ignore[part], padding))
        writer.append("frames/annotated", clip.annotated)
        writer.append("frames/visibility", seen.astype(np.float32))
        self.clips.append(_ClipRow(clip, seen.astype(np.float32)))

    def _check(self, clip: Clip) -> None:
        if any(clip.name == row.name for row in self.clips):
            raise SourceError("two clips of one name", file=self.path, key="name", found=clip.name)
        if clip.intensity_max > self.intensity_max:
            raise SourceError(
                f"clip {clip.name!r} has a larger range of pixel values than the artifact",
                key="intensity_max",
                expected=f"at most {self.intensity_max}",
                found=clip.intensity_max,
                remedy="pass intensity_max, the largest of all clips",
            )
        if clip.frame_shape[0] > self.shape[0] or clip.frame_shape[1] > self.shape[1]:
            raise SourceError(
                f"clip {clip.name!r} is larger than the frames of the artifact",
                key="frame_shape",
                expected=f"at most {self.shape}",
                found=clip.frame_shape,
                remedy="pass frame_shape, or clips that can be gone through twice",
            )

    def settle(self, split: SplitConfig, seed: int) -> list[tuple[ClipMeta, bool]]:
        """Split of every clip, and whether it is labelled."""
        if not any(row.annotated for row in self.clips):
            raise no_masks(self.path, len(self.clips))
        return settle([ClipMeta(row.name, row.patient, "", row.annotated) for row in self.clips], split, seed)

    def write_columns(self, writer: ArtifactWriter, settled: Sequence[tuple[ClipMeta, bool]]) -> None:
        """Write every column with one row a clip."""
        rows = self.clips
        lengths = np.array([row.length for row in rows], np.int64)
        sizes = np.array([row.frame_shape for row in rows], np.int64)
        writer.write("clips/name", [row.name for row in rows])
        writer.write("clips/patient", [row.patient for row in rows])
        writer.write("clips/start", np.cumsum(lengths) - lengths)
        writer.write("clips/length", lengths)
        writer.write("clips/split", [clip.split for clip, _ in settled])
        writer.write("clips/labelled", np.array([labelled for _, labelled in settled], np.bool_))
        writer.write("clips/fps", np.array([row.fps for row in rows], np.float32))
        writer.write("clips/spacing_mm", np.array([row.spacing_mm for row in rows], np.float32))
        writer.write("clips/height", sizes[:, 0])
        writer.write("clips/width", sizes[:, 1])
        # padding is at the bottom and the right, so that pixels keep their coordinates
        writer.write("clips/affine", np.array([row.affine for row in rows], np.float64))
        writer.write("clips/origin", [row.origin for row in rows])
        writer.write("clips/intensity", [row.intensity for row in rows])
        writer.write("clips/source_scale", np.array([row.source_scale for row in rows], np.float64))
        writer.write("clips/source_offset", np.array([row.source_offset for row in rows], np.float64))
        writer.write("clips/angles_deg", np.array([row.angles_deg for row in rows], np.float32))

    def summary(self, settled: Sequence[tuple[ClipMeta, bool]]) -> Summary:
        """What the user is told."""
        known = np.concatenate([row.visibility for row in self.clips])
        known = known[np.isfinite(known)]
        deciles = np.quantile(known, (0.1, 0.5, 0.9)) if known.size else np.full(3, np.nan)
        return Summary(
            path=self.path,
            patients={
                which: tuple(sorted({clip.patient for clip, _ in settled if clip.split == which})) for which in SPLITS
            },
            clips=len(self.clips),
            frames=sum(row.length for row in self.clips),
            annotated=sum(row.annotated for row in self.clips),
            labelled=sum(labelled for _, labelled in settled),
            frame_shape=self.shape,
            visibility=(float(deciles[0]), float(deciles[1]), float(deciles[2])),
            warnings=tuple(self._warnings([clip for clip, _ in settled])),
        )

    def _warnings(self, clips: Sequence[ClipMeta]) -> Iterator[str]:
        for row in self.clips:
            if np.isfinite(row.visibility).any() and float(np.nanmedian(row.visibility)) < 0:
                yield (
                    f"clip {row.name!r}: the labelled wire is brighter than its surroundings; "
                    "if the run's grey values are inverted, invert its pictures"
                )
        known = {clip.split for clip in clips if clip.annotated}
        bare = [which for which in SPLITS if which not in known and any(clip.split == which for clip in clips)]
        if bare:
            who = ", ".join(sorted({clip.patient for clip in clips if clip.annotated and clip.split == "train"}))
            yield (
                f"no annotated clip in {' and '.join(bare)}: the patients with masks ({who}) train, so nothing can be "
                "measured there against labels"
            )


def _largest(clips: Iterable[Clip]) -> tuple[int, int] | None:
    """Largest height and width, None where it can't be known before the stream ends."""
    shape = getattr(clips, "frame_shape", None)
    if shape is not None:
        return int(shape[0]), int(shape[1])
    if isinstance(clips, Iterator):
        return None
    sizes = np.array([clip.frame_shape for clip in clips])
    return (int(sizes[:, 0].max()), int(sizes[:, 1].max())) if len(sizes) else None
