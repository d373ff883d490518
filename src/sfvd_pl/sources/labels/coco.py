"""Shapes of a COCO annotation.

A ``segmentation`` is a list of polygons, or run lengths (RLE, plain or compressed). COCO knows no open curves; an
annotation with a key ``width`` (px) holds polylines in place of polygons. ``keypoints`` without a segmentation are
the points of one polyline, in order; those of visibility 0 don't count.
"""

import math
from pathlib import Path
from typing import Any

from sfvd_pl.sources.labels.files import Drawing, Mark, bad, corner_to_centre, mapping, said, whole
from sfvd_pl.sources.labels.shapes import Bitmap, Curve, Polygon, Shape, checked_points
from sfvd_pl.sources.recording import MAX_SIDE


def read_coco(content: dict[str, Any], file: Path, drawing: Drawing) -> list[Mark]:
    """COCO's images, annotations and categories.

    Raises:
        SourceError: A part is missing, refers to nothing, or isn't understood.
    """
    images = _by_id(content.get("images"), file, "images")
    categories = {
        k: str(v.get("name", k)) for k, v in _by_id(content.get("categories", []), file, "categories").items()
    }
    annotations = content.get("annotations")
    if not isinstance(annotations, list):
        raise bad(file, "annotations", type(annotations).__name__, "a list")
    used = {_category(a, categories) for a in annotations if isinstance(a, dict)}
    wires = drawing.wires(used, file, categories.values())
    drawn: dict[Any, list[Shape]] = {k: [] for k, image in images.items() if image.get("annotated") is True}
    for number, annotation in enumerate(annotations):
        where = f"annotations[{number}]"
        try:
            annotation = mapping(annotation)
            image = images[annotation["image_id"]]
            if _category(annotation, categories) in wires:
                shapes = shapes_of(annotation, _size(image), drawing)
                drawn.setdefault(annotation["image_id"], []).extend(shapes)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise bad(
                file, where, said(error), "COCO polygons, RLE, or a polyline or keypoints with a width"
            ) from error
    marks = []
    for k, shapes in drawn.items():
        image, where = images[k], f"image {k}"
        try:
            frame = None if image.get("frame_index") is None else whole(image["frame_index"])
            size = _size(image) or next(((s.height, s.width) for s in shapes if isinstance(s, Bitmap)), None)
            marks.append(Mark(str(image["file_name"]), frame, tuple(shapes), size, where))
        except (ValueError, TypeError, KeyError) as error:
            raise bad(file, where, said(error), "file_name, and for a video frame_index") from error
    return marks


def _category(annotation: dict[str, Any], categories: dict[Any, str]) -> str:
    key = annotation.get("category_id")
    return categories.get(key, str(key)) if isinstance(key, int | str) else "none"


def _by_id(values: Any, file: Path, key: str) -> dict[Any, dict[str, Any]]:
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise bad(file, key, type(values).__name__, "a list of objects")
    out: dict[Any, dict[str, Any]] = {}
    for value in values:
        if not isinstance(value.get("id"), int | str) or value["id"] in out:
            raise bad(file, key, value.get("id"), "an id of its own for each")
        out[value["id"]] = value
    return out


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if height is None or width is None:
        return None
    if not all(isinstance(v, int | float) and math.isfinite(v) and 1 <= v <= 1e6 for v in (height, width)):
        raise ValueError(f"a picture of {height} x {width}")
    return int(height), int(width)


def shapes_of(annotation: dict[str, Any], size: tuple[int, int] | None, drawing: Drawing) -> list[Shape]:
    """What an annotation draws.

    Args:
        annotation: One of COCO's annotations.
        size: Height and width of its image, where known.
        drawing: Width of keypoint curves.

    Raises:
        ValueError: It draws nothing, or what isn't understood.
    """
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return [_bitmap(segmentation, size)]
    if segmentation:
        if not isinstance(segmentation, list) or not all(isinstance(part, list) for part in segmentation):
            raise ValueError("a segmentation must be RLE or a list of lists x, y, x, y, ...")
        parts = [corner_to_centre(_pairs(part)) for part in segmentation]
        if "width" in annotation:
            width = drawing.width_of(annotation["width"])
            return [Curve(checked_points(part, 2), width) for part in parts]
        return [Polygon(checked_points(part, 3)) for part in parts]
    keypoints = annotation.get("keypoints")
    if not keypoints:
        raise ValueError("neither a segmentation nor keypoints")
    if not isinstance(keypoints, list) or len(keypoints) % 3:
        raise ValueError("keypoints must be x, y, visibility, ...")
    seen = [(keypoints[k], keypoints[k + 1]) for k in range(0, len(keypoints), 3) if keypoints[k + 2]]
    points = checked_points(corner_to_centre(seen), 2)
    return [Curve(points, drawing.width_of(annotation.get("width")))]


def _pairs(flat: list[Any]) -> list[tuple[float, float]]:
    if len(flat) % 2:
        raise ValueError("an odd number of coordinates")
    return [(float(flat[k]), float(flat[k + 1])) for k in range(0, len(flat), 2)]


def _bitmap(rle: dict[str, Any], size: tuple[int, int] | None) -> Bitmap:
    height, width = (int(v) for v in rle["size"])
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"run lengths of a picture of {height} x {width}")
    if size is not None and size != (height, width):
        raise ValueError(f"run lengths of a picture of {height} x {width}, not {size[0]} x {size[1]}")
    counts = rle["counts"]
    runs = decode_counts(counts) if isinstance(counts, str) else [int(v) for v in counts]
    if any(run < 0 for run in runs) or sum(runs) != height * width:
        raise ValueError(f"run lengths that add up to {sum(runs)}; expected {height * width}")
    return Bitmap(0, 0, height, width, tuple(runs), by_column=True)


def decode_counts(text: str) -> list[int]:
    """COCO's compressed run lengths (cocoapi's rleFrString).

    Each number is written in groups of 5 bits, the lowest first, as characters from "0" on; 32 marks that another
    group follows, 16 in the last one that the number is negative. From the third on, numbers are differences to
    the one before the last.

    Raises:
        ValueError: Another character, or the text ends within a number.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            raise ValueError(f"a character {character!r} in run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("run lengths that end within a number")
    return runs
