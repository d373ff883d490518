"""Video files: frames by PyAV, grey values, the container's frame rate."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.meta import Meta, read_meta
from sfvd_pl.sources.recording import MAX_BYTES, check_size
from sfvd_pl.sources.stacks import sidecar

SUFFIXES = (".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".wmv")
GREY_TOLERANCE = 24
"""Largest difference between the colours of a pixel, of 255, that a codec leaves in grey pictures. Both chromas six
off: 255/224 x 6 x (1.772 + 1.402) = 22."""
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,asf"
"""Containers that are opened; a playlist under a video's name would make FFmpeg open other files."""
LOST_FRAMES = 0.05
"""Share of the frames a container announces that may be missing: edit lists and repeated frames do that, no more."""


@dataclass(frozen=True)
class Video:
    """A video file, not yet read.

    Args:
        patient, name: Of the clip.
        path: The file.
        frame_shape: Height and width, px.
        intensity_max: 255, or 65535 where the codec has more than 8 bits; or what the sidecar says.
        meta: What ``<stem>.json`` says.
        meta_file: Where it says so, None without.
    """

    patient: str
    name: str
    path: Path
    frame_shape: tuple[int, int]
    intensity_max: int
    meta: Meta
    meta_file: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file and its sidecar."""
        return (self.path,) if self.meta_file is None else (self.path, self.meta_file)

    def read(self) -> Clip:
        """Decode every frame.

        Raises:
            SourceError: Damaged, cut short, in colour, frames of several sizes, or too long.
        """
        frames: list[npt.NDArray[Any]] = []
        fps = math.nan
        announced = 0
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            announced = int(stream.frames or 0)
            rate = stream.average_rate or stream.guessed_rate
            fps = float(rate) if rate else math.nan
            for frame in _decoded(self.path, container, stream):
                frames.append(self._grey(frame))
                if frames[-1].shape != self.frame_shape:
                    raise _error("its frames differ in size", self.path, self.frame_shape, frames[-1].shape)
                if len(frames) * frames[0].nbytes > MAX_BYTES:
                    check_size(self.path, len(frames), *self.frame_shape, frames[0].itemsize)
        if not frames or announced - len(frames) > max(2, LOST_FRAMES * announced):
            raise _error("the video is cut short", self.path, f"{announced or 'some'} frames", len(frames))
        image = np.stack(frames)
        top = self.intensity_max
        if int(image.max()) > top:
            raise _error("pixels exceed intensity_max", self.path, f"<= {top}", int(image.max()))
        return self.meta.clip(
            self.name, self.patient, image, origin="video", intensity_max=top, fps=fps, intensity="display"
        )

    def _grey(self, frame: Any) -> npt.NDArray[Any]:
        """(H, W): a grey format as it is, luma otherwise, after a look at the colours."""
        name = frame.format.name
        deep = _depth(frame.format) > 8
        if name in ("gray", "gray8"):
            return np.asarray(frame.to_ndarray())
        if name.startswith("gray"):
            return np.asarray(frame.to_ndarray(format="gray16le"), np.uint16)
        colour = frame.to_ndarray(format="rgb24")
        spread = int((colour.max(axis=2) - colour.min(axis=2)).max())
        if spread > GREY_TOLERANCE:
            raise _error(
                "a video in colour", self.path, f"colours at most {GREY_TOLERANCE} apart", f"up to {spread} apart"
            )
        if frame.format.is_rgb and not deep:
            return np.asarray(np.rint(colour.mean(axis=2)), np.uint8)
        grey = frame.to_ndarray(format="gray16le" if deep else "gray")
        return np.asarray(grey, np.uint16 if deep else np.uint8)


def scan_video(path: Path, name: str, patient: str) -> Video:
    """Read a video's header.

    Raises:
        SourceError: PyAV is missing, no video in it, or absurd dimensions.
    """
    with _opened(path) as container:
        context = container.streams.video[0].codec_context
        if context is None:
            raise _error("the video can't be read", path, "a codec that FFmpeg knows", "none")
        height, width = int(context.height or 0), int(context.width or 0)
        if context.format is None:
            raise _error("the video can't be read", path, "a known pixel format", context.name)
        deep = _depth(context.format) > 8
    check_size(path, 1, height, width, 4)
    meta = sidecar(path)
    known = read_meta(meta)
    top = known.intensity_max or (65535 if deep else 255)
    return Video(patient, name, path, (height, width), top, known, meta if meta.exists() else None)


def _depth(pixel_format: Any) -> int:
    return max((int(component.bits) for component in pixel_format.components), default=8)


def _opened(path: Path) -> Any:
    """An open container that has a video."""
    try:
        import av
    except ImportError as error:
        remedy = "pip install 'sfvd-pl[video]'"
        raise SourceError("reading video needs PyAV", file=path, expected="av", remedy=remedy) from error
    try:
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
        container = av.open(f"file:{path.resolve()}", mode="r", container_options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _error("the video can't be read", path, "a video file", str(error)) from error
    if not container.streams.video:
        container.close()
        raise _error("the file holds no video", path, "a video stream", "none")
    return container


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    import av

    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _error("the video is damaged", path, "a whole file", str(error)) from error
        yield frame


def _error(message: str, file: Path, expected: object, found: object) -> SourceError:
    remedy = "export the run again, as grey pictures if the video can't be mended"
    return SourceError(message, file=file, expected=expected, found=found, remedy=remedy)
