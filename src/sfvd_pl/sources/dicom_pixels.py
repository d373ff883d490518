"""Frames of a DICOM file, decoded one by one; sizes are checked before a decoder takes memory for them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom_codestream import complaints, is_whole, read_j2k, read_jpeg
from sfvd_pl.sources.dicom_header import Header
from sfvd_pl.sources.dicom_values import StoredType
from sfvd_pl.sources.pictures import GREY_TOLERANCE
from sfvd_pl.sources.recording import MAX_SIDE

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")

_JPEG = "1.2.840.10008.1.2.4."
_BASELINE, _EXTENDED = f"{_JPEG}50", f"{_JPEG}51"
_LOSSLESS = (f"{_JPEG}57", f"{_JPEG}70")
_JPEG_LS = (f"{_JPEG}80", f"{_JPEG}81")
_J2K = (f"{_JPEG}90", f"{_JPEG}91")
_HTJ2K = (f"{_JPEG}201", f"{_JPEG}202", f"{_JPEG}203")
_RLE = "1.2.840.10008.1.2.5"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")

_EXTRA = "pip install 'sfvd-pl[dicom]'"
_GPL = "pip install pylibjpeg-libjpeg (under the GPL, which is why it isn't among this project's own dependencies)"
# Plugins of pydicom in the order in which they are preferred, and the wheel to install where none is there. The order
# is fixed, so that lossy pictures decode to the same values wherever the same wheels are installed.
_DECODERS: dict[str, tuple[tuple[str, ...], str, str]] = {
    _BASELINE: (("pillow", "gdcm", "pylibjpeg"), "pillow", "pip install pillow"),
    _EXTENDED: (("pillow", "gdcm", "pylibjpeg"), "pillow", "pip install pillow"),
    **dict.fromkeys(_LOSSLESS, (("gdcm", "pylibjpeg"), "python-gdcm", _EXTRA)),
    **dict.fromkeys(_JPEG_LS, (("gdcm", "pyjpegls", "pylibjpeg"), "python-gdcm", _EXTRA)),
    **dict.fromkeys(_J2K, (("pylibjpeg", "gdcm", "pillow"), "pylibjpeg-openjpeg", _EXTRA)),
    **dict.fromkeys(_HTJ2K, (("pylibjpeg",), "pylibjpeg-openjpeg", _EXTRA)),
    _RLE: (("pydicom", "pylibjpeg", "gdcm"), "pydicom", _EXTRA),
}


@dataclass(frozen=True)
class Layout:
    """What the pixels of one file look like.

    Args:
        transfer_syntax: A UID.
        frames, rows, columns, samples: How many.
        photometric: PhotometricInterpretation.
        bits_allocated, high_bit: Of a sample.
        stored: Type of the numbers.
        planar: PlanarConfiguration of a colour picture.
    """

    transfer_syntax: str
    frames: int
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    high_bit: int
    stored: StoredType
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame that isn't compressed."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * (self.bits_allocated // 8)


def read_layout(header: Header, limit: int) -> Layout:
    """What the pixels look like, checked.

    Args:
        header: Of the file.
        limit: Largest number of bytes of grey frames.

    Raises:
        SourceError: There are no pixels, or they are of a kind or size that isn't read.
    """
    if header.pixels is None or header.pixels.keyword != "PixelData":
        found = "no pixels" if header.pixels is None else header.pixels.keyword
        raise _error(header, "the file holds no picture", "PixelData", "grey values", found, "leave it out")
    samples, bits = header.whole("SamplesPerPixel", 1), header.whole("BitsStored")
    allocated = header.whole("BitsAllocated")
    layout = Layout(
        transfer_syntax=header.transfer_syntax,
        frames=header.whole("NumberOfFrames", 1),
        rows=header.whole("Rows"),
        columns=header.whole("Columns"),
        samples=samples,
        photometric=header.text("PhotometricInterpretation").upper(),
        bits_allocated=allocated,
        high_bit=header.whole("HighBit", bits - 1),
        stored=_stored(header, bits),
        planar=header.whole("PlanarConfiguration", 0) if samples > 1 else 0,
    )
    _check_kind(header, layout)
    _check_size(header, layout, limit)
    return layout


def _stored(header: Header, bits: int) -> StoredType:
    sign = header.whole("PixelRepresentation", 0)
    if not 8 <= bits <= 16 or sign not in (0, 1):
        key, expected = "BitsStored, PixelRepresentation", "8 to 16 bits, 0 or 1"
        raise _error(header, "numbers that aren't understood", key, expected, f"{bits}, {sign}", _CONVERT)
    return StoredType(bits, sign == 1)


_CONVERT = "convert the file to 8 to 16 bit grey values"


def _check_kind(header: Header, layout: Layout) -> None:
    allocated, bits = layout.bits_allocated, layout.stored.bits
    if layout.samples == 1:
        if layout.photometric not in GREY:
            key, found = "PhotometricInterpretation", layout.photometric or "nothing"
            raise _error(header, "not a grey picture", key, " or ".join(GREY), found, _CONVERT)
        if allocated not in (8, 16) or not bits - 1 <= layout.high_bit < allocated:
            found = f"{bits} bits stored up to bit {layout.high_bit} of {allocated}"
            message = "numbers that don't fit where they lie"
            raise _error(header, message, "BitsAllocated, HighBit", "8 or 16 bits allocated", found, _CONVERT)
    elif layout.samples != 3 or layout.photometric not in COLOUR or (allocated, bits) != (8, 8):
        found = f"{layout.samples} samples a pixel, {layout.photometric}, {bits} bits"
        raise _error(header, "not a picture that is read", "SamplesPerPixel", "grey, or RGB of 8 bit", found, _CONVERT)
    if layout.transfer_syntax not in (*_NATIVE, *_DECODERS):
        from pydicom.uid import UID

        found = f"{UID(layout.transfer_syntax).name} ({layout.transfer_syntax})"
        remedy = "convert the file, e.g. with gdcmconv --raw or dcmconv"
        expected = "uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000"
        raise _error(header, "a kind of compression that isn't read", "TransferSyntaxUID", expected, found, remedy)


def _check_size(header: Header, layout: Layout, limit: int) -> None:
    """Refuse what would take absurd memory, and pixels that the file is too short for."""
    sides = (layout.frames, layout.rows, layout.columns)
    if min(sides) < 1 or max(layout.rows, layout.columns) > MAX_SIDE:
        key, expected = "NumberOfFrames, Rows, Columns", f"at least 1, and sides of at most {MAX_SIDE} px"
        raise _error(header, "a picture of absurd size", key, expected, sides, "export the file again")
    size = layout.frames * layout.rows * layout.columns * (1 if layout.stored.bits <= 8 else 2)
    if size > limit:
        remedy = "if the file is what you expect, raise max_clip_bytes, or cut the run into several"
        found = f"{size} bytes: {layout.frames} frames of {layout.rows} x {layout.columns}"
        expected = f"at most {limit} bytes of pixels"
        raise _error(header, "the run is too large", "max_clip_bytes", expected, found, remedy)
    assert header.pixels is not None
    native = layout.transfer_syntax in _NATIVE
    if native == (header.pixels.length is None):
        found = "fragments" if native else "one block"
        message = "the pixels aren't laid out as the transfer syntax says"
        expected = "one block" if native else "fragments"
        raise _error(header, message, "PixelData", expected, found, "export the file again")
    if native:
        _check_length(header, layout)


def _check_length(header: Header, layout: Layout) -> None:
    assert header.pixels is not None and header.pixels.length is not None
    expected, found = layout.frames * layout.frame_bytes, header.pixels.length
    if min(found, header.pixels.available) < max(found, expected):
        present = min(found, header.pixels.available)
        expected = max(found, expected)
        raise _error(header, "the pixels are cut short", "PixelData", f"{expected} bytes", present, "export it again")
    if found - expected >= max(2, layout.frame_bytes):  # one byte may pad an odd length
        message = "there are more frames than NumberOfFrames says"
        expected_text = f"{layout.frames} of {layout.frame_bytes} bytes"
        raise _error(header, message, "NumberOfFrames", expected_text, f"{found} bytes", "export it again")


def decode(stream: BinaryIO, header: Header, layout: Layout) -> Iterator[npt.NDArray[np.int32]]:
    """Stored values of each frame, (rows, columns); of a colour picture, its grey values 0..255.

    Args:
        stream: Stands at the start of the pixels' value.
        header: Of the file.
        layout: What ``read_layout`` found.

    Raises:
        SourceError: No decoder, too few or too many frames, a frame of another size, true colour, or values beyond
            the bits that are stored.
    """
    from pydicom.pixels.decoders.base import get_decoder

    options = _options(header, layout)
    plugin = ""
    if layout.transfer_syntax not in _NATIVE:
        precision = _check_frames(stream, header, layout)
        plugin = _plugin(header, layout, precision)
        if not layout.stored.signed:  # GDCM cuts values down to these bits, where _stored_values is to refuse them
            options["bits_stored"] = min(max(precision, layout.stored.bits), layout.bits_allocated)
        if plugin == "pillow" and layout.transfer_syntax in (_BASELINE, _EXTENDED):
            options["bits_allocated"] = 8  # what Pillow gives, whatever the header says
    decoder = get_decoder(layout.transfer_syntax)
    colour = layout.samples > 1
    arrays = decoder.iter_array(stream, raw=not colour, decoding_plugin=plugin, **cast(Any, options))
    for number in range(1, layout.frames + 1):
        array = _next_frame(header, arrays, number, plugin)
        yield _grey(header, array) if colour else _stored_values(header, layout, array)


def _next_frame(
    header: Header, arrays: Iterator[tuple[npt.NDArray[Any], Any]], number: int, plugin: str
) -> npt.NDArray[Any]:
    """The next frame as its decoder gives it."""
    if plugin == "gdcm":
        with complaints() as found:
            frame = next(arrays, None)
    else:
        found, frame = [], next(arrays, None)
    if frame is None:
        raise _error(header, "frames are missing", "NumberOfFrames", f"{number} or more", number - 1, "export it again")
    if found:
        message = f"frame {number} is damaged"
        raise _error(header, message, "PixelData", "a whole picture", "; ".join(found[:3]), "export the file again")
    return frame[0]


def _options(header: Header, layout: Layout) -> dict[str, Any]:
    assert header.pixels is not None
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": layout.frames,
        "samples_per_pixel": layout.samples,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.stored.bits,
        "pixel_representation": int(layout.stored.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": header.pixels.vr or "OW",
    }
    if layout.samples > 1:
        options["planar_configuration"] = layout.planar
    if layout.transfer_syntax in (*_NATIVE, _RLE):
        options["correct_unused_bits"] = False  # HighBit needn't be BitsStored - 1; see _stored_values
    elif not layout.stored.signed:
        options["correct_unused_bits"] = False  # values beyond BitsStored are refused rather than cut
    offsets = _extended_offsets(header)
    if offsets is not None:
        options["extended_offsets"] = offsets
    return options


def _extended_offsets(header: Header) -> tuple[bytes, bytes] | None:
    pair = tuple(header.dataset.get(f"ExtendedOffsetTable{part}") for part in ("", "Lengths"))
    return cast(tuple[bytes, bytes], pair) if all(isinstance(part, bytes) and part for part in pair) else None


def _check_frames(stream: BinaryIO, header: Header, layout: Layout) -> int:
    """Count the compressed frames and read what each says about itself; the largest precision, 0 where none says."""
    from pydicom.encaps import generate_frames

    start, count, precision = stream.tell(), 0, 0
    offsets = _extended_offsets(header)
    for data in generate_frames(stream, number_of_frames=layout.frames, extended_offsets=offsets):
        count += 1
        if count > layout.frames:
            message = "there are more frames than NumberOfFrames says"
            raise _error(header, message, "NumberOfFrames", layout.frames, f"{count} or more", "export it again")
        if layout.transfer_syntax == _RLE:
            _check_rle(header, layout, data, count)
        else:
            precision = max(precision, _check_codestream(header, layout, data, count))
    if count < layout.frames:
        raise _error(header, "frames are missing", "NumberOfFrames", layout.frames, count, "export the file again")
    stream.seek(start)
    return precision


def _check_rle(header: Header, layout: Layout, data: bytes, number: int) -> None:
    """Refuse a frame that can't unfold to what the header says: two bytes give at most 128 (PS3.5, G.3.1)."""
    if 64 * len(data) < layout.frame_bytes:
        message, expected = f"frame {number} is cut short", f"at least {layout.frame_bytes // 64} bytes"
        raise _error(header, message, "PixelData", expected, len(data), "export the file again")


