"""A run of DICOM files and the settings by which it is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip, Pixels
from sfvd_pl.sources.dicom.geometry import Crop
from sfvd_pl.sources.dicom.header import open_dicom
from sfvd_pl.sources.dicom.layout import Layout, read_layout
from sfvd_pl.sources.dicom.pixels import decode
from sfvd_pl.sources.dicom.values import ValueMap
from sfvd_pl.sources.recording import MAX_BYTES


@dataclass(frozen=True)
class DicomConfig:
    """How DICOM files become clips.

    Args:
        voi: ``ignore`` keeps the values as the detector or console stored them; ``apply`` gives what a viewer shows
            first (window or VOI table), which can't be undone.
        crop_shutter: Cut each frame to the bounding rectangle of its shutter.
        join_series: Make one clip of a series' single-frame files, in the order of InstanceNumber.
        patients: ``header`` tells patients apart by PatientID (else name and birth date, else study). ``folder``
            goes by the first folder below the one that holds all files, for sets whose headers were all given one
            ID.
        any_modality: Take files of other modalities than XA and RF.
        allow_burned_in: Take files that say that text is burnt into their pixels.
        max_clip_bytes: Largest clip, bytes of pixels; what a file can make this program allocate.

    Raises:
        SourceError: A value that isn't among these.
    """

    voi: Literal["ignore", "apply"] = "ignore"
    crop_shutter: bool = True
    join_series: bool = True
    patients: Literal["header", "folder"] = "header"
    any_modality: bool = False
    allow_burned_in: bool = False
    max_clip_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        """Check the values."""
        for key, choices in (("voi", ("ignore", "apply")), ("patients", ("header", "folder"))):
            if getattr(self, key) not in choices:
                raise SourceError("no such choice", key=key, expected=choices, found=getattr(self, key))
        if self.max_clip_bytes < 1:
            found = self.max_clip_bytes
            raise SourceError("no clip would fit", key="max_clip_bytes", expected="at least 1", found=found)


@dataclass(frozen=True)
class DicomRun:
    """One run of one patient, not yet read: a multi-frame file, or single frames of one series.

    Args:
        name: ``<patient>/<run>``, both pseudonyms.
        patient: ``p-`` and ten digits.
        files: In the order of their frames.
        layouts: What the pixels of each file look like.
        values: How stored values become pixels.
        crop: The part of each frame that is kept.
        fps: Hz, NaN where unknown.
        spacing_mm: mm, NaN where unknown.
        angles_deg: Primary and secondary C-arm angle, NaN where unknown.
        notes: What a user may want to know, without any text of the header.
        max_clip_bytes: As in the settings.
    """

    name: str
    patient: str
    files: tuple[Path, ...]
    layouts: tuple[Layout, ...]
    values: ValueMap
    crop: Crop
    fps: float
    spacing_mm: float
    angles_deg: tuple[float, float]
    notes: tuple[str, ...]
    max_clip_bytes: int

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width, px, within the shutter."""
        return self.crop.height, self.crop.width

    @property
    def intensity_max(self) -> int:
        """Largest pixel value there can be."""
        return self.values.intensity_max

    def __len__(self) -> int:
        """Number of frames."""
        return sum(layout.frames for layout in self.layouts)

    def read(self) -> Clip:
        """Decode every frame.

        Raises:
            SourceError: A file can't be decoded, or isn't any more what it was when it was found.
        """
        dtype = np.uint8 if self.intensity_max <= 255 else np.uint16
        image: npt.NDArray[Any] | None = None
        done = 0
        for path, layout in zip(self.files, self.layouts, strict=True):
            for frame in self._frames(path, layout):
                if image is None:  # no memory before the first file turned out to hold what it says
                    image = np.empty((len(self), *self.frame_shape), dtype)
                image[done] = frame
                done += 1
        assert image is not None and done == len(self)
        return Clip(
            name=self.name,
            patient=self.patient,
            image=cast(Pixels, image),
            wire_mask=np.zeros(image.shape, np.uint8),
            annotated=np.zeros(len(image), np.bool_),
            fps=self.fps,
            spacing_mm=self.spacing_mm,
            intensity_max=self.intensity_max,
            origin="dicom",
            intensity=self.values.intensity,
            source_scale=self.values.scale,
            source_offset=self.values.offset,
            angles_deg=self.angles_deg,
            affine=self.crop.affine,
        )

    def _frames(self, path: Path, layout: Layout) -> Iterator[npt.NDArray[Any]]:
        """Pixels of each frame of one file, cropped."""
        rows = slice(self.crop.top, self.crop.top + self.crop.height)
        columns = slice(self.crop.left, self.crop.left + self.crop.width)
        with open_dicom(path, self.max_clip_bytes) as (stream, header):
            if read_layout(header, self.max_clip_bytes) != layout:
                raise SourceError("the file changed after it was found", file=path, remedy="start again")
            for frame in decode(stream, header, layout):
                yield self.values.pixels(frame[rows, columns])
