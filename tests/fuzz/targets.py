"""The ways in that are fuzzed: a valid corpus for each kind of file, and what reads it."""

import json
from functools import partial
from pathlib import Path

import numpy as np
from artifact_samples import columns_of, write_artifact
from harness import Target
from PIL import Image

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.errors import ArtifactError

FRAMES, HEIGHT, WIDTH = 3, 24, 32
PATIENTS = ("p1", "p2", "p3")


def frames_of(seed: int, top: int = 255) -> np.ndarray:
    """A small clip (T, H, W) with a dark wire on a noisy ground."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.5, 0.03, (FRAMES, HEIGHT, WIDTH))
    image[:, 4:20, 10:12] -= 0.25
    return np.rint(np.clip(image, 0, 1) * top).astype(np.uint8 if top <= 255 else np.uint16)


def _mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:20, 10:12] = 255
    return mask


def build_folders(folder: Path, *, masks: bool = True, spoil: str = "*", suffix: str = ".png") -> list[Path]:
    """Three patients in the layout of folders; the second one's files may be spoilt."""
    for number, patient in enumerate(PATIENTS):
        run = folder / patient / "r1"
        (run / "images").mkdir(parents=True)
        for k, frame in enumerate(frames_of(number, 1023 if suffix == ".tif" else 255)):
            Image.fromarray(frame).save(run / "images" / f"{k:03d}{suffix}")
            if masks or number != 1:
                (run / "masks").mkdir(exist_ok=True)
                Image.fromarray(_mask()).save(run / "masks" / f"{k:03d}.png")
        meta = {"fps": 15, "pixel_spacing_mm": 0.3, "intensity": "linear", "angles_deg": [30, -20], "source_scale": 0.5,
                "source_offset": 3, "affine": [[1, 0, 4], [0, 1, 2]], "origin": "dicom", "inverted": False}  # fmt: skip
        (run / "meta.json").write_text(json.dumps(meta))
    return sorted((folder / "p2").rglob(spoil))


def read_artifact(data: Path, out: Path) -> list[Path]:
    """Everything that the program reads of an artifact; a column that can't be read is as good as a broken file."""
    path = next(data.glob("*.h5"))
    artifact = Artifact.open(path)
    for key in artifact.keys:
        artifact.column(key)
    for clip in range(artifact.n_clips):
        if "frames/image" in artifact.keys:
            artifact.clip_rows("frames/image", clip)
    problems = verify(path)
    if problems:
        raise ArtifactError("the artifact does not hold", file=path, found=problems[0])
    return [path]


def build_artifact(folder: Path, kind: Kind) -> list[Path]:
    """One small artifact."""
    return [write_artifact(folder / f"{kind.value}.h5", kind, columns_of(kind))]


HDF5 = [Target(f"hdf5-{kind.value}", partial(build_artifact, kind=kind), read_artifact) for kind in Kind]
