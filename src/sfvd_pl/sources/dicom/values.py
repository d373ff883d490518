"""From the values that a DICOM file stores to pixels with the wire dark, and the way back.

The order of DICOM (PS3.3, C.11.1 and C.11.2; PS3.4, N.2): stored value -> modality LUT -> VOI LUT -> display. Stored
values have at most 16 bits, so each step is a table over all of them.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Intensity
from sfvd_pl.sources.dicom.header import Header, items_of, numbers_of, small_value, text_of

_INTENSITY: dict[str, Intensity] = {"LIN": "linear", "LOG": "log", "DISP": "display"}
_PROPERTIES = ("FramePixelDataPropertiesSequence",)
_RESCALE = ("PixelValueTransformationSequence",)
_WINDOW = ("FrameVOILUTSequence",)
Voi = Literal["ignore", "apply"]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StoredType:
    """Numbers in the file.

    Args:
        bits: BitsStored.
        signed: Whether PixelRepresentation is 1.
    """

    bits: int
    signed: bool

    @property
    def lowest(self) -> int:
        """The smallest stored value."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest stored value."""
        return self.lowest + (1 << self.bits) - 1

    @property
    def all_values(self) -> npt.NDArray[np.int64]:
        """Every stored value there can be, ascending."""
        return np.arange(self.lowest, self.highest + 1, dtype=np.int64)


