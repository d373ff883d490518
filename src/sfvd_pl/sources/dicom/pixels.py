"""Frames of a DICOM file, decoded one by one; sizes are checked before a decoder takes memory for them."""

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from sfvd_pl.sources.dicom.codestream import complaints, is_whole, read_j2k, read_jpeg
from sfvd_pl.sources.dicom.header import Header
from sfvd_pl.sources.dicom.layout import (
    BASELINE,
    CONVERT,
    EXTENDED,
    J2K,
    JPEG_LS,
    LOSSLESS,
    NATIVE,
    RLE,
    Layout,
    refusal,
)  # fmt: skip
from sfvd_pl.sources.pictures import GREY_TOLERANCE

_EXTRA = "pip install 'sfvd-pl[dicom]'"
_GPL = "pip install pylibjpeg-libjpeg (under the GPL, which is why it isn't among this project's own dependencies)"
# Plugins of pydicom in the order in which they are preferred, and the wheel to install where none is there. The order
# is fixed, so that lossy pictures decode to the same values wherever the same wheels are installed.
_DECODERS: dict[str, tuple[tuple[str, ...], str, str]] = {
    BASELINE: (("pillow", "gdcm", "pylibjpeg"), "pillow", "pip install pillow"),
    EXTENDED: (("pillow", "gdcm", "pylibjpeg"), "pillow", "pip install pillow"),
    **dict.fromkeys(LOSSLESS, (("gdcm", "pylibjpeg"), "python-gdcm", _EXTRA)),
    **dict.fromkeys(JPEG_LS, (("gdcm", "pyjpegls", "pylibjpeg"), "python-gdcm", _EXTRA)),
    **dict.fromkeys(J2K, (("pylibjpeg", "gdcm", "pillow"), "pylibjpeg-openjpeg", _EXTRA)),
    RLE: (("pydicom", "pylibjpeg", "gdcm"), "pydicom", _EXTRA),
}


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
    if layout.transfer_syntax not in NATIVE:
        precision = _check_frames(stream, header, layout)
        plugin = _plugin(header, layout, precision)
        if not layout.stored.signed:  # values are cut down to these bits, where _stored_values is to refuse them
            options["bits_stored"] = min(max(precision, layout.stored.bits), layout.bits_allocated)
        if plugin == "pillow" and layout.transfer_syntax in (BASELINE, EXTENDED):
            options["bits_allocated"] = 8  # what Pillow gives, whatever the header says
    colour = layout.samples > 1
    if plugin == "gdcm" and layout.transfer_syntax == EXTENDED and precision > 8:
        arrays = _extended_by_gdcm(stream, header, layout, precision)
    else:
        decoder = get_decoder(layout.transfer_syntax)
        arrays = decoder.iter_array(stream, raw=not colour, decoding_plugin=plugin, **cast(Any, options))
    for number in range(1, layout.frames + 1):
        array = _next_frame(header, arrays, number, plugin)
        yield _grey(header, array) if colour else _stored_values(header, layout, array)


def _extended_by_gdcm(
    stream: BinaryIO, header: Header, layout: Layout, precision: int
) -> Iterator[tuple[npt.NDArray[Any], Any]]:
    """Frames of JPEG Extended with 12 bits, (rows, columns) uint16, which pydicom doesn't ask GDCM for.

    GDCM decodes them as libjpeg does, to within 1 of rounding.
    """
    import gdcm
    from pydicom.encaps import generate_frames

    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2"))
    for data in generate_frames(stream, number_of_frames=layout.frames):
        fragment, element = gdcm.Fragment(), gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        fragment.SetByteStringValue(data)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element.SetValue(fragments.__ref__())
        picture = gdcm.Image()
        picture.SetNumberOfDimensions(2)
        picture.SetDimensions((layout.columns, layout.rows, 1))
        picture.SetDataElement(element)
        picture.SetPhotometricInterpretation(grey)
        picture.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(EXTENDED)))
        picture.SetPixelFormat(gdcm.PixelFormat(1, 16, precision, precision - 1, 0))
        text = picture.GetBuffer()  # char*
        if text is None:
            raise refusal(header, "a frame can't be decoded", "PixelData", "12-bit JPEG", "damage", "export it again")
        decoded = text.encode("utf-8", "surrogateescape")
        yield np.frombuffer(decoded, np.uint16).reshape(layout.rows, layout.columns), None


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
        expected = f"{number} or more"
        raise refusal(header, "frames are missing", "NumberOfFrames", expected, number - 1, "export the file again")
    if found:
        message = f"frame {number} is damaged"
        raise refusal(header, message, "PixelData", "a whole picture", "; ".join(found[:3]), "export the file again")
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
    if layout.transfer_syntax in (*NATIVE, RLE):
        options["correct_unused_bits"] = False  # HighBit needn't be BitsStored - 1; see _stored_values
    return options


