"""The header of a DICOM file, read with care: only the elements that are needed, nothing larger than the file."""

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom.stream import (
    BIG_ENDIAN,
    DEFLATED,
    MAX_READS,
    ClippedFile,
    Unfolded,
    inflate,
    quiet,
    read_meta,
    require_pydicom,
)  # fmt: skip

IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""Elements that are read to be hashed; no other trace of them leaves this package."""
ELEMENTS = (
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "ImageType", "BurnedInAnnotation", "InstanceNumber"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelIntensityRelationship", "PixelIntensityRelationshipSign"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelSpacing", "PixelSpacingCalibrationType", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("DistanceSourceToDetector", "DistanceSourceToPatient", "EstimatedRadiographicMagnificationFactor"),
    *("FrameIncrementPointer", "FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"),
    *("PositionerPrimaryAngle", "PositionerSecondaryAngle"),
    *("ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
    *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge", "CenterOfCircularShutter"),
    *("RadiusOfCircularShutter", "VerticesOfThePolygonalShutter"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""Every other element that is read. What isn't listed here or above is skipped unread."""

_DIRECTORY = "1.2.840.10008.1.3.10"
_PIXELS = {0x7FE00010: "PixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00008: "FloatPixelData"}
_MAX_ITEMS, _MAX_SEQUENCE, _MAX_VALUE = 100_000, 8 * 2**20, 2**20
"""Of a sequence that is wanted: items and bytes; bytes of any other value, which beyond counts as malformed."""


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels lie.

    Args:
        keyword: Name of the element.
        vr: Its value representation, empty where the file doesn't say.
        length: Of its value, bytes; None where it is encapsulated.
        available: Bytes between its start and the end of the stream.
    """

    keyword: str
    vr: str
    length: int | None
    available: int


@dataclass(frozen=True, eq=False)
class Header:
    """One file's header. Each accessor gives an empty answer where an element is missing or malformed.

    Args:
        path: The file.
        dataset: pydicom's Dataset of the elements listed above.
        transfer_syntax: How the file is encoded, a UID.
        is_directory: Whether it is a DICOMDIR, an index of other files.
        pixels: Where the pixels lie; None where there are none.
    """

    path: Path
    dataset: Any
    transfer_syntax: str
    is_directory: bool
    pixels: PixelElement | None

    @property
    def is_little_endian(self) -> bool:
        """Order of the bytes of a number."""
        return self.transfer_syntax != BIG_ENDIAN

    def text(self, keyword: str) -> str:
        """A text; several values joined by backslashes."""
        return text_of(self.dataset, keyword)

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Finite numbers; none where one of them isn't."""
        return numbers_of(self.dataset, keyword)

    def number(self, keyword: str) -> float:
        """The first number, NaN where there is none."""
        values = self.numbers(keyword)
        return values[0] if values else math.nan

    def whole(self, keyword: str, default: int | None = None) -> int:
        """An integer that must be there unless there is a default.

        Raises:
            SourceError: It is missing, or isn't an integer.
        """
        values = self.numbers(keyword)
        if not values and default is not None and keyword not in self.dataset:
            return default
        if len(values) != 1 or values[0] != int(values[0]):
            raise SourceError(
                "the file doesn't say what its pixels look like",
                file=self.path,
                key=keyword,
                expected="an integer",
                found=self.text(keyword)[:80] or "nothing",
                remedy="export the file again",
            )
        return int(values[0])

    def places(self, *sequences: str) -> list[Any]:
        """Datasets in which an element of an enhanced multi-frame file may stand, the file's own first.

        Args:
            sequences: Names of functional groups, e.g. ``PositionerPositionSequence``.
        """
        groups = items_of(self.dataset, "SharedFunctionalGroupsSequence")
        groups += items_of(self.dataset, "PerFrameFunctionalGroupsSequence")
        return [self.dataset, *(item for group in groups for name in sequences for item in items_of(group, name))]

    def agreed(self, keyword: str, *sequences: str) -> tuple[float, ...]:
        """Numbers from the file itself or its functional groups; none where frames differ."""
        found = [numbers_of(place, keyword) for place in self.places(*sequences)]
        found = [values for values in found if values]
        return found[0] if found and all(values == found[0] for values in found) else ()


def small_value(dataset: Any, keyword: str) -> Any:
    """The value of an element; None where it is missing or too long to be meant, which is seen before it is parsed."""
    value = getattr(dataset.get_item(keyword), "value", None) if keyword in dataset else None
    return None if isinstance(value, bytes) and len(value) > _MAX_VALUE else dataset.get(keyword)


def text_of(dataset: Any, keyword: str) -> str:
    """A text of a dataset, see ``Header.text``."""
    try:
        value = small_value(dataset, keyword)
        several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        return "\\".join(str(part) for part in value) if several else "" if value is None else str(value).strip()
    except Exception:
        return ""  # pydicom raises whatever a malformed value makes it stumble over


def numbers_of(dataset: Any, keyword: str) -> tuple[float, ...]:
    """Numbers of a dataset, see ``Header.numbers``."""
    try:
        value = small_value(dataset, keyword)
        if value is None or (isinstance(value, str | bytes) and not value):
            return ()
        several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        numbers = tuple(float(part) for part in (value if several else (value,)))
        return numbers if all(math.isfinite(number) for number in numbers) else ()
    except Exception:
        return ()  # as above


def items_of(dataset: Any, keyword: str) -> list[Any]:
    """Items of a sequence, none where it is missing or malformed.

    Raises:
        ValueError: Taking it apart would take minutes.
    """
    value = getattr(dataset.get_item(keyword), "value", None) if keyword in dataset else None
    if isinstance(value, bytes) and (len(value) > _MAX_SEQUENCE or _items_in(value) > _MAX_ITEMS):
        raise ValueError(f"{keyword} of {len(value)} bytes and up to {_items_in(value)} items")
    try:
        return list(dataset.get(keyword) or [])
    except Exception:
        return []  # as above


def _items_in(data: bytes) -> int:
    """How many items a sequence holds at most, those of sequences within it included, in either order of bytes."""
    return max(data.count(b"\xfe\xff\x00\xe0"), data.count(b"\xff\xfe\xe0\x00"))


@contextmanager
def open_dicom(path: Path, limit: int) -> Iterator[tuple[BinaryIO, Header]]:
    """A file and its header; the stream stands at the start of the pixels' value, if there are pixels.

    Args:
        path: The file.
        limit: Largest number of bytes that a deflated file may unfold to, less some room for its header.

    Raises:
        SourceError: pydicom is missing, or the file can't be read as DICOM.
    """
    require_pydicom()
    patience = None
    try:
        with quiet(), ClippedFile(path) as file:
            patience = file.patience
            yield _read(path, file, limit)
    except SourceError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:300] if str(error) else type(error).__name__
        if patience is not None and patience.left < 0:
            found = f"more than {MAX_READS} elements, items and fragments"
        raise SourceError(
            "the DICOM file can't be read",
            file=path,
            expected="a whole DICOM file",
            found=found,
            remedy="export it again, or leave it out",
        ) from error


