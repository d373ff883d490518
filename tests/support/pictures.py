"""Folders of pictures, as a user brings them."""

from pathlib import Path

import numpy as np
from PIL import Image

from sfvd_pl.sources import Clip


def write_pictures(folder: Path, clip: Clip, *, masks: bool = True, frames: int = 2) -> Path:
    """A run of pictures under ``folder``; names that are not numbers from 0."""
    run = folder / clip.name
    for kind, stack in (("images", clip.image), ("masks", clip.wire_mask * 255)):
        if kind == "images" or masks:
            (run / kind).mkdir(parents=True)
            for frame in range(frames):
                Image.fromarray(stack[frame]).save(run / kind / f"shot-{frame + 7}.png")
    return run


def blank(shape: tuple[int, int]) -> Image.Image:
    """A black picture."""
    return Image.fromarray(np.zeros(shape, np.uint8))