def _check_codestream(header: Header, layout: Layout, data: bytes, number: int) -> int:
    try:
        inside = (read_j2k if layout.transfer_syntax in (*_J2K, *_HTJ2K) else read_jpeg)(data)
    except (ValueError, struct.error) as error:
        message = f"frame {number} can't be read"
        raise _error(header, message, "PixelData", "a compressed picture", str(error), "export it again") from error
    if (inside.rows, inside.columns, inside.samples) != (layout.rows, layout.columns, layout.samples):
        message = f"frame {number} differs from what the header says"
        key, expected = "Rows, Columns, SamplesPerPixel", (layout.rows, layout.columns, layout.samples)
        sizes = (inside.rows, inside.columns, inside.samples)
        raise _error(header, message, key, expected, sizes, "export it again")
    if not is_whole(data):
        message, found = f"frame {number} is cut short", f"{len(data)} bytes"
        raise _error(header, message, "PixelData", "an end-of-image marker", found, "export the file again")
    if inside.precision > 16:
        raise _error(header, f"frame {number} is too deep", "PixelData", "16 bit", inside.precision, _CONVERT)
    return inside.precision


def _plugin(header: Header, layout: Layout, precision: int) -> str:
    """Which of pydicom's plugins decodes this file.

    Raises:
        SourceError: None is installed; the error names the wheel.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    preferred, wheel, remedy = _DECODERS[layout.transfer_syntax]
    if layout.transfer_syntax == _EXTENDED and max(precision, layout.stored.bits) > 8:
        preferred, wheel, remedy = ("pylibjpeg",), "pylibjpeg-libjpeg", _GPL
    available = get_decoder(layout.transfer_syntax).available_plugins
    for plugin in preferred:
        if plugin in available:
            return plugin
    found = f"{UID(layout.transfer_syntax).name}, {precision} bit" if precision else UID(layout.transfer_syntax).name
    raise _error(header, "no decoder is installed", "TransferSyntaxUID", f"the wheel {wheel}", found, remedy)


def _stored_values(header: Header, layout: Layout, array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """The numbers themselves: bits beside them removed, the sign extended; or checked where a codec gives them."""
    stored = layout.stored
    if layout.transfer_syntax in (*_NATIVE, _RLE):
        unsigned = array.view(array.dtype.str.replace("i", "u")).astype(np.int32)
        values = unsigned >> (layout.high_bit + 1 - stored.bits) & ((1 << stored.bits) - 1)
        return values - ((values & (1 << stored.bits - 1)) << 1) if stored.signed else values
    values = array.astype(np.int32)
    low, high = int(values.min()), int(values.max())
    if low < stored.lowest or high > stored.highest:
        expected = f"{stored.lowest}..{stored.highest}, {stored.bits} bits"
        message, found = "values beyond the bits stored", f"{low}..{high}"
        raise _error(header, message, "BitsStored", expected, found, "export the file again")
    return values


def _grey(header: Header, array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Grey values of a colour picture (rows, columns, 3) whose colours agree, as a lossy copy of grey ones has."""
    spread = int((array.max(axis=2).astype(np.int16) - array.min(axis=2)).max())
    if spread > GREY_TOLERANCE:
        found = f"colours up to {spread} apart"
        raise _error(header, "a colour picture", "PhotometricInterpretation", "grey values", found, _CONVERT)
    return np.asarray(np.rint(array.mean(axis=2)), np.int32)


def _error(header: Header, message: str, key: str, expected: object, found: object, remedy: str) -> SourceError:
    return SourceError(message, file=header.path, key=key, expected=expected, found=found, remedy=remedy)
