"""PNG folders in the layout that ``sfvd data import`` reads: importing them gives the same clips."""

from pathlib import Path

import numpy as np

from sfvd_pl.export.clips import Item
from sfvd_pl.export.folder import clip_path, meta_of, write_json, write_png


class FramesExport:
    """``<patient>/<run>/images/00000.png``, ``masks/`` of the annotated frames (255 on the wire), ``meta.json``.

    A clip with pixels to ignore has ``ignore/`` beside its masks, 255 on these pixels.

    Args:
        folder: To write into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, item: Item) -> None:
        """Write one clip."""
        clip, run = item.clip, clip_path(self.folder, item.clip.name)
        (run / "images").mkdir(parents=True)
        for k, frame in enumerate(clip.image):
            write_png(run / "images" / f"{k:05d}.png", frame)
        for folder, values in (("masks", clip.wire_mask), ("ignore", clip.ignore)):
            if values is None or not clip.annotated.any() or (folder == "ignore" and not values.any()):
                continue
            (run / folder).mkdir()
            for k in np.flatnonzero(clip.annotated).tolist():
                write_png(run / folder / f"{k:05d}.png", values[k] * 255)
        write_json(run / "meta.json", meta_of(clip, known_origin=not item.generated))

    def finish(self) -> list[str]:
        """Nothing belongs to all of them."""
        return []
