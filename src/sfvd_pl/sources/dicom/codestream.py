"""What a compressed frame says about itself, read before a decoder trusts it and takes memory for it."""

import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_ALONE = {0x01, *range(0xD0, 0xD8)}
_JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_MAX_TILES = 65535
_COMPLAINTS = (
    "Corrupt JPEG data", "Premature end", "Unsupported marker", "Bogus", "Inconsistent", "Invalid JPEG",
    "Invalid lossless parameters",
)  # fmt: skip
"""How libjpeg begins the lines that it prints where GDCM goes on with what it has."""
_HARMLESS = ("Unsupported JPEG data precision 12", "Invalid SOS parameters for sequential JPEG")
"""The first is GDCM trying its decoder of 8 bit before that of 12; the second is about fields without a meaning."""


@dataclass(frozen=True)
class Codestream:
    """Size of the picture in a compressed frame.

    Args:
        rows, columns: px.
        samples: Colours.
        precision: Bits a sample.
    """

    rows: int
    columns: int
    samples: int
    precision: int


def is_whole(data: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 picture ends where such pictures end; padding may follow."""
    return data.rstrip(b"\0\xff ").endswith(b"\xff\xd9")


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What a decoder in C prints about damaged data while it decodes the rest; other lines go where they would.

    GDCM fills what it can't decode with something and says so on the standard error output only. Where it gives up
    altogether, that is an error anyway, and nothing of what it printed is passed on.
    """
    found: list[str] = []
    try:
        saved = os.dup(2)
    except OSError:  # a process without standard error output
        yield found
        return
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            try:
                yield found
            finally:
                os.dup2(saved, 2)
            sink.seek(0)
            for line in sink:
                text = line.decode("utf-8", "replace").strip()
                if text.startswith(_COMPLAINTS):
                    found.append(text)
                elif not text.startswith(_HARMLESS):
                    os.write(saved, line)
    finally:
        os.close(saved)


def read_jpeg(data: bytes) -> Codestream:
    """Size of a JPEG or JPEG-LS picture, from its frame header (ITU-T T.81, B.2.2; T.87, C.2.2).

    Raises:
        ValueError: There is no frame header, or more than one before the first scan.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG picture begins here")
    found, k = None, 2
    while k + 4 <= len(data):
        if data[k] != 0xFF:
            raise ValueError("no marker where one should be")
        marker = data[k + 1]
        if marker == 0xFF or marker in _ALONE:
            k += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, k + 2)
        if marker < 0xC0 or length < 2:
            raise ValueError("no marker where one should be")
        _check_application_data(marker, data[k + 4 : k + 2 + length])
        if marker in _SOF:
            if found is not None:
                raise ValueError("two frame headers")
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, k + 4)
            found = Codestream(rows, columns, samples, precision)
        elif marker == 0xDA and found is not None:
            return found
        elif marker in (0xDA, 0xD8, 0xD9):
            break
        k += 2 + length
    raise ValueError("no frame header before the first scan")


def _check_application_data(marker: int, content: bytes) -> None:
    """Refuse what libjpeg warns of in a header: GDCM takes any such warning for a broken promise and aborts."""
    if marker == 0xE0 and content[:5] == b"JFIF\0" and content[5:6] != b"\x01":
        raise ValueError("a JFIF marker of an unknown revision")
    if marker == 0xEE and content[:5] == b"Adobe" and len(content) > 11 and content[11] > 2:
        raise ValueError("an Adobe marker of an unknown picture")


def read_j2k(data: bytes) -> Codestream:
    """Size of a JPEG 2000 picture, from its SIZ segment (ITU-T T.800, A.5.1), with or without a JP2 wrapper.

    Raises:
        ValueError: There is no SIZ segment, its components differ or are subsampled, or it has absurdly many tiles.
    """
    k = _codestream_of_jp2(data) if data[:12] == _JP2 else 0
    if data[k : k + 4] != b"\xff\x4f\xff\x51":
        raise ValueError("no JPEG 2000 picture begins here")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8L", data, k + 8)
    (samples,) = struct.unpack_from(">H", data, k + 40)
    if not 1 <= samples <= 4:
        raise ValueError(f"{samples} colours")
    parts = [struct.unpack_from(">BBB", data, k + 42 + 3 * sample) for sample in range(samples)]
    if parts[0][1:] != (1, 1) or any(part != parts[0] for part in parts):
        raise ValueError("colours of different size or depth")
    if min(tile_width, tile_height) < 1 or tile_left > left or tile_top > top or left >= right or top >= bottom:
        raise ValueError("a picture without pixels")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > _MAX_TILES:
        raise ValueError(f"{tiles} tiles")
    return Codestream(bottom - top, right - left, samples, (parts[0][0] & 0x7F) + 1)


def _codestream_of_jp2(data: bytes) -> int:
    """Where the codestream of a JP2 file begins (T.800, I.4)."""
    k = 0
    while k + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, k)
        start = k + 8
        if length == 1 and k + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        if kind == b"jp2c":
            return start
        if length < start - k:
            break
        k += length
    raise ValueError("a JP2 file without a picture")
