"""Clips as animated GIF: plays in every browser without a script, and has every grey level that matters."""

import os
from pathlib import Path

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, require_axes, require_same_shape
from sfvd_pl.report.overlay import (
    GAP_COLOUR,
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    Bytes,
    Window,
    grid_picture,
    save_bytes,
)

GREYS = 248
"""Grey levels of the palette; the rest of its 256 entries are for outlines and gaps."""
_COLOURS = (LABEL_COLOUR, PREDICTION_COLOUR, GAP_COLOUR)
DEFAULT_FPS = 7.5


def gif_bytes(
    clips: Array,
    wire_masks: Array | None = None,
    *,
    predicted: Array | None = None,
    fps: int | float = DEFAULT_FPS,
    columns: int | None = None,
    scale: int | None = None,
    window: Window | None = None,
) -> bytes:
    """Clips playing in step, for ever; with masks, each row stands above the same row with outlines.

    Args:
        clips: (K, T, H, W), or one clip (T, H, W).
        wire_masks: The same shape, labels; None for none.
        predicted: The same shape, predictions; None for none.
        fps: Frames per second, above 0 and at most 50; a GIF counts in hundredths of a second.
        columns: Clips a row; None: all up to 8.
        scale: Enlargement; None: to about 192 pixels.
        window: See :func:`sfvd_pl.report.overlay.to_grey`.

    Raises:
        MetricsError: If there is no frame, or shapes, speed, scale or window are wrong.
    """
    from io import BytesIO

    from PIL import Image

    stack = _as_stack(clips, clips, "clips")
    labels = None if wire_masks is None else _as_stack(wire_masks, clips, "wire_masks")
    found = None if predicted is None else _as_stack(predicted, clips, "predicted")
    if not 0 < fps <= 50:
        raise MetricsError(
            "no viewer plays at this speed",
            key="fps",
            expected="above 0, at most 50 Hz",
            found=fps,
            remedy="use 7.5",
        )
    palette = _palette()
    frames = []
    for t in range(stack.shape[1]):
        picture = grid_picture(
            stack[:, t],
            None if labels is None else labels[:, t],
            predicted=None if found is None else found[:, t],
            columns=columns,
            scale=scale,
            window=window,
        )
        frame = Image.fromarray(_to_palette(picture), mode="P")
        frame.putpalette(palette)
        frames.append(frame)
    buffer = BytesIO()
    duration = max(2, round(100 / fps)) * 10
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=duration,
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def save_gif(
    path: str | os.PathLike[str],
    clips: Array,
    wire_masks: Array | None = None,
    *,
    predicted: Array | None = None,
    fps: int | float = DEFAULT_FPS,
    columns: int | None = None,
    scale: int | None = None,
    window: Window | None = None,
) -> Path:
    """Write :func:`gif_bytes` to a file; arguments and errors are the same."""
    content = gif_bytes(
        clips, wire_masks, predicted=predicted, fps=fps, columns=columns, scale=scale, window=window
    )
    return save_bytes(path, content)


def _as_stack(values: Array, clips: Array, key: str) -> Array:
    """One clip as a stack of one, checked against the clips."""
    require_same_shape(values, clips, key, "clips")
    stack = values[None] if values.ndim == 3 else values
    require_axes(stack, "K T H W", key)
    if stack.shape[1] == 0:
        raise MetricsError(
            "there is no frame to play",
            key=key,
            expected="at least one frame a clip",
            found=f"shape {values.shape}",
            remedy="pass whole clips",
        )
    return stack


def _palette() -> list[int]:
    greys = np.rint(np.linspace(0, 255, GREYS)).astype(int)
    entries = np.concatenate([np.repeat(greys[:, None], 3, axis=1), np.array(_COLOURS)])
    palette: list[int] = entries.ravel().tolist()
    return palette


def _to_palette(picture: Bytes) -> Bytes:
    """(H, W, 3) RGB, made of greys and the outlines' colours only, as (H, W) entries of the palette."""
    entries = np.asarray(np.rint(picture[..., 0].astype(np.float64) * (GREYS - 1) / 255), dtype=np.uint8)
    for index, colour in enumerate(_COLOURS):
        entries[(picture == np.array(colour, dtype=np.uint8)).all(axis=-1)] = GREYS + index
    return entries
