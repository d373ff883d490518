"""Single pictures: grey values and masks from PNG, JPEG and TIFF."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.recording import check_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "TIFF")
MAX_PIXELS = 2**26
"""Pixels of one picture that is read."""
GREY_TOLERANCE = 4
"""Largest difference between the colours of a pixel that JPEG leaves in a grey picture."""
SIXTEEN = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, MemoryError, KeyError, TypeError, IndexError, AttributeError,
    OverflowError, RuntimeError, Image.DecompressionBombError,
)  # fmt: skip
_CONVERT = "convert the picture to 8 or 16 bit grey PNG"
_TIFF_PHOTOMETRIC = 262


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which frame2 comes before frame10; ties by text, so that the order is always the same."""
    parts = re.split(r"([0-9]+)", path.name)
    return tuple((1, int(part)) if k % 2 else (0, part) for k, part in enumerate(parts)) + ((0, path.name),)


def read_grey(path: Path) -> npt.NDArray[Any]:
    """One grey picture, (H, W) uint8 or uint16. Colour pictures are taken where their colours agree.

    A TIFF in which 0 is white (PhotometricInterpretation 0) is turned so that 0 is black.

    Raises:
        SourceError: Empty, unreadable, several pages, a pixel type other than 8 or 16 bit, or true colour.
    """
    picture = _decode(path)
    if picture.mode in SIXTEEN:
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            found = f"{values.min()}..{values.max()}"
            raise _error("pixel values beyond 16 bit", path, "0..65535", found, _CONVERT)
        grey = np.asarray(values, np.uint16)
        white_is_zero = getattr(picture, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0
        return np.asarray(65535 - grey, np.uint16) if white_is_zero else grey
    if picture.mode in ("L", "LA"):
        return np.asarray(picture.getchannel("L"))
    if picture.mode in ("RGB", "RGBA", "P"):
        colour = np.asarray(picture.convert("RGB")).astype(np.int16)
        spread = int((colour.max(axis=2) - colour.min(axis=2)).max())
        if spread > GREY_TOLERANCE:
            raise _error("a colour picture", path, "grey values", f"colours up to {spread} apart", _CONVERT)
        return np.asarray(np.rint(colour.mean(axis=2)), np.uint8)
    raise _error("a pixel type that isn't understood", path, "8 or 16 bit grey", picture.mode, _CONVERT)


def read_mask(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """One mask, (H, W) uint8 of 0 and 1: whatever isn't zero (in any colour; transparency aside) is wire.

    Raises:
        SourceError: Unreadable, or another size than its picture.
    """
    picture = _decode(path, colour16=True)
    if picture.mode in ("LA", "P", "PA", "RGBA"):  # a palette's first colour needn't be black
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    wire = values.any(axis=2) if values.ndim == 3 else values != 0
    if wire.shape != tuple(shape):
        message = "the mask's size differs from its picture's"
        raise _error(message, path, shape, wire.shape, "export the mask again")
    return np.asarray(wire, np.uint8)


def open_picture(path: Path) -> Image.Image:
    """The picture's header; pixels are read later.

    Raises:
        SourceError: Empty, no picture, several pages, or absurdly large.
    """
    try:
        if path.stat().st_size == 0:
            raise _error("the picture is empty", path, "a picture", "0 bytes", "export it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below decides
            picture: Image.Image = Image.open(path, formats=FORMATS)
        pages = getattr(picture, "n_frames", 1)
    except _UNREADABLE as error:
        message = "the picture can't be read"
        raise _error(message, path, "PNG, JPEG or TIFF", str(error), "export it again") from error
    try:
        if pages != 1:
            message = "several pictures in one file"
            raise _error(message, path, "one frame a file", pages, "export each frame by itself")
        check_size(path, 1, picture.size[1], picture.size[0], 4)
        if picture.size[0] * picture.size[1] > MAX_PIXELS:
            raise _error("the picture is too large", path, f"<= {MAX_PIXELS} pixels", picture.size, "cut it")
    except SourceError:
        picture.close()
        raise
    return picture


def bits(picture: Image.Image) -> int:
    """Bits a pixel of a picture that is only opened: 8 or 16."""
    return 16 if picture.mode in SIXTEEN else 8


def _decode(path: Path, *, colour16: bool = False) -> Image.Image:
    picture = open_picture(path)
    # 16-bit colour and 16-bit grey with transparency would be cut to 8 bits without a word
    raw = " ".join(str(tile.args) for tile in getattr(picture, "tile", ()))
    if "16" in raw and picture.mode not in SIXTEEN and not colour16:
        raise _error("16 bit in several channels", path, "one grey channel", picture.mode, _CONVERT)
    try:
        picture.load()
    except _UNREADABLE as error:
        message = "the picture can't be read"
        raise _error(message, path, "a whole picture", str(error), "export it again") from error
    return picture


def _error(message: str, file: Path, expected: object, found: object, remedy: str) -> SourceError:
    return SourceError(message, file=file, expected=expected, found=found, remedy=remedy)
