"""The one thing that every source yields: a clip of consecutive frames with its wire masks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one run of one patient.

    Args:
        name: Unique within a data set, ``<patient>/<run>``.
        patient: Whom the run shows; the unit of every split.
        image: (T, H, W) uint8 or uint16, linear detector signal 0..intensity_max, the wire dark.
        wire_mask: (T, H, W) uint8, 1 on the wire; all 0 in frames without annotation.
        annotated: (T,) bool, whether somebody marked the wire in this frame.
        fps: Frames a second, NaN where unknown.
        spacing_mm: Pixel spacing in the isocentre plane, mm, NaN where unknown.
        intensity_max: The largest value the detector can give.

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

    def __post_init__(self) -> None:
        """Check every field; a clip that exists is sound."""
        self._check_names()
        self._check_image()
        self._check_labels()
        for key, number in (("fps", self.fps), ("spacing_mm", self.spacing_mm)):
            if not (np.isnan(number) or (np.isfinite(number) and number > 0)):
                raise self._error(f"the clip's {key} must be a positive number", key, "> 0 or NaN", number)

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
