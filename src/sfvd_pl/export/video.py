"""MP4 to look at: H.264 where the wheel has it, else MPEG-4; with the outline of the wire on request."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.export.clips import Item
from sfvd_pl.export.folder import clip_path, require
from sfvd_pl.report.overlay import fitting_scale, overlay, to_grey
from sfvd_pl.sources.clip import Clip

OVERLAY_PX = 512
"""Frames with an outline are enlarged to about this size: the line is one screen pixel wide."""
CODECS = ({"codec": "libx264", "crf": "14", "preset": "medium"}, {"codec": "mpeg4", "qscale": "2"})


class VideoExport:
    """``<patient>/<run>.mp4``: 8 bit over the artifact's whole range, so that brightness can be compared.

    Lossy, and therefore not for training. Odd sizes are padded by their last row or column, as the format wants.

    Args:
        folder: To write into.
        with_overlay: Draw the outline of the wire in annotated frames, and tint pixels to ignore.
        fps: Frames a second of clips that don't know theirs.

    Raises:
        ExportError: PyAV is missing.
    """

    def __init__(self, folder: Path, *, with_overlay: bool = False, fps: float = 15.0) -> None:
        require("av", "video")
        self.folder = folder
        self.with_overlay = with_overlay
        self.fps = fps
        self.codec = ""
        self.guessed = 0

    def add(self, item: Item) -> None:
        """Write one clip."""
        clip = item.clip
        rate = self.fps if math.isnan(clip.fps) else clip.fps
        self.guessed += math.isnan(clip.fps)
        self.codec = _encode(clip_path(self.folder, clip.name, ".mp4"), self._pictures(clip), rate, item)

    def finish(self) -> list[str]:
        """What a viewer should know."""
        lines = [f"encoded with {self.codec}: lossy, to look at"]
        if self.guessed:
            lines.append(f"{self.guessed} clips don't know their frame rate; they play at {self.fps:g} a second")
        return lines

    def _pictures(self, clip: Clip) -> npt.NDArray[np.uint8]:
        """(T, H, W) grey or (T, H, W, 3)."""
        window = (0, clip.intensity_max)
        if not self.with_overlay:
            return to_grey(clip.image, window)
        scale = fitting_scale(*clip.frame_shape, OVERLAY_PX)
        return overlay(clip.image, clip.wire_mask, ignore=clip.ignore, scale=scale, window=window)


def _encode(path: Path, pictures: npt.NDArray[np.uint8], fps: float, item: Item) -> str:
    """Write frames; returns the name of the codec."""
    import av

    height, width = pictures.shape[1:3]
    grow = ((0, 0), (0, height % 2), (0, width % 2), *[(0, 0)] * (pictures.ndim - 3))
    pictures = np.pad(pictures, grow, mode="edge")
    options: dict[str, Any] = next(dict(c) for c in CODECS if c["codec"] in av.codecs_available)
    codec = options.pop("codec")
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata["title"] = item.clip.name
        container.metadata["comment"] = "synthetic, made by sfvd-pl" if item.synthetic else "made by sfvd-pl"
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if picture.ndim == 2 else "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(codec)