@dataclass(frozen=True)
class ValueMap:
    """How stored values become pixels.

    Args:
        stored: Type of the stored values.
        table: Pixel of each stored value, ascending, as little-endian 16-bit numbers; empty where it is the stored
            value less the lowest.
        intensity_max: Largest pixel.
        scale, offset: The source value is scale * pixel + offset.
        inverted: Whether bright and dark are exchanged at the end, so that the wire is dark.
        intensity: What pixels are linear in.
    """

    stored: StoredType
    table: bytes
    intensity_max: int
    scale: float
    offset: float
    inverted: bool
    intensity: Intensity

    def pixels(self, values: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Pixels of stored values, any shape; uint8 where they fit, else uint16."""
        index = values.astype(np.int32) - self.stored.lowest
        if self.table:
            index = np.frombuffer(self.table, "<u2")[index]
        if self.inverted:
            index = self.intensity_max - index
        return index.astype(np.uint8 if self.intensity_max <= 255 else np.uint16)


def value_map(header: Header, stored: StoredType, voi: Voi) -> tuple[ValueMap, tuple[str, ...]]:
    """How this file's stored values become pixels, and notes.

    The source value is the output of the modality LUT: RescaleSlope * stored + RescaleIntercept, or the entry of the
    table in ModalityLUTSequence, or the stored value itself. With ``voi="apply"`` it is the output of the window or
    the VOI table in 0..2^bits - 1, from which no way leads back.

    Args:
        header: Of the file.
        stored: Type of its values.
        voi: Whether the window or VOI table is applied.

    Raises:
        SourceError: A table or slope that can't be, values that differ between frames, or no window to apply.
    """
    values = stored.all_values
    relation = _code(header, "PixelIntensityRelationship")
    lut = next(iter(items_of(header.dataset, "ModalityLUTSequence")), None)
    slope, intercept = _rescale(header) if lut is None else (1.0, 0.0)
    display: Table = values.astype(np.float64) * slope + intercept
    intensity: Intensity = _INTENSITY.get(relation, "unknown")
    top, scale, offset = (1 << stored.bits) - 1, slope, intercept + slope * stored.lowest
    pixels: Table | None = None
    if lut is not None:
        pixels, top = _lut(header, lut, values, stored.signed)
        scale, offset = 1.0, 0.0
        # PS3.4, N.2.1.2: such a table undoes the logarithm or the console's processing; display does without it
        undoes = header.text("Modality").upper() in ("XA", "RF", "XRF") and relation in ("LOG", "DISP")
        display = values.astype(np.float64) if undoes else pixels
        intensity = "linear" if undoes else intensity
    if voi == "apply":
        bits = stored.bits if lut is None or display is not pixels else top.bit_length()
        pixels, top = _voi(header, display, (1 << bits) - 1, stored.signed)
        scale, offset, intensity = 1.0, 0.0, "display"
    dark_is_low, notes = _dark_is_low(header, display)
    inverted = dark_is_low != (pixels is None or bool(pixels[-1] >= pixels[0]))
    return ValueMap(
        stored=stored,
        table=b"" if pixels is None else np.rint(pixels).astype("<u2").tobytes(),
        intensity_max=top,
        scale=-scale if inverted else scale,
        offset=offset + scale * top if inverted else offset,
        inverted=inverted,
        intensity=intensity,
    ), notes


def _dark_is_low(header: Header, display: Table) -> tuple[bool, tuple[str, ...]]:
    """Whether little X-ray, and so the wire, is a low stored value; and notes.

    PixelIntensityRelationshipSign says so outright. Without it, the picture is taken to be displayed as is usual,
    the wire dark; PhotometricInterpretation says which end of the displayed values is dark.
    """
    ascending = bool(display[-1] >= display[0])
    dark = (header.text("PhotometricInterpretation").upper() != "MONOCHROME1") == ascending
    signs = header.agreed("PixelIntensityRelationshipSign", *_PROPERTIES)
    if not signs or signs[0] not in (1, -1):
        return dark, ()
    if (signs[0] > 0) != dark:
        return signs[0] > 0, ("PixelIntensityRelationshipSign and PhotometricInterpretation disagree: the sign counts",)
    return dark, ()


def _code(header: Header, keyword: str) -> str:
    """A code from the file itself or its functional groups; empty where frames differ."""
    found = {text_of(place, keyword).upper() for place in header.places(*_PROPERTIES)} - {""}
    return found.pop() if len(found) == 1 else ""


def _rescale(header: Header) -> tuple[float, float]:
    """Slope and intercept."""
    pair = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        places = header.places(*_RESCALE)
        found = {numbers_of(place, keyword) for place in places if keyword in place} - {()}
        if len(found) > 1:
            raise _error(header, "the frames are scaled differently", keyword, "one value", "several")
        pair.append(found.pop()[0] if found else default)
    slope, intercept = pair
    if slope == 0 or max(abs(slope), abs(intercept)) > 1e12 or abs(slope) < 1e-12:
        raise _error(header, "the values can't be undone", "RescaleSlope", "not 0 and not absurd", slope)
    return slope, intercept


def _lut(header: Header, item: Any, values: npt.NDArray[np.int64], signed: bool) -> tuple[Table, int]:
    """Entry of a LUT item (PS3.3, C.11.1.1) for each value; and the largest entry that its bits allow.

    Values before the first entry give the first, values beyond the last give the last.
    """
    descriptor = [int(number) for number in numbers_of(item, "LUTDescriptor")]
    if len(descriptor) != 3:
        raise _error(header, "a lookup table without a description", "LUTDescriptor", "three numbers", descriptor)
    count, first, bits = descriptor[0] & 0xFFFF or 65536, descriptor[1], descriptor[2]
    first = (first & 0xFFFF) - (65536 if signed and first & 0x8000 else 0)  # its sign is that of the pixels
    if not 8 <= bits <= 16:
        raise _error(header, "a lookup table of odd depth", "LUTDescriptor", "8 to 16 bits", bits)
    entries = _entries(header, item, count)
    if len(entries) != count or int(entries.max()) >= 1 << bits:
        found = f"{len(entries)} entries of up to {int(entries.max()) if len(entries) else 0}"
        raise _error(header, "a lookup table unlike its description", "LUTData", f"{count} of {bits} bits", found)
    return entries[np.clip(values - first, 0, count - 1)].astype(np.float64), (1 << bits) - 1


def _entries(header: Header, item: Any, count: int) -> npt.NDArray[np.int64]:
    """Data of a LUT: numbers, or bytes that hold one or two of them a word."""
    raw = small_value(item, "LUTData")
    if isinstance(raw, bytes):
        mark = "<" if header.is_little_endian else ">"
        if len(raw) in (count, count + 1) and len(raw) < 2 * count:
            return np.frombuffer(raw, np.uint8)[:count].astype(np.int64)
        return np.frombuffer(raw[: 2 * (len(raw) // 2)], f"{mark}u2").astype(np.int64)
    numbers = [] if raw is None else [raw] if isinstance(raw, int) else list(raw)
    return np.array([int(number) & 0xFFFF for number in numbers], np.int64)


def _voi(header: Header, display: Table, top: int, signed: bool) -> tuple[Table, int]:
    """The VOI table or window (the first of several) applied to each displayed value; and the largest result."""
    for place in header.places(*_WINDOW):
        items = items_of(place, "VOILUTSequence")
        if items:
            return _lut(header, items[0], np.rint(display).astype(np.int64), signed or bool(display.min() < 0))
        centre, width = numbers_of(place, "WindowCenter"), numbers_of(place, "WindowWidth")
        if centre and width:
            function = text_of(place, "VOILUTFunction").upper() or "LINEAR"
            return _window(header, display, centre[0], width[0], function, top), top
    raise _error(
        header, "there is no window to apply", "voi", "WindowCenter and WindowWidth, or VOILUTSequence", "neither"
    )


def _window(header: Header, values: Table, centre: float, width: float, function: str, top: int) -> Table:
    """A window's output in 0..top (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    least = 1.0 if function == "LINEAR" else math.ulp(0.0)
    if width < least:
        raise _error(header, "a window without width", "WindowWidth", f">= 1, or > 0 for {function}", width)
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if function in ("LINEAR", "LINEAR_EXACT"):
        if width == 0:
            return np.where(values <= centre, 0.0, float(top))
        return np.clip((values - centre) / width + 0.5, 0, 1) * top
    if function == "SIGMOID":
        with np.errstate(over="ignore"):  # to infinity, and so to 0, as is meant
            return top / (1 + np.exp(-4 * (values - centre) / width))
    raise _error(header, "an unknown kind of window", "VOILUTFunction", "LINEAR, LINEAR_EXACT or SIGMOID", function)


def _error(header: Header, message: str, key: str, expected: object, found: object) -> SourceError:
    return SourceError(
        message, file=header.path, key=key, expected=expected, found=found, remedy="export the file again"
    )
