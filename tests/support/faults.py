"""Clean simulated clips, and the faults that a quality control has to find in them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image
from scipy import ndimage

from sfvd_pl.artifacts import Artifact
from sfvd_pl.metrics.quality.check import Check, CheckConfig
from sfvd_pl.sources import Clip, PhantomConfig, SplitConfig, simulate_clips, write_source
from sfvd_pl.sources.check.run import check_source

Frames = np.ndarray[Any, Any]
SPLIT = SplitConfig(val_fraction=0.25, test_fraction=0.25)


@lru_cache(maxsize=4)
def clean_clips(patients: int = 8, runs: int = 1, frames: int = 8, side: int = 80, seed: int = 0) -> tuple[Clip, ...]:
    """Simulated runs without any fault."""
    config = PhantomConfig(patients=patients, clips_per_patient=runs, frames=frames, height=side, width=side)
    return tuple(simulate_clips(config, seed))


def write_clips(path: Path, clips: Sequence[Clip], seed: int = 0, split: SplitConfig = SPLIT) -> Path:
    """Clips as a source."""
    write_source(path, list(clips), split=split, seed=seed, config={}, overwrite=True, progress=False)
    return path


def checked(path: Path, clips: Sequence[Clip], config: CheckConfig | None = None, seed: int = 0) -> Check:
    """What the quality control says of clips."""
    return check_source(write_clips(path, clips, seed), config)


def split_of(path: Path) -> dict[str, str]:
    """Split of each clip, read without the code under test."""
    artifact = Artifact.open(path)
    names, splits = artifact.column("clips/name"), artifact.column("clips/split")
    return dict(zip(names.tolist(), splits.tolist(), strict=True))


def with_image(clip: Clip, image: Frames, masks: Frames | None = None) -> Clip:
    """The clip with other pixels, rounded and clamped; all masks kept, or ``masks``, or none for another length."""
    pixels = np.clip(np.rint(image), 0, clip.intensity_max).astype(clip.image.dtype)
    if masks is None:
        masks = clip.wire_mask if pixels.shape == clip.image.shape else np.zeros(pixels.shape, np.uint8)
    return replace(clip, image=pixels, wire_mask=masks, annotated=masks.any(axis=(1, 2)))


def with_masks(clip: Clip, masks: Frames) -> Clip:
    """The clip with other masks."""
    return replace(clip, wire_mask=masks.astype(np.uint8))


# -- what may have been done to a copy ------------------------------------------------------------------------


def moved(image: Frames, rows: int = 3, columns: int = -4) -> Frames:
    """Shifted, the border repeated."""
    return ndimage.shift(image, (0, rows, columns), order=0, mode="nearest")


def zoomed(image: Frames, factor: float) -> Frames:
    """Enlarged about the centre by cubic splines (not by the code under test), the border repeated."""
    middle = (np.array(image.shape[1:]) - 1) / 2
    return np.stack(
        [
            ndimage.affine_transform(f, np.eye(2) / factor, middle - middle / factor, order=3, mode="nearest")
            for f in image
        ]
    )


def compressed(image: Frames, quality: int = 50) -> Frames:
    """Through JPEG and back."""
    frames = []
    for frame in np.clip(np.rint(image), 0, 255).astype(np.uint8):
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        frames.append(np.asarray(Image.open(buffer), float))
    return np.stack(frames)


def noisy(image: Frames, std: float = 0.03) -> Frames:
    """With noise of a share of full scale on top, of each clip's own."""
    return image + np.random.default_rng(crc32(image.tobytes())).normal(0, 255 * std, image.shape)


EDITS: dict[str, Callable[[Frames], Frames]] = {
    "exact": lambda image: image,
    "noise": noisy,
    "darker, less contrast": lambda image: 255 * (image / 255) ** 0.8 * 0.8 + 12,
    "shifted": moved,
    "mirrored": lambda image: image[:, :, ::-1],
    "upside down": lambda image: image[:, ::-1],
    "turned": lambda image: image[:, ::-1, ::-1],
    "a few frames": lambda image: image[2:6],
    "one frame": lambda image: image[4:5],  # on whose own there is no grain to compare
    "enlarged": lambda image: zoomed(image, 1.04),
    "shrunk": lambda image: zoomed(image, 0.95),
    "resampled": lambda image: ndimage.zoom(image, (1, 0.9, 0.9), order=1),
    "blurred": lambda image: ndimage.gaussian_filter(image, (0, 1, 1)),
    "JPEG": compressed,
    "several at once": lambda image: compressed(moved(noisy(image[:, :, ::-1] * 0.8 + 20, 0.015))),
}
"""What a copy may have gone through, each on (T, H, W) floats of 0..255."""
