"""Recordings that are already read: kept beside the artifact to be, so that a cut-off import goes on."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts.provenance import canonical_json
from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.recording import Recording

_FACTS = (
    "name", "patient", "fps", "spacing_mm", "intensity_max", "origin", "intensity", "source_scale", "source_offset",
    "angles_deg", "affine",
)  # fmt: skip


@lru_cache(maxsize=1)
def _code() -> str:
    """Digest of the code that reads sources: parts of other code aren't reused."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def part_key(recording: Recording, settings: Mapping[str, Any]) -> str:
    """Digest of everything that decides what a recording's part holds.

    Args:
        recording: Its name, and of each file path, size and time of change.
        settings: How it is read; JSON types only.

    Raises:
        SourceError: A file has gone.
    """
    files = []
    for path in recording.files:
        try:
            about = path.stat()
        except OSError as error:
            raise SourceError("a file has gone", file=path, found=error.strerror, remedy="start again") from error
        files.append([str(path.absolute()), about.st_size, about.st_mtime_ns])
    content = {"name": recording.name, "files": files, "settings": dict(settings), "code": _code()}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:32]


def save_part(path: Path, clip: Clip) -> None:
    """Write a clip, whole or not at all."""
    facts = json.dumps({key: getattr(clip, key) for key in _FACTS})  # NaN is fine: only load_part reads it
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.savez(
                file,
                image=clip.image,
                wire_mask=np.packbits(clip.wire_mask, axis=-1),
                ignore=np.packbits(np.zeros_like(clip.wire_mask) if clip.ignore is None else clip.ignore, axis=-1),
                annotated=clip.annotated,
                facts=np.frombuffer(facts.encode(), np.uint8),
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_part(path: Path) -> Clip:
    """Read a clip back.

    Raises:
        SourceError: The part is damaged; it is removed, so that the next attempt reads the recording again.
    """
    try:
        with np.load(path, allow_pickle=False) as part:
            facts = _facts(part)
            image = part["image"]
            wire_mask, ignore = (
                np.unpackbits(part[key], axis=-1, count=image.shape[2]) for key in ("wire_mask", "ignore")
            )
            return Clip(image=image, wire_mask=wire_mask, annotated=part["annotated"], ignore=ignore, **facts)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, SourceError) as error:
        path.unlink(missing_ok=True)
        raise SourceError(
            "a part of the import was damaged on disk and is removed",
            file=path,
            expected="the clip that was written",
            found=str(error)[:200],
            remedy="run the same command again: it reads that recording anew",
        ) from error


def _facts(part: Mapping[str, Any]) -> dict[str, Any]:
    facts = json.loads(bytes(part["facts"]))
    facts["angles_deg"] = tuple(facts["angles_deg"])
    facts["affine"] = tuple(tuple(row) for row in facts["affine"])
    return dict(facts)


@dataclass(frozen=True)
class Part:
    """What is known of a part without its pixels."""

    path: Path
    frame_shape: tuple[int, int]
    intensity_max: int
    annotated: bool
    origin: str

    @classmethod
    def open(cls, path: Path) -> "Part | None":
        """A part that is there and can be read; None otherwise."""
        try:
            with np.load(path, allow_pickle=False) as part:
                facts = _facts(part)
                annotated = bool(part["annotated"].any())
            shape = _npy_shape(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        return cls(path, (shape[-2], shape[-1]), int(facts["intensity_max"]), annotated, str(facts["origin"]))


def _npy_shape(path: Path) -> tuple[int, ...]:
    """Shape of the pictures, from their header."""
    with zipfile.ZipFile(path) as archive, archive.open("image.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, _ = read(file)
    return tuple(shape)


@dataclass(frozen=True)
class Parts:
    """Clips from parts, in order; one is in memory at a time, and they can be gone through again."""

    parts: Sequence[Part]

    def __iter__(self) -> Iterator[Clip]:
        """Read the parts in order."""
        for part in self.parts:
            yield load_part(part.path)

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.parts)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """The largest height and the largest width, px."""
        return max(part.frame_shape[0] for part in self.parts), max(part.frame_shape[1] for part in self.parts)

    @property
    def intensity_max(self) -> int:
        """The largest of all clips."""
        return max(part.intensity_max for part in self.parts)