def _check_frames(stream: BinaryIO, header: Header, layout: Layout) -> int:
    """Count the compressed frames and read what each says about itself; the largest precision, 0 where none says."""
    from pydicom.encaps import generate_frames

    start, count, precision = stream.tell(), 0, 0
    for data in generate_frames(stream, number_of_frames=layout.frames):
        count += 1
        if count > layout.frames:
            message = "there are more frames than NumberOfFrames says"
            raise refusal(header, message, "NumberOfFrames", layout.frames, f"{count} or more", "export it again")
        if layout.transfer_syntax == RLE:
            _check_rle(header, layout, data, count)
        else:
            precision = max(precision, _check_codestream(header, layout, data, count))
    if count < layout.frames:
        raise refusal(header, "frames are missing", "NumberOfFrames", layout.frames, count, "export the file again")
    stream.seek(start)
    return precision


def _check_rle(header: Header, layout: Layout, data: bytes, number: int) -> None:
    """Refuse a frame that can't unfold to what the header says: two bytes give at most 128 (PS3.5, G.3.1)."""
    if 64 * len(data) < layout.frame_bytes:
        message, expected = f"frame {number} is cut short", f"at least {layout.frame_bytes // 64} bytes"
        raise refusal(header, message, "PixelData", expected, len(data), "export the file again")


def _check_codestream(header: Header, layout: Layout, data: bytes, number: int) -> int:
    try:
        inside = (read_j2k if layout.transfer_syntax in J2K else read_jpeg)(data)
    except (ValueError, struct.error) as error:
        message = f"frame {number} can't be read"
        raise refusal(header, message, "PixelData", "a compressed picture", str(error), "export it again") from error
    if (inside.rows, inside.columns, inside.samples) != (layout.rows, layout.columns, layout.samples):
        message = f"frame {number} differs from what the header says"
        key, expected = "Rows, Columns, SamplesPerPixel", (layout.rows, layout.columns, layout.samples)
        sizes = (inside.rows, inside.columns, inside.samples)
        raise refusal(header, message, key, expected, sizes, "export it again")
    if not is_whole(data):
        message, found = f"frame {number} is cut short", f"{len(data)} bytes"
        raise refusal(header, message, "PixelData", "an end-of-image marker", found, "export the file again")
    if inside.precision > 16:
        raise refusal(header, f"frame {number} is too deep", "PixelData", "16 bit", inside.precision, CONVERT)
    return inside.precision


def _plugin(header: Header, layout: Layout, precision: int) -> str:
    """Which of pydicom's plugins decodes this file.

    Raises:
        SourceError: None is installed; the error names the wheel.
    """
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    preferred, wheel, remedy = _DECODERS[layout.transfer_syntax]
    if layout.transfer_syntax == EXTENDED and max(precision, layout.stored.bits) > 8:
        preferred, wheel, remedy = ("gdcm", "pylibjpeg"), "python-gdcm", f"{_EXTRA}; or {_GPL}"
    available = get_decoder(layout.transfer_syntax).available_plugins
    for plugin in preferred:
        if plugin in available:
            return plugin
    found = f"{UID(layout.transfer_syntax).name}, {precision} bit" if precision else UID(layout.transfer_syntax).name
    raise refusal(header, "no decoder is installed", "TransferSyntaxUID", f"the wheel {wheel}", found, remedy)


def _stored_values(header: Header, layout: Layout, array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """The numbers themselves: bits beside them removed, the sign extended; or checked where a codec gives them."""
    stored = layout.stored
    if layout.transfer_syntax in (*NATIVE, RLE):
        unsigned = array.view(array.dtype.str.replace("i", "u")).astype(np.int32)
        values = unsigned >> (layout.high_bit + 1 - stored.bits) & ((1 << stored.bits) - 1)
        return values - ((values & (1 << stored.bits - 1)) << 1) if stored.signed else values
    values = array.astype(np.int32)
    low, high = int(values.min()), int(values.max())
    if low < stored.lowest or high > stored.highest:
        expected = f"{stored.lowest}..{stored.highest}, {stored.bits} bits"
        message, found = "values beyond the bits stored", f"{low}..{high}"
        raise refusal(header, message, "BitsStored", expected, found, "export the file again")
    return values


def _grey(header: Header, array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Grey values of a colour picture (rows, columns, 3) whose colours agree, as a lossy copy of grey ones has."""
    spread = int((array.max(axis=2).astype(np.int16) - array.min(axis=2)).max())
    if spread > GREY_TOLERANCE:
        found = f"colours up to {spread} apart"
        raise refusal(header, "a colour picture", "PhotometricInterpretation", "grey values", found, CONVERT)
    return np.asarray(np.rint(array.mean(axis=2)), np.int32)
