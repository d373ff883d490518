"""The header of a DICOM file, read with care: only the elements that are needed, nothing larger than the file."""

import io
import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sfvd_pl.errors import SourceError

IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
"""Elements that are read to be hashed; no other trace of them leaves this package."""
ELEMENTS = (
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "ImageType", "BurnedInAnnotation", "InstanceNumber"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelAspectRatio"),
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

_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT, _EXPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_DIRECTORY = "1.2.840.10008.1.3.10"
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_PIXELS = {0x7FE00010: "PixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00008: "FloatPixelData"}
_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "libjpeg")
_SLACK = 64 * 2**20
"""Room for the header of a deflated file, bytes."""


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
        return self.transfer_syntax != _BIG_ENDIAN

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


def text_of(dataset: Any, keyword: str) -> str:
    """A text of a dataset, see ``Header.text``."""
    try:
        value = dataset.get(keyword)
        several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        return "\\".join(str(part) for part in value) if several else "" if value is None else str(value).strip()
    except Exception:
        return ""  # pydicom raises whatever a malformed value makes it stumble over


def numbers_of(dataset: Any, keyword: str) -> tuple[float, ...]:
    """Numbers of a dataset, see ``Header.numbers``."""
    try:
        value = dataset.get(keyword)
        if value is None or (isinstance(value, str | bytes) and not value):
            return ()
        several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
        numbers = tuple(float(part) for part in (value if several else (value,)))
        return numbers if all(math.isfinite(number) for number in numbers) else ()
    except Exception:
        return ()  # as above


def items_of(dataset: Any, keyword: str) -> list[Any]:
    """Items of a sequence, none where it is missing or malformed."""
    try:
        return list(dataset.get(keyword) or [])
    except Exception:
        return []  # as above


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
    try:
        with quiet(), _ClippedFile(path) as file:
            yield _read(path, file, limit)
    except SourceError:
        raise
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:300] if str(error) else type(error).__name__
        raise SourceError(
            "the DICOM file can't be read",
            file=path,
            expected="a whole DICOM file",
            found=found,
            remedy="export it again, or leave it out",
        ) from error


def require_pydicom() -> None:
    """Refuse by name where the library isn't installed.

    Raises:
        SourceError: pydicom is missing.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise SourceError(
            "reading DICOM needs pydicom", found=str(error), remedy="pip install 'sfvd-pl[dicom]'"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' comments on every oddity of a header; values are checked where they are used."""
    from pydicom import config

    settings, mode = config.settings, config.settings.reading_validation_mode
    levels = {logger: logger.level for logger in map(logging.getLogger, _LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL + 1)
    settings.reading_validation_mode = config.IGNORE
    try:
        import gdcm

        gdcm.Trace.DebugOff()
        gdcm.Trace.WarningOff()
        gdcm.Trace.ErrorOff()
    except ImportError:
        pass  # it is needed for some transfer syntaxes only
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
        settings.reading_validation_mode = mode


class _ClippedFile(io.BufferedReader):
    """A file whose ``read`` never reserves more memory than the file has bytes left."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(str(path)))  # pydicom joins the name to a text
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _read(path: Path, file: BinaryIO, limit: int) -> tuple[BinaryIO, Header]:
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset
    from pydicom.tag import BaseTag
    from pydicom.uid import UID

    syntax, stored = _meta(path, file)
    stream: BinaryIO = io.BytesIO(_inflate(path, file, limit)) if syntax == _DEFLATED else file
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
    pixels = _pixel_element(stream, implicit, "<" if syntax != _BIG_ENDIAN else ">")
    return stream, Header(path, dataset, syntax, stored == _DIRECTORY, pixels)


def _meta(path: Path, file: BinaryIO) -> tuple[str, str]:
    """Transfer syntax and stored class of the file's group 2; the file then stands at its dataset."""
    start = file.read(132)
    if start[128:] != b"DICM":
        file.seek(0)
        return _guess(path, start), ""
    syntax = stored = ""
    while len(head := file.read(8)) == 8:
        group, element, vr, length = struct.unpack("<HH2sH", head)
        if group != 2:
            file.seek(-8, io.SEEK_CUR)
            break
        if vr in _LONG:
            (length,) = struct.unpack("<L", file.read(4))
        value = file.read(length)
        text = value.decode("ascii", "replace").strip("\0 ")
        syntax = text if element == 0x10 else syntax
        stored = text if element == 0x02 else stored
    if not re.fullmatch(r"[0-9.]{1,64}", syntax):
        raise SourceError(
            "the file doesn't say how it is encoded",
            file=path,
            key="TransferSyntaxUID",
            expected="a UID",
            found=syntax[:80] or "nothing",
            remedy="export the file again",
        )
    return syntax, stored


def _guess(path: Path, start: bytes) -> str:
    """Transfer syntax of a file without preamble: it begins with an element of a low, even group."""
    for mark, explicit, implicit in (("<", _EXPLICIT, _IMPLICIT), (">", _BIG_ENDIAN, "")):
        if len(start) >= 8:
            group, _, vr, _ = struct.unpack(f"{mark}HH2sH", start[:8])
            syntax = explicit if re.fullmatch(rb"[A-Z]{2}", vr) else implicit
            if group in (0x0008, 0x0010) and syntax:
                return syntax
    raise SourceError(
        "this isn't a DICOM file",
        file=path,
        expected="DICM after 128 bytes, or a dataset without a preamble",
        found="an empty file" if not start else repr(start[:8]),
        remedy="leave it out",
    )


def _inflate(path: Path, file: BinaryIO, limit: int) -> bytes:
    """Unfold a deflated dataset, no further than the limit."""
    unfolder = zlib.decompressobj(-zlib.MAX_WBITS)
    data = unfolder.decompress(file.read(), limit + _SLACK)
    if not unfolder.eof and not unfolder.unconsumed_tail:
        raise SourceError(
            "the deflated file is cut short", file=path, expected="its end", found="none", remedy="export it again"
        )
    if unfolder.unconsumed_tail:
        raise SourceError(
            "the deflated file unfolds to too much",
            file=path,
            key="max_clip_bytes",
            expected=f"at most {limit + _SLACK} bytes",
            found="more",
            remedy="if the file is what you expect, raise max_clip_bytes",
        )
    return data


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
