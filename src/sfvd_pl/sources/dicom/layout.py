"""What the pixels of a DICOM file look like, checked before any of them is read."""

from dataclasses import dataclass

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom.header import Header
from sfvd_pl.sources.dicom.values import StoredType
from sfvd_pl.sources.recording import MAX_SIDE

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")

_JPEG = "1.2.840.10008.1.2.4."
BASELINE, EXTENDED = f"{_JPEG}50", f"{_JPEG}51"
LOSSLESS = (f"{_JPEG}57", f"{_JPEG}70")
JPEG_LS = (f"{_JPEG}80", f"{_JPEG}81")
J2K = (f"{_JPEG}90", f"{_JPEG}91")
RLE = "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")
COMPRESSED = (BASELINE, EXTENDED, *LOSSLESS, *JPEG_LS, *J2K, RLE)
CONVERT = "convert the file to 8 to 16 bit grey values"


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
        raise refusal(header, "the file holds no picture", "PixelData", "grey values", found, "leave it out")
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
        raise refusal(header, "numbers that aren't understood", key, expected, f"{bits}, {sign}", CONVERT)
    return StoredType(bits, sign == 1)


def _check_kind(header: Header, layout: Layout) -> None:
    allocated, bits = layout.bits_allocated, layout.stored.bits
    if layout.samples == 1:
        if layout.photometric not in GREY:
            key, found = "PhotometricInterpretation", layout.photometric or "nothing"
            raise refusal(header, "not a grey picture", key, " or ".join(GREY), found, CONVERT)
        if allocated not in (8, 16) or not bits - 1 <= layout.high_bit < allocated:
            found = f"{bits} bits stored up to bit {layout.high_bit} of {allocated}"
            message = "numbers that don't fit where they lie"
            raise refusal(header, message, "BitsAllocated, HighBit", "8 or 16 bits allocated", found, CONVERT)
    elif layout.samples != 3 or layout.photometric not in COLOUR or (allocated, bits) != (8, 8):
        found = f"{layout.samples} samples a pixel, {layout.photometric}, {bits} bits"
        raise refusal(header, "not a picture that is read", "SamplesPerPixel", "grey, or RGB of 8 bit", found, CONVERT)
    if layout.transfer_syntax not in (*NATIVE, *COMPRESSED):
        from pydicom.uid import UID

        found = f"{UID(layout.transfer_syntax).name} ({layout.transfer_syntax})"
        remedy = "convert the file, e.g. with gdcmconv --raw or dcmconv"
        expected = "uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000"
        raise refusal(header, "a kind of compression that isn't read", "TransferSyntaxUID", expected, found, remedy)


def _check_size(header: Header, layout: Layout, limit: int) -> None:
    """Refuse what would take absurd memory, and pixels that the file is too short for."""
    sides = (layout.frames, layout.rows, layout.columns)
    if min(sides) < 1 or max(layout.rows, layout.columns) > MAX_SIDE:
        key, expected = "NumberOfFrames, Rows, Columns", f"at least 1, and sides of at most {MAX_SIDE} px"
        raise refusal(header, "a picture of absurd size", key, expected, sides, "export the file again")
    size = layout.frames * layout.rows * layout.columns * (1 if layout.stored.bits <= 8 else 2)
    if size > limit:
        remedy = "if the file is what you expect, raise max_clip_bytes, or cut the run into several"
        found = f"{size} bytes: {layout.frames} frames of {layout.rows} x {layout.columns}"
        expected = f"at most {limit} bytes of pixels"
        raise refusal(header, "the run is too large", "max_clip_bytes", expected, found, remedy)
    assert header.pixels is not None
    native = layout.transfer_syntax in NATIVE
    if native == (header.pixels.length is None):
        found = "fragments" if native else "one block"
        message = "the pixels aren't laid out as the transfer syntax says"
        expected = "one block" if native else "fragments"
        raise refusal(header, message, "PixelData", expected, found, "export the file again")
    if native:
        _check_length(header, layout)


def _check_length(header: Header, layout: Layout) -> None:
    assert header.pixels is not None and header.pixels.length is not None
    expected, found = layout.frames * layout.frame_bytes, header.pixels.length
    if min(found, header.pixels.available) < max(found, expected):
        present = min(found, header.pixels.available)
        expected = max(found, expected)
        raise refusal(header, "the pixels are cut short", "PixelData", f"{expected} bytes", present, "export it again")
    if found - expected >= max(2, layout.frame_bytes):  # one byte may pad an odd length
        message = "there are more frames than NumberOfFrames says"
        expected_text = f"{layout.frames} of {layout.frame_bytes} bytes"
        raise refusal(header, message, "NumberOfFrames", expected_text, f"{found} bytes", "export it again")


def refusal(header: Header, message: str, key: str, expected: object, found: object, remedy: str) -> SourceError:
    """An error about one element of a file."""
    return SourceError(message, file=header.path, key=key, expected=expected, found=found, remedy=remedy)
