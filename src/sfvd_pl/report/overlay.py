"""Frames as pictures, with the outline of the wire: what a person looks at to see whether a label is true."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Bools, require_axes, require_same_shape

Bytes = npt.NDArray[np.uint8]

Window = tuple[int | float, int | float]
"""Intensities shown black and white."""

LABEL_COLOUR = (255, 214, 10)
"""Outline of a label: yellow."""
PREDICTION_COLOUR = (255, 64, 160)
"""Outline of a prediction: magenta."""
IGNORE_COLOUR = (60, 130, 170)
"""Tint of pixels to ignore: a quiet blue."""
GAP_COLOUR = (255, 255, 255)
GAP_PX = 4
TARGET_PX = 192
"""Small frames are enlarged to about this size."""


def to_grey(images: Array, window: Window | None = None) -> Bytes:
    """Intensities as 8-bit grey, in a linear window; values beyond it are clamped and NaN is black.

    Args:
        images: Any shape.
        window: Intensities shown black and white. None: the type's range for unsigned integers, 0..1 for
            floats.

    Returns:
        The same shape, uint8.

    Raises:
        MetricsError: If the window is empty, or missing for a type without a range of its own.
    """
    values = np.asarray(images)
    if window is None and values.dtype == np.uint8:
        return values
    if window is None and values.dtype.kind == "u":
        window = (0.0, float(np.iinfo(values.dtype).max))
    elif window is None and values.dtype.kind == "f":
        window = (0.0, 1.0)
    if window is None or not window[0] < window[1]:
        raise MetricsError(
            "there is no window to show these intensities in",
            key="window",
            expected="(black, white) with black < white; optional for floats and unsigned integers",
            found=f"window {window} for {values.dtype}",
            remedy="pass window=(low, high) in the images' units",
        )
    share = np.nan_to_num((values.astype(np.float64) - window[0]) / (window[1] - window[0]), nan=0.0)
    return np.asarray(np.rint(np.clip(share, 0.0, 1.0) * 255), dtype=np.uint8)


def enlarge(frames: npt.NDArray[Any], scale: int) -> npt.NDArray[Any]:
    """Every pixel of (N, H, W) repeated ``scale`` times in rows and columns: no value is invented."""
    if scale < 1:
        raise MetricsError(
            "a picture can't shrink", key="scale", expected="1 or more", found=scale, remedy="use 1"
        )
    return frames.repeat(scale, axis=1).repeat(scale, axis=2)


def outline(wire_masks: Array, scale: int = 1) -> Bools:
    """A line one screen pixel wide just outside the wire, so that the wire itself stays visible.

    Args:
        wire_masks: (N, H, W), non-zero on the wire.
        scale: Enlargement, 1 or more.

    Returns:
        (N, H * scale, W * scale).
    """
    require_axes(wire_masks, "N H W", "wire_masks")
    wire = enlarge(np.asarray(wire_masks) != 0, scale)
    grown: Bools = ndimage.maximum_filter(wire, size=(1, 3, 3), mode="constant", cval=0)
    line: Bools = grown & ~wire
    return line


def overlay(
    images: Array,
    wire_masks: Array | None = None,
    *,
    ignore: Array | None = None,
    predicted: Array | None = None,
    scale: int = 1,
    window: Window | None = None,
) -> Bytes:
    """Frames in grey with the outlines of the label (yellow) and of a prediction (magenta), ignored pixels in blue.

    Args:
        images: (N, H, W); see :func:`to_grey`.
        wire_masks: (N, H, W) labels, non-zero on the wire; None for none.
        ignore: (N, H, W), non-zero on pixels to ignore, which are tinted; None for none.
        predicted: (N, H, W) predictions, non-zero on the wire; drawn over the labels.
        scale: Enlargement, 1 or more.
        window: See :func:`to_grey`.

    Returns:
        (N, H * scale, W * scale, 3) uint8 RGB.

    Raises:
        MetricsError: If shapes, scale or window are wrong.
    """
    require_axes(images, "N H W", "images")
    grey = enlarge(to_grey(images, window), scale)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    if ignore is not None:
        require_same_shape(ignore, images, "ignore", "images")
        hidden = enlarge(np.asarray(ignore) != 0, scale)
        picture[hidden] = np.rint(0.6 * picture[hidden] + 0.4 * np.array(IGNORE_COLOUR)).astype(np.uint8)
    for key, masks, colour in (
        ("wire_masks", wire_masks, LABEL_COLOUR),
        ("predicted", predicted, PREDICTION_COLOUR),
    ):
        if masks is not None:
            require_same_shape(masks, images, key, "images")
            picture[outline(masks, scale)] = colour
    return picture


def fitting_scale(height: int, width: int, target: int = TARGET_PX) -> int:
    """The largest whole enlargement that keeps a frame within ``target`` pixels, at least 1."""
    return max(1, target // max(height, width, 1))


def grid_picture(
    images: Array,
    wire_masks: Array | None = None,
    *,
    predicted: Array | None = None,
    ignore: Array | None = None,
    columns: int | None = None,
    scale: int | None = None,
    window: Window | None = None,
) -> Bytes:
    """Frames in a grid; with masks, each row of frames stands above the same row with outlines.

    Args:
        images: (N, H, W), N at least 1; see :func:`to_grey`.
        wire_masks: (N, H, W) labels; None for none.
        predicted: (N, H, W) predictions; None for none.
        ignore: (N, H, W) pixels to ignore; None for none.
        columns: Frames a row; None: all up to 8.
        scale: Enlargement; None: to about 192 pixels.
        window: See :func:`to_grey`.

    Returns:
        (rows, columns, 3) uint8 RGB, white between the frames.

    Raises:
        MetricsError: If there is no frame, or shapes, scale or window are wrong.
    """
    require_axes(images, "N H W", "images")
    count, height, width = images.shape
    if count == 0 or (columns is not None and columns < 1):
        raise MetricsError(
            "there is no frame to show",
            key="images, columns",
            expected="at least one frame and one column",
            found=f"{count} frames, columns {columns}",
            remedy="pass at least one frame",
        )
    size = fitting_scale(height, width) if scale is None else scale
    per_row = min(columns or 8, count)
    layers = [overlay(images, scale=size, window=window)]
    if wire_masks is not None or predicted is not None:
        layers.append(overlay(images, wire_masks, ignore=ignore, predicted=predicted, scale=size, window=window))
    cells = [layer[first : first + per_row] for first in range(0, count, per_row) for layer in layers]
    return _tile(cells, per_row)


def _tile(rows: list[Bytes], per_row: int) -> Bytes:
    height, width = rows[0].shape[1:3]
    shape = (len(rows) * (height + GAP_PX) - GAP_PX, per_row * (width + GAP_PX) - GAP_PX, 3)
    canvas = np.empty(shape, dtype=np.uint8)
    canvas[:] = GAP_COLOUR
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            top, left = i * (height + GAP_PX), j * (width + GAP_PX)
            canvas[top : top + height, left : left + width] = cell
    return canvas


def png_bytes(picture: Array) -> bytes:
    """A picture as PNG.

    Args:
        picture: (H, W) grey or (H, W, 3) RGB, uint8.

    Raises:
        MetricsError: If it is neither.
    """
    from io import BytesIO

    from PIL import Image

    values = np.asarray(picture)
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise MetricsError(
            "this array is no picture",
            key="picture",
            expected="uint8 (H, W) or (H, W, 3)",
            found=f"{values.dtype} {values.shape}",
            remedy="convert it with to_grey or grid_picture",
        )
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def save_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, with the folders above it; it appears under its name only when it is whole."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def save_png(path: str | os.PathLike[str], picture: Array) -> Path:
    """Write :func:`png_bytes` of a picture to a file."""
    return save_bytes(path, png_bytes(picture))
