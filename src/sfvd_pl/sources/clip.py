"""The one thing that every source yields: a clip of consecutive frames with its wire masks."""

import math
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError

Intensity = Literal["linear", "log", "display", "unknown"]
"""What pixel values are linear in: the X-ray intensity, its logarithm, nothing known after the console's display
processing, or unknown."""
INTENSITIES: tuple[str, ...] = get_args(Intensity)
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one run of one patient.

    Args:
        name: Unique within a data set, ``<patient>/<run>``.
        patient: Whom the run shows; the unit of every split.
        image: (T, H, W) uint8 or uint16, detector signal 0..intensity_max, the wire dark.
        wire_mask: (T, H, W) uint8, 1 on the wire; all 0 in frames without annotation.
        annotated: (T,) bool, whether somebody marked the wire in this frame.
        fps: Frames a second, NaN where unknown.
        spacing_mm: Pixel spacing in the isocentre plane, mm, NaN where unknown.
        intensity_max: The largest value the detector can give.
        origin: Kind of file it came from, e.g. ``frames`` or ``dicom``.
        intensity: What the pixel values are linear in.
        source_scale, source_offset: The value in the source file is source_scale * pixel + source_offset, rounded
            where the source holds integers. A negative scale: the pictures were inverted to make the wire dark.
        angles_deg: C-arm angles, primary (LAO positive) and secondary (cranial positive), degrees, NaN unknown.
        affine: Rows of the 2x3 matrix that maps a pixel (x, y, 1) of ``image`` to the pixel (x, y) of the source.
        ignore: (T, H, W) uint8, 1 where nobody knows whether there is a wire, never on the wire; None is nowhere.

    Raises:
        SourceError: A shape, type or value breaks the description above.
    """

    name: str
    patient: str
    image: Pixels
    wire_mask: npt.NDArray[np.uint8]
    annotated: npt.NDArray[np.bool_]
    fps: float
    spacing_mm: float
    intensity_max: int
    origin: str = "frames"
    intensity: Intensity = "unknown"
    source_scale: float = 1.0
    source_offset: float = 0.0
    angles_deg: tuple[float, float] = (math.nan, math.nan)
    affine: tuple[tuple[float, float, float], tuple[float, float, float]] = IDENTITY
    ignore: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        """Check every field; a clip that exists is sound."""
        self._check_names()
        self._check_image()
        self._check_labels()
        for key, number in (("fps", self.fps), ("spacing_mm", self.spacing_mm)):
            if not (np.isnan(number) or (np.isfinite(number) and number > 0)):
                raise self._error(f"the clip's {key} must be a positive number", key, "> 0 or NaN", number)
        self._check_origin()

    def rescaled(self, intensity_max: int) -> "Clip":
        """The same clip with another, not smaller ``intensity_max``: every pixel times the ratio, rounded.

        ``source_scale`` follows, so source_scale * pixel + source_offset, rounded, still gives the source's values.

        Raises:
            SourceError: The new range is smaller, and values would be lost.
        """
        if intensity_max == self.intensity_max:
            return self
        if not self.intensity_max < intensity_max <= 65535:
            found = f"{self.intensity_max} to {intensity_max}"
            raise self._error("its values don't fit", "intensity_max", f"{self.intensity_max}..65535", found)
        ratio = intensity_max / self.intensity_max
        dtype = np.uint8 if intensity_max <= 255 else np.uint16
        image = np.empty(self.image.shape, dtype)
        for k, frame in enumerate(self.image):  # one by one: all frames in double precision may not fit
            image[k] = np.rint(frame * ratio)
        scale = self.source_scale / ratio
        return replace(self, image=cast(Pixels, image), intensity_max=intensity_max, source_scale=scale)

    def inverted(self) -> "Clip":
        """The same clip with bright for dark, for sources in which the wire is bright."""
        image = cast(Pixels, (self.intensity_max - self.image).astype(self.image.dtype, copy=False))
        offset = self.source_offset + self.source_scale * self.intensity_max
        return replace(self, image=image, source_scale=-self.source_scale, source_offset=offset)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.image.shape[1]), int(self.image.shape[2])

    def __len__(self) -> int:
        """Number of frames T."""
        return int(self.image.shape[0])

    def _error(self, message: str, key: str, expected: object, found: object) -> SourceError:
        return SourceError(f"clip {self.name!r}: {message}", key=key, expected=expected, found=found)

    def _check_names(self) -> None:
        if not self.patient:
            raise self._error("a clip needs a patient", "patient", "a non-empty name", repr(self.patient))
        if not self.name.startswith(f"{self.patient}/") or len(self.name) <= len(self.patient) + 1:
            raise self._error("its name must be <patient>/<run>", "name", f"{self.patient}/<run>", self.name)

    def _check_origin(self) -> None:
        if not self.origin:
            raise self._error("a clip comes from somewhere", "origin", "a kind of file", repr(self.origin))
        if self.intensity not in INTENSITIES:
            raise self._error("unknown meaning of its pixels", "intensity", INTENSITIES, self.intensity)
        if not (math.isfinite(self.source_scale) and self.source_scale != 0):
            raise self._error("its pixels can't be undone", "source_scale", "finite, not 0", self.source_scale)
        if not math.isfinite(self.source_offset):
            raise self._error("its pixels can't be undone", "source_offset", "finite", self.source_offset)
        if len(self.angles_deg) != 2 or not all(math.isnan(a) or abs(a) <= 180 for a in self.angles_deg):
            raise self._error("no such C-arm angles", "angles_deg", "two of -180..180 or NaN", self.angles_deg)
        affine = np.asarray(self.affine, float)
        if affine.shape != (2, 3) or not np.isfinite(affine).all() or np.linalg.det(affine[:, :2]) == 0:
            raise self._error("no map back to the source", "affine", "an invertible 2x3 matrix", self.affine)

    def _check_image(self) -> None:
        if self.image.ndim != 3 or min(self.image.shape) < 1:
            raise self._error("image must hold frames", "image", "axes (T, H, W)", self.image.shape)
        if self.image.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise self._error("wrong type of pixel", "image", "uint8 or uint16", self.image.dtype)
        top = int(np.iinfo(self.image.dtype).max)
        if not 1 <= self.intensity_max <= top:
            raise self._error("intensity_max doesn't fit", "intensity_max", f"1..{top}", self.intensity_max)
        if int(self.image.max()) > self.intensity_max:
            found = int(self.image.max())
            raise self._error("pixels exceed intensity_max", "image", f"<= {self.intensity_max}", found)

    def _check_labels(self) -> None:
        if self.wire_mask.dtype != np.uint8 or self.wire_mask.shape != self.image.shape:
            found = f"{self.wire_mask.dtype} {self.wire_mask.shape}"
            raise self._error("masks must match", "wire_mask", f"uint8 {self.image.shape}", found)
        if int(self.wire_mask.max()) > 1:
            raise self._error("masks are binary", "wire_mask", "0 or 1", int(self.wire_mask.max()))
        if self.annotated.dtype != np.bool_ or self.annotated.shape != self.image.shape[:1]:
            found = f"{self.annotated.dtype} {self.annotated.shape}"
            raise self._error("one flag a frame", "annotated", f"bool {self.image.shape[:1]}", found)
        if bool(self.wire_mask[~self.annotated].any()):
            message = "a frame that isn't annotated has wire pixels"
            raise self._error(message, "wire_mask", "all 0 where annotated is False", "wire pixels")
        if self.ignore is None:
            return
        if self.ignore.dtype != np.uint8 or self.ignore.shape != self.image.shape:
            found = f"{self.ignore.dtype} {self.ignore.shape}"
            raise self._error("pixels to ignore must match", "ignore", f"uint8 {self.image.shape}", found)
        if bool((self.ignore > 1 - self.wire_mask).any()):
            raise self._error("no such pixels to ignore", "ignore", "1 or 0, and 0 on the wire", "other values")
