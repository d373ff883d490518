"""A contact sheet of any artifact: a few clips, a row each, with the outlines of wires."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sfvd_pl.artifacts import Artifact, Kind, find_parents
from sfvd_pl.errors import SfvdError
from sfvd_pl.metrics.arrays import Array
from sfvd_pl.report.overlay import (
    IGNORE_COLOUR,
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    Bytes,
    fitting_scale,
    overlay,
    to_grey,
)

CELL_PX = 176
"""Longest side of a frame on the sheet."""
CLIPS = 9
FRAMES = 6
GAP = 6
TEXT_PX = 210
"""Width of the text beside a row."""
GROUND, INK, DIM = (22, 24, 27), (230, 232, 235), (150, 154, 160)
THRESHOLD = 0.5
"""Probability above which a pixel counts as wire."""


@dataclass
class Row:
    """One clip of the sheet.

    Attributes:
        lines: Beside the pictures; the first is brighter.
        images: (N, H, W), any intensities.
        wire_masks: (N, H, W) labels; None for none.
        predicted: (N, H, W) predictions; None for none.
        captions: One a picture, may be shorter.
        plain_first: Whether the first picture stays without outlines.
        ignore: (N, H, W) pixels to ignore; None for none.
    """

    lines: list[str]
    images: Array
    wire_masks: Array | None = None
    predicted: Array | None = None
    captions: list[str] = field(default_factory=list)
    plain_first: bool = True
    ignore: Array | None = None


def contact_sheet(artifact: Artifact, *, clips: int = CLIPS, frames: int = FRAMES) -> Bytes:
    """A picture of some clips, chosen evenly over the parts of the artifact.

    Args:
        artifact: Any kind. A segmentation shows its pictures where its source lies beside it, else probabilities.
        clips: Rows at most.
        frames: Pictures a row at most.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    chosen = _spread(artifact, clips)
    makers = {Kind.SOURCE: _filmed, Kind.MOTIONS: _filmed, Kind.SYNTHETIC: _filmed, Kind.SCENES: _scene}
    if artifact.kind == Kind.SEGMENTATION:
        rows = _segmented(artifact, chosen, frames)
        keys = [("label", LABEL_COLOUR)] if any(row.wire_masks is not None for row in rows) else []
        keys += [("prediction", PREDICTION_COLOUR)]
    else:
        rows = [makers[artifact.kind](artifact, clip, frames) for clip in chosen]
        keys = [("wire mask", LABEL_COLOUR)]
    if any(row.ignore is not None and row.ignore.any() for row in rows):
        keys += [("ignored", IGNORE_COLOUR)]
    height, width = artifact.frame_shape
    title = f"{artifact.path.name}: {artifact.kind.value}, {artifact.n_clips} clips of {height} x {width}"
    shown = f"{len({row.lines[0] for row in rows})} of them; each row in its own window of grey"
    shown += ", first picture without outline" if any(row.plain_first for row in rows) else ""
    return _draw(rows, title, shown, keys)


def _spread(artifact: Artifact, count: int) -> list[int]:
    """Clips evenly over the artifact, by turns from its parts: splits, or accepted and rejected."""
    if artifact.kind == Kind.SOURCE:
        part = artifact.column("clips/split")
        order = ["train", "val", "test"]
    elif artifact.kind == Kind.SYNTHETIC:
        part = np.where(artifact.column("clips/accepted"), "accepted", "rejected")
        order = ["accepted", "accepted", "rejected"]  # two accepted for each rejected
    else:
        part, order = np.full(artifact.n_clips, ""), [""]
    rows = {name: [int(row) for row in np.flatnonzero(part == name)] for name in order}
    queues = {}
    for name, members in rows.items():
        wanted = min(len(members), max(1, round(count * order.count(name) / len(order))))
        queues[name] = [members[k] for k in np.linspace(0, len(members) - 1, wanted).astype(int)] if members else []
    shown = [row for name in dict.fromkeys(order) for row in queues[name]][:count]
    left = [row for row in range(artifact.n_clips) if row not in set(shown)]
    extra = max(0, min(count - len(shown), len(left)))
    shown += [left[k] for k in np.linspace(0, len(left) - 1, extra).astype(int)] if extra else []
    return sorted(shown, key=lambda row: (order.index(str(part[row])), row))


def _offsets(length: int, count: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(np.int64))