def _read(path: Path, file: ClippedFile, limit: int) -> tuple[BinaryIO, Header]:
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset
    from pydicom.tag import BaseTag
    from pydicom.uid import UID

    syntax, stored = read_meta(path, file)
    stream: BinaryIO = Unfolded(inflate(path, file, limit), file.patience) if syntax == DEFLATED else file
    wanted = [BaseTag(tag) for name in (*IDENTITY, *ELEMENTS) if (tag := tag_for_keyword(name)) is not None]
    uid = UID(syntax)
    known = uid.is_transfer_syntax
    dataset = read_dataset(
        stream,
        is_implicit_VR=uid.is_implicit_VR if known else False,  # a private syntax is explicit, little endian
        is_little_endian=uid.is_little_endian if known else True,
        stop_when=lambda tag, vr, length: int(tag) in _PIXELS,
        specific_tags=list(wanted),
    )
    implicit = known and uid.is_implicit_VR
    pixels = _pixel_element(stream, implicit, "<" if syntax != BIG_ENDIAN else ">")
    return stream, Header(path, dataset, syntax, stored == _DIRECTORY, pixels)


def _pixel_element(stream: BinaryIO, implicit: bool, mark: str) -> PixelElement | None:
    head = stream.read(8)
    if len(head) < 8:
        return None
    if implicit:
        group, element, length = struct.unpack(f"{mark}HHL", head)
        vr = ""
    else:
        group, element, code, _ = struct.unpack(f"{mark}HH2sH", head)
        rest = stream.read(4)
        if len(rest) < 4:
            return None
        (length,) = struct.unpack(f"{mark}L", rest)
        vr = code.decode("ascii", "replace")
    keyword = _PIXELS.get(group << 16 | element)
    if keyword is None:
        return None
    start = stream.tell()
    available = stream.seek(0, io.SEEK_END) - start
    stream.seek(start)
    return PixelElement(keyword, vr, None if length == 0xFFFFFFFF else length, available)
