"""Small artifacts of every kind, made from a seed, and ways to damage them."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch.utils.data import Dataset

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.artifacts.contents import all_attributes
from sfvd_pl.artifacts.hashing import ColumnFacts, column_digest, combine, seal
from sfvd_pl.artifacts.layout import pack, read_attributes, set_attribute

Columns = dict[str, Any]
SIZE = (12, 10)


def provenance(**changes: Any) -> Provenance:
    """Provenance of the tests' artifacts, with some fields changed."""
    facts: dict[str, Any] = {
        "seed": 7,
        "config": {"steps": 3, "scale": 0.5},
        "parents": {"source": "a" * 64},
        "patients": ("p1", "p0"),
    }
    return Provenance(**(facts | changes))


def wire_masks(rng: np.random.Generator, n_frames: int, *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """One bright row a frame."""
    masks = np.zeros((n_frames, *size), dtype=np.uint8)
    masks[np.arange(n_frames), rng.integers(0, size[0], n_frames)] = 1
    return masks


def filmed(rng: np.random.Generator, lengths: list[int], *, pixel: str = "uint8") -> Columns:
    """The columns that every kind with pictures has."""
    n_frames, n_clips = sum(lengths), len(lengths)
    return {
        "frames/image": rng.integers(0, 256, (n_frames, *SIZE)).astype(pixel),
        "frames/wire_mask": wire_masks(rng, n_frames),
        "frames/annotated": np.ones(n_frames, dtype=bool),
        "frames/visibility": rng.normal(2, 1, n_frames).astype(np.float32),
        "clips/name": [f"p{clip}/run" for clip in range(n_clips)],
        "clips/patient": [f"p{clip}" for clip in range(n_clips)],
        "clips/start": np.cumsum([0, *lengths[:-1]]),
        "clips/length": np.array(lengths),
    }


def generated(ids: list[int]) -> Columns:
    """The columns that every generated kind has."""
    return {
        "clips/sample_id": np.array(ids),
        "clips/sample_seed": np.array(ids) * 11 + 5,
        "clips/requested_visibility": np.linspace(0, 3, len(ids), dtype=np.float32),
        "clips/mask_origin": ["simulated"] * len(ids),
        "clips/mask_source": [str(i) for i in ids],
        "clips/height": np.full(len(ids), 12),
        "clips/width": np.full(len(ids), 10),
    }


def unknown(columns: Columns) -> np.ndarray:
    """The row below each wire."""
    masks = columns["frames/wire_mask"]
    return np.roll(masks, 1, axis=1) & ~masks & 1


def columns_of(kind: Kind, *, seed: int = 0, lengths: list[int] | None = None) -> Columns:
    """All columns of a small artifact of any kind."""
    rng = np.random.default_rng(seed)
    lengths = lengths or [3, 5, 4]
    n_frames, n_clips = sum(lengths), len(lengths)
    columns = filmed(rng, lengths)
    if kind == Kind.SOURCE:
        columns |= {
            "frames/ignore": unknown(columns),
            "clips/split": ["train", "val", "test"][:n_clips],
            "clips/labelled": np.ones(n_clips, dtype=bool),
            "clips/fps": np.array([15, np.nan, 7.5][:n_clips], dtype=np.float32),
            "clips/spacing_mm": np.full(n_clips, np.nan, dtype=np.float32),
            "clips/height": np.array([12, 9, 12][:n_clips]),
            "clips/width": np.array([10, 10, 8][:n_clips]),
            "clips/affine": np.tile(np.eye(2, 3), (n_clips, 1, 1)),
            "clips/origin": ["frames", "dicom", "npy"][:n_clips],
            "clips/intensity": ["unknown", "log", "linear"][:n_clips],
            "clips/source_scale": np.array([1.0, -2.0, 0.25][:n_clips]),
            "clips/source_offset": np.array([0.0, 510.0, 3.0][:n_clips]),
            "clips/angles_deg": np.full((n_clips, 2), [30, np.nan], dtype=np.float32),
        }
        return columns
    if kind == Kind.SEGMENTATION:
        kept = {key: columns[key] for key in columns if key.startswith("clips/")}
        return kept | {
            "arms/name": ["real only", "real and synthetic"],
            "frames/probability": rng.random((2, n_frames, *SIZE)).astype(np.float16),
            "frames/source_frame": np.arange(n_frames) + 40,
            "clips/source_clip": np.arange(n_clips) + 6,
        }
    columns |= generated(list(range(20, 20 + n_clips)))
    if kind == Kind.SCENES:
        kept = {k: v for k, v in columns.items() if k.startswith("clips/") or k == "frames/wire_mask"}
        return kept | {
            "clips/scene": rng.integers(0, 256, (n_clips, *SIZE)).astype(np.uint8),
            "clips/measured_visibility": np.arange(n_clips, dtype=np.float32),
        }
    if kind == Kind.SYNTHETIC:
        columns |= {
            "clips/measured_visibility": np.full(n_clips, np.nan, dtype=np.float32),
            "clips/segmentation_scale": np.linspace(-1, 1, n_clips, dtype=np.float32),
            "frames/ignore": unknown(columns),
            "clips/background": ["p1/run" if clip > 1 else "" for clip in range(n_clips)],
            "clips/background_patient": ["p1" if clip > 1 else "" for clip in range(n_clips)],
            "clips/background_start": np.arange(n_clips),
            "clips/contrast": np.linspace(0.5, 2, n_clips, dtype=np.float32),
            "clips/attenuation_cnr": np.full(n_clips, np.nan, dtype=np.float32),
            "clips/hard": np.arange(n_clips) > 1,
            "clips/gate_dice": np.linspace(0, 1, n_clips, dtype=np.float32),
            "clips/accepted": np.arange(n_clips) > 0,
            "clips/reject_reason": ["wire not found", *[""] * (n_clips - 1)],
        }
    return columns


def write_artifact(path: Path, kind: Kind, columns: Columns, **options: Any) -> Path:
    """Write all columns at once."""
    with ArtifactWriter(path, kind, options.pop("provenance", provenance()), **options) as writer:
        for key, values in columns.items():
            writer.write(key, values)
    return path


def forge(path: Path, changes: Columns, attributes: dict[str, Any] | None = None) -> None:
    """Change columns or attributes of a whole artifact and make every digest and hash fit again."""
    artifact = Artifact.open(path)
    facts = dict(artifact.facts)
    with h5py.File(path, "r+") as file:
        for key, values in changes.items():
            file[key][...] = pack(artifact.schema.by_key[key], np.asarray(values))
            digest = column_digest(file[key][...])
            set_attribute(file[key], "sha256", digest)
            old = facts[key]
            facts[key] = ColumnFacts(key, old.dtype, old.shape, old.axes, old.unit, old.range, digest)
        for name, value in (attributes or {}).items():
            set_attribute(file, name, value)
        set_attribute(file, "content_hash", combine(read_attributes(file), facts.values()))
        set_attribute(file, "seal", seal(all_attributes(file)))


class FrameDataset(Dataset[np.ndarray]):
    """What a training set does: keeps an artifact and reads one random frame at a time."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __len__(self) -> int:
        return self.artifact.n_frames

    def __getitem__(self, row: int) -> np.ndarray:
        frame: np.ndarray = self.artifact.rows("frames/image", row, row + 1)[0]
        return frame
