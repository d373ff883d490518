"""DICOM multi-frame secondary captures that say what they are: derived or synthetic, for research.

Secondary capture and not XA: what an X-ray system has to say of its tube and its patient isn't known, or there is
neither. The masks are an overlay plane, which viewers draw over the picture, and ``<run>.labels.npy`` beside the file,
which keeps the frames apart that were annotated and show no wire.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfvd_pl import __version__
from sfvd_pl.export.clips import Item
from sfvd_pl.export.folder import annotated_frames, clip_path, require, write_json

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

BYTE, WORD = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.3"
"""SOP classes: multi-frame grayscale byte and word secondary capture."""
RELATIONS = {"linear": "LIN", "log": "LOG", "display": "DISP"}
OVERLAY = 0x6000
MEASURES = "sfvd-pl: nothing of the original header; pseudonym"


class DicomExport:
    """``<patient>/<run>.dcm``, uncompressed. UIDs are new, and the same for the same clip of the same artifact.

    Args:
        folder: To write into.
        content_hash: Of the artifact.

    Raises:
        ExportError: pydicom is missing.
    """

    def __init__(self, folder: Path, *, content_hash: str) -> None:
        require("pydicom", "dicom")
        self.folder = folder
        self.content_hash = content_hash
        self.count = 0

    def add(self, item: Item) -> None:
        """Write one clip."""
        clip = item.clip
        self.count += 1
        path = clip_path(self.folder, clip.name, ".dcm")
        dataset = self._described(item)
        _add_pixels(dataset, item)
        if clip.annotated.any():
            _add_overlay(dataset, item)
            np.save(path.with_suffix(".labels.npy"), clip.wire_mask, allow_pickle=False)
            write_json(path.with_suffix(".json"), {"annotated_frames": annotated_frames(clip)})
        dataset.save_as(path, enforce_file_format=True)

    def finish(self) -> list[str]:
        """Nothing belongs to all of them."""
        return []

    def _uid(self, *what: str) -> Any:
        from pydicom.uid import generate_uid

        return generate_uid(entropy_srcs=[self.content_hash, *what])

    def _described(self, item: Item) -> "Dataset":
        """Everything but the pixels."""
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian

        clip, ds = item.clip, Dataset()
        ds.SOPClassUID = BYTE if clip.intensity_max <= 255 else WORD
        ds.SOPInstanceUID = self._uid(clip.name, "instance")
        ds.StudyInstanceUID = self._uid(clip.patient, "study")
        ds.SeriesInstanceUID = self._uid(clip.name, "series")
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName = ds.PatientID = clip.patient[:64]
        ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", MEASURES
        for empty in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
                      "AccessionNumber", "PatientOrientation", "Laterality"):  # fmt: skip
            setattr(ds, empty, "")
        ds.Modality = "XA"
        ds.SeriesNumber, ds.InstanceNumber = self.count, 1
        ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "sfvd-pl", "sfvd data export", __version__
        ds.ImageType = ["DERIVED", "SECONDARY"]
        ds.ContentQualification = "RESEARCH"
        ds.BurnedInAnnotation = "NO"
        ds.SyntheticData = "YES" if item.synthetic else "NO"
        ds.ConversionType = "SYN" if item.synthetic else "WSD"
        made = "a model" if item.generated else "a simulator"
        shown = f"patient {item.shows}" if item.shows else "nobody"
        what = f"Synthetic clip, made by {made}, shows {shown}" if item.synthetic else "Derived from a recording"
        ds.SeriesDescription = f"{'SYNTHETIC' if item.synthetic else 'DERIVED'}, for research only"
        origin = f"{what}; sfvd-pl {__version__}, artifact {self.content_hash}, clip {clip.name}"
        ds.DerivationDescription = origin[:1024]
        return ds


def _add_pixels(ds: "Dataset", item: Item) -> None:
    from pydicom.tag import Tag
    from pydicom.valuerep import DSfloat

    clip, bits = item.clip, max(8, item.clip.intensity_max.bit_length())
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.NumberOfFrames, (ds.Rows, ds.Columns) = len(clip), clip.frame_shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (8 if bits == 8 else 16), bits, bits - 1
    ds.PresentationLUTShape = "IDENTITY"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.LossyImageCompression = "00"
    if clip.intensity in RELATIONS:
        ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = RELATIONS[clip.intensity], 1
    if not math.isnan(clip.spacing_mm):
        spacing = DSfloat(clip.spacing_mm, auto_format=True)
        ds.PixelSpacing = [spacing, spacing]
        ds.PixelSpacingCalibrationType, ds.PixelSpacingCalibrationDescription = "GEOMETRY", "in the isocentre plane"
    for keyword, angle in zip(("PositionerPrimaryAngle", "PositionerSecondaryAngle"), clip.angles_deg, strict=True):
        if not math.isnan(angle):
            setattr(ds, keyword, DSfloat(angle, auto_format=True))
    if not math.isnan(clip.fps):
        ds.FrameTime = DSfloat(1000.0 / clip.fps, auto_format=True)
        ds.CineRate = ds.RecommendedDisplayFrameRate = max(1, round(clip.fps))
        ds.FrameIncrementPointer = Tag("FrameTime")
    elif len(clip) > 1:
        ds.PageNumberVector = list(range(1, len(clip) + 1))
        ds.FrameIncrementPointer = Tag("PageNumberVector")
    pixels = clip.image.astype("<u1" if bits == 8 else "<u2").tobytes()
    ds.add_new("PixelData", "OB" if bits == 8 else "OW", pixels + b"\0" * (len(pixels) % 2))


def _add_overlay(ds: "Dataset", item: Item) -> None:
    """The masks, one bit a pixel, as overlay plane 6000 over all frames."""
    height, width = item.clip.frame_shape
    data = np.packbits(item.clip.wire_mask.reshape(-1), bitorder="little").tobytes()
    for element, vr, value in (
        (0x0010, "US", height),
        (0x0011, "US", width),
        (0x0015, "IS", len(item.clip)),
        (0x0022, "LO", "guidewire"),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0051, "US", 1),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x1500, "LO", "wire mask"),
        (0x3000, "OW", data + b"\0" * (len(data) % 2)),
    ):
        ds.add_new((OVERLAY, element), vr, value)