def _filmed(artifact: Artifact, clip: int, frames: int) -> Row:
    column = artifact.column
    length = int(column("clips/length")[clip])
    offsets = _offsets(length, frames - 1)
    if artifact.kind == Kind.SOURCE:
        labelled = "labelled" if column("clips/labelled")[clip] else "not labelled"
        facts = [f"{column('clips/split')[clip]}, {labelled}", str(column("clips/origin")[clip])]
    else:
        facts = _made(artifact, clip)
    first = np.concatenate([offsets[:1], offsets])
    images, masks, ignore = (
        np.concatenate([artifact.clip_rows(key, clip, int(k), 1) for k in first])[_extent(artifact, clip)]
        if key in artifact.keys
        else None
        for key in ("frames/image", "frames/wire_mask", "frames/ignore")
    )
    assert images is not None
    annotated = artifact.clip_rows("frames/annotated", clip)
    seen = artifact.clip_rows("frames/visibility", clip)
    seen = seen[np.isfinite(seen)]
    facts += [f"CNR {np.median(seen):.2f}"] if seen.size else []
    captions = ["", *(f"{k + 1}/{length}" + ("" if annotated[k] else ", no label") for k in offsets)]
    lines = [str(column("clips/name")[clip]), *facts]
    return Row(lines, images, masks, captions=captions, ignore=ignore)


def _extent(artifact: Artifact, clip: int) -> tuple[slice, slice, slice]:
    """The part of a clip's frames that holds picture."""
    height, width = (int(artifact.column(f"clips/{key}")[clip]) for key in ("height", "width"))
    return np.s_[:, :height, :width]


def _made(artifact: Artifact, clip: int) -> list[str]:
    """What was asked of a generated clip and what came of it."""
    column = artifact.column
    facts = [f"{column('clips/mask_origin')[clip]} {column('clips/mask_source')[clip]}"]
    facts.append(f"asked for CNR {column('clips/requested_visibility')[clip]:.2f}")
    shown = str(column("clips/background")[clip]) if "clips/background" in artifact.keys else ""
    facts += [f"shows {shown}"] if shown else []
    if artifact.kind == Kind.SYNTHETIC:
        reason = str(column("clips/reject_reason")[clip])
        facts.append("accepted" if column("clips/accepted")[clip] else f"rejected: {reason}")
        facts.append(f"gate's Dice {column('clips/gate_dice')[clip]:.2f}")
    return facts


def _scene(artifact: Artifact, clip: int, frames: int) -> Row:
    """The scene, the scene with its mask, and where the wire is to go: later masks over the scene."""
    extent = _extent(artifact, clip)
    scene = artifact.rows("clips/scene", clip, clip + 1)[extent]
    offsets = _offsets(int(artifact.column("clips/length")[clip]), frames - 1)
    masks = np.concatenate([artifact.clip_rows("frames/wire_mask", clip, int(k), 1) for k in offsets])[extent]
    measured = float(artifact.column("clips/measured_visibility")[clip])
    lines = [str(artifact.column("clips/name")[clip]), *_made(artifact, clip), f"CNR {measured:.2f}"]
    captions = ["scene", "its mask", *(f"mask {k + 1}" for k in offsets[1:])]
    images = np.repeat(scene, len(masks) + 1, axis=0)
    return Row(lines, images, np.concatenate([masks[:1], masks]), captions=captions)


