"""Which frames of a source artifact may be used for what."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from numpy.typing import NDArray

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.courses import MIN_WIRE_PIXELS, course_width
from sfvd_pl.errors import SourceError
from sfvd_pl.metrics.visibility import wire_attenuation

STATISTICS_FRAMES = 256
"""Frames read for the intensity statistics: enough for three digits."""


@dataclass(frozen=True)
class Intensity:
    """Mean and standard deviation of the detector signal in 0..1 over the training patients."""

    mean: float
    std: float


class ClipIndex:
    """The clips of one split of a source, with what is known of their labels.

    Args:
        path: The source artifact.
        split: ``train``, ``val`` or ``test``.
        labels: ``labelled`` uses the masks of labelled clips only; ``annotated`` those of every annotated clip,
            for measuring instruments that are not subject to the labelled fraction.
    """

    def __init__(self, path: Path | str, split: str, labels: str = "labelled") -> None:
        self.artifact = Artifact.open(Path(path), Kind.SOURCE)
        column = self.artifact.column
        in_split = column("clips/split") == split
        self.clips: NDArray[np.int64] = np.flatnonzero(in_split)
        self.start = column("clips/start")
        self.length = column("clips/length")
        self.height = column("clips/height")
        self.width = column("clips/width")
        self.name = column("clips/name")
        self.patient = column("clips/patient")
        usable = column("clips/labelled") if labels == "labelled" else np.ones(len(self.start), bool)
        clip_of_frame = np.repeat(np.arange(len(self.start)), self.length)
        self.label_known: NDArray[np.bool_] = column("frames/annotated") & usable[clip_of_frame]
        self.clip_of_frame = clip_of_frame
        self.split = split

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients of the split, sorted."""
        return tuple(sorted({str(name) for name in self.patient[self.clips]}))

    @property
    def labelled_rows(self) -> NDArray[np.int64]:
        """Rows of the frames table, in this split, whose masks may be used."""
        return np.flatnonzero(self.label_known & np.isin(self.clip_of_frame, self.clips))

    def require_labels(self) -> None:
        """Raise a SourceError where the split has no usable mask."""
        if len(self.labelled_rows) == 0:
            raise SourceError(
                "no labelled clip to learn from",
                file=self.artifact.path,
                key=f"clips of split {self.split!r}",
                expected="at least one labelled clip with a wire mask",
                found=f"{len(self.clips)} clips, none labelled",
                remedy="add masks, or raise the labelled fraction",
            )

    def image(self, clip: int, offsets: NDArray[np.int64]) -> Float[np.ndarray, "T H W"]:
        """Some frames of a clip in 0..1, within the clip's valid extent."""
        return self.pixels(clip, offsets).astype(np.float32) / self.artifact.intensity_max

    def pixels(
        self, clip: int, offsets: NDArray[np.int64]
    ) -> UInt8[np.ndarray, "T H W"] | UInt16[np.ndarray, "T H W"]:
        """The same frames as integers, ``T H W``, 0 to the artifact's ``intensity_max``."""
        return self._frames("frames/image", clip, offsets)

    def wire_mask(self, clip: int, offsets: NDArray[np.int64]) -> UInt8[np.ndarray, "T H W"]:
        """Their masks, empty where the label is not to be known."""
        mask = self._frames("frames/wire_mask", clip, offsets)
        return mask * self.known(clip, offsets)[:, None, None].astype(np.uint8)

    def ignore(self, clip: int, offsets: NDArray[np.int64]) -> UInt8[np.ndarray, "T H W"]:
        """1 where nobody knows whether these frames show a wire, within the clip's valid extent."""
        return self._frames("frames/ignore", clip, offsets).astype(np.uint8)

    def known(self, clip: int, offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether their masks may be used."""
        known: NDArray[np.bool_] = self.label_known[self.start[clip] + offsets]
        return known

    def _frames(self, key: str, clip: int, offsets: NDArray[np.int64]) -> NDArray[np.generic]:
        first, last = int(offsets.min()), int(offsets.max())
        block = self.artifact.clip_rows(key, clip, first, last - first + 1)
        return block[offsets - first, : self.height[clip], : self.width[clip]]

    def labelled_runs(self, frames: int) -> list[tuple[int, int]]:
        """(clip, first frame) of every stretch of ``frames`` frames with a labelled wire in each."""
        runs = []
        for clip in (int(c) for c in self.clips):
            offsets = np.arange(int(self.length[clip]))
            known = self.known(clip, offsets)
            if known.any():
                good = known & (self.wire_mask(clip, offsets).sum((1, 2)) >= MIN_WIRE_PIXELS)
                starts = range(len(offsets) - frames + 1)
                runs += [(clip, first) for first in starts if good[first : first + frames].all()]
        return runs

    def wire_width_px(self) -> float:
        """Typical width of the labelled wires: area over length, at least a pixel.

        Raises:
            SourceError: No labelled frame shows a wire.
        """
        widths = [course_width(mask) for _, _, mask in self._labelled_frames() if mask.any()]
        if not widths:
            raise self._no_wire("frames/wire_mask", "a labelled frame with a wire")
        return max(1.0, float(np.median(widths)))

    def labelled_attenuation(self) -> Float[np.ndarray, " C"]:
        """Attenuation of the wire in each labelled clip, median over up to 32 frames of all clips.

        Raises:
            SourceError: None is darker than what surrounds it.
        """
        found: dict[int, list[float]] = {}
        for clip, image, mask in self._labelled_frames():
            found.setdefault(clip, []).append(wire_attenuation(image[0], mask[0]))
        clips = np.array([np.nanmedian(values) for values in found.values() if np.isfinite(values).any()])
        if not (clips > 0).any():
            raise self._no_wire("frames/wire_mask", "a wire that is darker than what surrounds it")
        return clips[clips > 0]

    def _labelled_frames(self) -> Iterator[tuple[int, Float[np.ndarray, "1 H W"], UInt8[np.ndarray, "1 H W"]]]:
        """Up to 32 labelled frames, spread evenly, with their clips and masks."""
        rows = self.labelled_rows
        for row in rows[np.linspace(0, len(rows) - 1, min(32, len(rows))).astype(int)]:
            clip = int(self.clip_of_frame[row])
            offset = np.array([row - self.start[clip]])
            yield clip, self.image(clip, offset), self.wire_mask(clip, offset)

    def _no_wire(self, key: str, expected: str) -> SourceError:
        return SourceError(
            "the labelled frames show no wire that could be measured",
            file=self.artifact.path,
            key=key,
            expected=expected,
            found="none",
            remedy="check that the masks lie on their wires and have more than a few pixels",
        )

    def intensity(self) -> Intensity:
        """Statistics of the split's detector signal, from frames spread evenly over it."""
        rows = np.flatnonzero(np.isin(self.clip_of_frame, self.clips))
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), STATISTICS_FRAMES)).astype(int)]
        count, total, squares = 0, 0.0, 0.0
        for row in rows:
            clip = int(self.clip_of_frame[row])
            frame = self.image(clip, np.array([row - self.start[clip]])).astype(np.float64)
            count += frame.size
            total += float(frame.sum())
            squares += float(np.square(frame).sum())
        mean = total / count
        std = float(np.sqrt(max(squares / count - mean**2, 0.0)))
        if std < 1e-6:
            raise SourceError(
                "the training frames are constant",
                file=self.artifact.path,
                key="frames/image",
                expected="pictures with contrast",
                found=f"standard deviation {std:.2g}",
            )
        return Intensity(mean, std)
