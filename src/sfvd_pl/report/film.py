"""Clips for a page that plays them without a script: a strip of frames, and a strip of outlines to lay over it."""

from io import BytesIO

import numpy as np

from sfvd_pl.metrics.arrays import Array, require_axes, require_same_shape
from sfvd_pl.report.embed import data_uri
from sfvd_pl.report.overlay import (
    IGNORE_COLOUR,
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    Bytes,
    png_bytes,
    to_grey,
)
from sfvd_pl.report.views import Film

LOSSLESS_PIXELS = 1 << 17
"""A strip of more pixels is compressed as WebP with some loss: noise hardly compresses otherwise."""
WEBP_QUALITY = 90
WEBP_SIDE = 16383
"""The format's limit."""
OUTSIDE = 0.15
"""Level of an outline between the wire (1) and what is beside it (0): a third of a pixel beyond the label's border."""
RIM_PX = 0.3
"""Distance of outlines from a frame's rim."""


def film(
    clip: Array,
    wire_mask: Array | None,
    caption: str,
    kind: str,
    *,
    predicted: Array | None = None,
    ignore: Array | None = None,
) -> Film:
    """A clip to play.

    Args:
        clip: (T, H, W) uint8.
        wire_mask: The same shape, its label; None for none.
        caption: What stands below it.
        kind: What it is, for those who can't see it.
        predicted: The same shape, a predicted wire; None for none.
        ignore: The same shape, pixels that don't count; None for none.
    """
    require_axes(clip, "T H W", "clip")
    frames, height, width = clip.shape
    lines, described = "", ""
    if wire_mask is not None:
        require_same_shape(wire_mask, clip, "wire_mask", "clip")
        lines = data_uri(_outlines(wire_mask, predicted, ignore), "svg+xml")
        described = ", the label of the wire outlined in yellow"
        described += "" if predicted is None else " and what a segmenter finds in magenta"
        described += "" if ignore is None or not np.any(ignore) else ", ignored pixels in blue"
    content, form = _picture(strip(to_grey(clip)))
    alt = f"{kind}, {frames} frame{'' if frames == 1 else 's'}{described}: {caption}"
    return Film(data_uri(content, form), lines, frames, width / height, alt, caption)


def strip(frames: Array) -> Bytes:
    """(T, H, W[, C]) as one picture, (H, T * W[, C]), the frames from left to right."""
    return np.ascontiguousarray(np.concatenate(list(np.asarray(frames)), axis=1))


def _picture(grey: Bytes) -> tuple[bytes, str]:
    from PIL import Image, features

    if grey.size <= LOSSLESS_PIXELS or max(grey.shape) > WEBP_SIDE or not features.check("webp"):
        return png_bytes(grey), "png"
    buffer = BytesIO()
    Image.fromarray(grey).convert("RGB").save(buffer, format="WEBP", quality=WEBP_QUALITY, method=4)
    return buffer.getvalue(), "webp"


def _outlines(wire_mask: Array, predicted: Array | None, ignore: Array | None) -> bytes:
    """Outlines as SVG: lines of one width at any size."""
    frames, height, width = wire_mask.shape
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{frames * width}" height="{height}" '
        f'viewBox="0 0 {frames * width} {height}" preserveAspectRatio="none">'
    ]
    for masks, colour, fill in (
        (ignore, IGNORE_COLOUR, f'fill="rgb{IGNORE_COLOUR}" fill-opacity="0.35" fill-rule="evenodd"'),
        (wire_mask, LABEL_COLOUR, 'fill="none"'),
        (predicted, PREDICTION_COLOUR, 'fill="none"'),
    ):
        if masks is not None:
            path = "".join(_contours(mask, t * width) for t, mask in enumerate(masks))
            parts.append(
                f'<path d="{path}" {fill} stroke="rgb{colour}" stroke-width="1.3" '
                'vector-effect="non-scaling-stroke"/>'
            )
    return "".join([*parts, "</svg>"]).encode()


def _contours(mask: Array, left: int) -> str:
    """Borders a little outside the wire, which leaves it visible; commands of an SVG path."""
    from skimage.measure import find_contours

    wire = np.pad(np.asarray(mask) != 0, 1).astype(np.float32)
    commands = []
    for line in find_contours(wire, OUTSIDE):
        # Pixel centres lie half a pixel from the picture's rim, and one pixel was added around it. Short of the rim,
        # so that no line reaches into the next frame.
        points = np.clip(line - 0.5, RIM_PX, np.array(mask.shape) - RIM_PX)[:, ::-1] + (left, 0)
        commands.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return "".join(commands)