def _segmented(artifact: Artifact, chosen: list[int], frames: int) -> list[Row]:
    """A row for each clip and arm, from as few clips as make a sheet."""
    arms = [str(name) for name in artifact.column("arms/name")]
    source = _source_beside(artifact)
    rows = []
    for clip in chosen[: max(1, -(-len(chosen) // len(arms)))]:
        start, length = (int(artifact.column(f"clips/{key}")[clip]) for key in ("start", "length"))
        offsets = _offsets(length, frames - 1)
        name = str(artifact.column("clips/name")[clip])
        for number, arm in enumerate(arms):
            parts = [artifact.clip_rows("frames/probability", clip, int(k), 1)[number] for k in offsets]
            probability = np.concatenate(parts).astype(np.float32)
            captions = ["", *(f"{k + 1}/{length}" for k in offsets)]
            if source is None:
                rows.append(Row([name, arm, "probability"], probability, captions=captions[1:], plain_first=False))
                continue
            at = [int(row) for row in artifact.column("frames/source_frame")[start + offsets]]
            images, masks, ignore = (
                np.concatenate([source.rows(f"frames/{key}", row, row + 1) for row in at])
                for key in ("image", "wire_mask", "ignore")
            )
            extent = _extent(source, int(artifact.column("clips/source_clip")[clip]))
            stacks = (images, masks, probability >= THRESHOLD, ignore)
            first = [np.concatenate([a[:1], a])[extent] for a in stacks]
            rows.append(Row([name, arm], first[0], first[1], first[2], captions, ignore=first[3]))
    return rows


def _source_beside(artifact: Artifact) -> Artifact | None:
    path = find_parents(artifact).get("source")
    try:
        source = None if path is None else Artifact.open(path, Kind.SOURCE)
    except SfvdError:
        return None
    same = source is not None and source.content_hash == artifact.parents["source"]
    return source if same and source is not None and source.frame_shape == artifact.frame_shape else None


def _window(images: Array) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(images[:, ::2, ::2], (0.3, 99.7)))
    return (low, high) if high > low else (low - 1, low + 1)


def _fit(images: Array, masks: Array | None) -> tuple[Array, Array | None, int]:
    """Frames and masks of a size that fits a cell, and by how much they are to be enlarged.

    Large frames shrink by averaging; a mask keeps each pixel that it touches, so that thin wires stay whole.
    """
    height, width = images.shape[1:]
    if max(height, width) <= CELL_PX:
        return images, masks, fitting_scale(height, width, CELL_PX)
    ratio = CELL_PX / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))

    def shrunk(frame: Array) -> Array:
        return np.asarray(Image.fromarray(np.asarray(frame, np.float32)).resize(size, Image.Resampling.BOX))

    small = np.stack([shrunk(frame) for frame in images])
    return small, None if masks is None else np.stack([shrunk(m) > 0 for m in masks]), 1


def _pictures(row: Row) -> Bytes:
    """(N, h, w, 3) with outlines."""
    window = (0.0, 1.0) if row.images.dtype.kind == "f" else _window(row.images)
    images, masks, scale = _fit(row.images, row.wire_masks)
    _, predicted, _ = _fit(row.images, row.predicted)
    _, ignore, _ = _fit(row.images, row.ignore)
    grey = to_grey(images, window)
    drawn = overlay(grey, masks, ignore=ignore, predicted=predicted, scale=scale)
    if row.plain_first and (masks is not None or predicted is not None):
        drawn[:1] = overlay(grey[:1], scale=scale)
    return drawn


def _draw(rows: list[Row], title: str, shown: str, keys: list[tuple[str, tuple[int, int, int]]]) -> Bytes:
    pictures = [_pictures(row) for row in rows]
    widest = max(p.shape[0] * (p.shape[2] + GAP) for p in pictures)
    heights = [max(p.shape[1], 17 * len(row.lines)) + GAP for p, row in zip(pictures, rows, strict=True)]
    top = 48
    canvas = Image.new("RGB", (TEXT_PX + widest + GAP, top + sum(heights) + GAP), GROUND)
    draw = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((GAP, 6), title, INK, large)
    draw.text((GAP, 26), shown, DIM, small)
    at = canvas.width - GAP
    for name, colour in reversed(keys):
        at -= int(draw.textlength(name, small))
        draw.text((at, 8), name, INK, small)
        draw.rectangle((at - 16, 10, at - 6, 20), colour)
        at -= 34
    y = top
    for row, cells, height in zip(rows, pictures, heights, strict=True):
        for k, line in enumerate(row.lines):
            draw.text((GAP, y + 17 * k), _clipped(draw, line, small), INK if k == 0 else DIM, small)
        for k, cell in enumerate(cells):
            x = TEXT_PX + k * (cell.shape[1] + GAP)
            canvas.paste(Image.fromarray(cell), (x, y))
            if k < len(row.captions) and row.captions[k]:
                _caption(draw, (x + 3, y + cell.shape[0] - 15), row.captions[k], small)
        y += height
    return np.asarray(canvas)


def _clipped(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text that fits beside the pictures."""
    if draw.textlength(text, font) <= TEXT_PX - 2 * GAP:
        return text
    while text and draw.textlength(text + "...", font) > TEXT_PX - 2 * GAP:
        text = text[:-1]
    return text + "..."


def _caption(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    """Readable on any ground."""
    draw.text(at, text, INK, font, stroke_width=2, stroke_fill=GROUND)
