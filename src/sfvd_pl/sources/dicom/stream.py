"""A DICOM file as a stream: how it is encoded, deflated ones unfolded, and no more memory or time than it is worth."""

import io
import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sfvd_pl.errors import SourceError

DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT, _EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "libjpeg")
MAX_READS = 400_000
"""Calls of ``read`` that a file may cost, one to three for each element, item and fragment. An enhanced file of a
thousand frames with fifteen functional groups each takes 150,000."""
_SLACK = 64 * 2**20
"""Room for the header of a deflated file, bytes."""


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


class Patience:
    """Counts reads: a file of millions of empty elements takes minutes to parse, and is refused."""

    def __init__(self) -> None:
        self.left = MAX_READS

    def read_once(self) -> None:
        """One more.

        Raises:
            RuntimeError: That was too many. pydicom may take it for something else.
        """
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("too many elements, items and fragments")


class ClippedFile(io.BufferedReader):
    """A file whose ``read`` never reserves more memory than the file has bytes left."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(str(path)))  # pydicom joins the name to a text
        self._size = path.stat().st_size
        self.patience = Patience()

    def read(self, size: int | None = -1, /) -> bytes:
        """At most what is left."""
        self.patience.read_once()
        left = max(0, self._size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


class Unfolded(io.BytesIO):
    """The same for a dataset that was deflated."""

    def __init__(self, data: bytes, patience: Patience) -> None:
        super().__init__(data)
        self._patience = patience

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file, counted."""
        self._patience.read_once()
        return super().read(size)


def read_meta(path: Path, file: BinaryIO) -> tuple[str, str]:
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
    for mark, explicit, implicit in (("<", _EXPLICIT, _IMPLICIT), (">", BIG_ENDIAN, "")):
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


def inflate(path: Path, file: BinaryIO, limit: int) -> bytes:
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
