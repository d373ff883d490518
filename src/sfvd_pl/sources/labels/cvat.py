"""CVAT's XML 1.1: polylines, polygons and masks of images, and tracks of a video."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.labels.files import Drawing, Mark, bad, check_bytes, corner_to_centre, whole
from sfvd_pl.sources.labels.shapes import Bitmap, Curve, Points, Polygon, Shape, checked_points
from sfvd_pl.sources.recording import MAX_SIDE

EMPTY_TAGS = ("empty", "no wire", "no_wire", "no-wire")
"""Labels of an image's tag that say that somebody looked and found no wire."""
SHAPES = ("polyline", "polygon", "mask")
MAX_SHAPES = 50_000
"""Shapes of all tracks, the frames between their entries included."""
_EXPECTED = "CVAT XML 1.1 with polylines, polygons or masks"


def read_cvat(path: Path, drawing: Drawing) -> list[Mark]:
    """Marks of a CVAT file, for images or for video.

    An image without shapes has no label, unless it has a tag named as one of ``EMPTY_TAGS``. A track labels the frames
    between its first and its last entry; where frames aren't listed, the points go straight from one entry to the
    next, as in CVAT. Frames in which a track is outside have no label of it.

    Raises:
        SourceError: defusedxml is missing, no such XML, or a shape that isn't understood.
    """
    root = _parsed(path)
    size = _task_size(root)
    labels = {
        str(shape.get("label", "")) for shape in root.iter() if shape.tag in SHAPES and shape.get("label")
    }
    labels |= {str(track.get("label", "")) for track in root.iter("track")}
    declared = {name.text or "" for name in root.findall(".//meta//labels/label/name")}
    wires = drawing.wires(labels, path, declared)
    marks = [
        mark for image in root.iter("image") if (mark := _image(image, wires, path, drawing)) is not None
    ]
    source = root.findtext(".//meta//source") or ""
    frames: dict[int, list[Shape]] = {}
    tracks = [_entries(track, path) for track in root.iter("track") if track.get("label", "") in wires]
    spans = sum(entries[-1][0] - entries[0][0] + 1 for _, entries in tracks if entries)
    if spans > MAX_SHAPES:
        raise bad(path, "tracks", f"{spans} shapes", f"at most {MAX_SHAPES}")
    for where, entries in tracks:
        for frame, shape in _drawn(entries, where, path, drawing):
            frames.setdefault(frame, []).append(shape)
    marks += [Mark(source, frame, tuple(frames[frame]), size, f"frame {frame}") for frame in sorted(frames)]
    return marks


def _parsed(path: Path) -> Any:
    try:
        import defusedxml
        from defusedxml.ElementTree import parse
    except ImportError as error:
        remedy = "pip install 'sfvd-pl[labels]'"
        raise SourceError(
            "reading CVAT needs defusedxml", file=path, expected="defusedxml", remedy=remedy
        ) from error
    from xml.etree.ElementTree import ParseError

    check_bytes(path)
    try:
        root = parse(path, forbid_dtd=True).getroot()
    except (
        ParseError,
        defusedxml.DefusedXmlException,
        OSError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        raise SourceError(
            "the labels can't be read", file=path, expected=_EXPECTED, found=str(error)
        ) from error
    if root is None or root.tag != "annotations":
        raise SourceError(
            "the labels can't be read", file=path, expected=_EXPECTED, found=f"<{getattr(root, 'tag', '')}>"
        )
    return root


def _task_size(root: Any) -> tuple[int, int] | None:
    """Frame size of a video task."""
    height, width = root.findtext(".//original_size/height"), root.findtext(".//original_size/width")
    try:
        return (int(height), int(width)) if height and width else None
    except ValueError:
        return None


def _image(image: Any, wires: set[str], path: Path, drawing: Drawing) -> Mark | None:
    where = f"image {image.get('name', image.get('id', '?'))}"
    try:
        shapes = [
            _shape(element, drawing)
            for element in image
            if element.tag in SHAPES and element.get("label", "") in wires
        ]
        empty = any(tag.get("label", "").strip().lower() in EMPTY_TAGS for tag in image.iter("tag"))
        if shapes and empty:
            raise ValueError("shapes, and a tag that says there is no wire")
        if not shapes and not empty:
            return None
        size = (
            (int(image.get("height")), int(image.get("width")))
            if image.get("height") and image.get("width")
            else None
        )
        return Mark(image.get("name") or "", None, tuple(shapes), size, where)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise bad(path, where, error, _EXPECTED) from error


def _shape(element: Any, drawing: Drawing) -> Shape:
    if element.tag == "mask":
        return _mask(element)
    points = _points(element)
    if element.tag == "polygon":
        return Polygon(checked_points(points, 3))
    return Curve(checked_points(points, 2), _width(element, drawing))


def _width(element: Any, drawing: Drawing) -> float:
    own = [child.text for child in element.iter("attribute") if child.get("name") == "width" and child.text]
    return drawing.width_of(float(own[0]) if own else None)


def _points(element: Any) -> Points:
    text = element.get("points") or ""
    pairs = [tuple(float(v) for v in pair.split(",")) for pair in text.split(";") if pair.strip()]
    return checked_points(corner_to_centre(pairs), 1)  # type: ignore[arg-type]  # unpacking checks the pairs


def _mask(element: Any) -> Bitmap:
    left, top, width, height = (whole(element.get(key)) for key in ("left", "top", "width", "height"))
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ValueError(f"a mask of {height} x {width}")
    runs = tuple(int(run) for run in (element.get("rle") or "").split(","))
    if any(run < 0 for run in runs) or sum(runs) != width * height:
        raise ValueError(f"run lengths that add up to {sum(runs)}; expected {width * height}")
    return Bitmap(left, top, height, width, runs, by_column=False)


def _entries(track: Any, path: Path) -> tuple[str, list[tuple[int, Any]]]:
    """Place of a track, and its entries by frame."""
    where = f"track {track.get('id', '?')}"
    elements = [element for element in track if element.tag in SHAPES]
    try:
        by_frame = {whole(element.get("frame")): element for element in elements}
    except (ValueError, TypeError) as error:
        raise bad(path, where, error, _EXPECTED) from error
    if len(by_frame) < len(elements):
        raise bad(path, where, "two shapes in one frame", _EXPECTED)
    return where, sorted(by_frame.items())


def _drawn(
    entries: list[tuple[int, Any]], where: str, path: Path, drawing: Drawing
) -> Iterator[tuple[int, Shape]]:
    """Frames and shapes of a track, in between as well."""
    try:
        for k, (frame, element) in enumerate(entries):
            if element.get("outside") == "1":
                continue
            shape = _shape(element, drawing)
            yield frame, shape
            if k + 1 < len(entries):
                after, following = entries[k + 1]
                for between in range(frame + 1, after):
                    share = (between - frame) / (after - frame)
                    yield between, _between(shape, following, share, drawing)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise bad(path, where, error, _EXPECTED) from error


def _between(shape: Shape, element: Any, share: float, drawing: Drawing) -> Shape:
    """The shape a share of the way to the next entry of its track."""
    if isinstance(shape, Bitmap):
        return shape  # CVAT keeps a mask until its next keyframe
    begin, end = np.array(shape.points), np.array(_points(element))
    if len(begin) != len(end):
        if isinstance(shape, Polygon):
            message = "polygons of different numbers of points; export the track with all its frames"
            raise ValueError(message)
        count = max(len(begin), len(end))
        begin, end = _even(begin, count), _even(end, count)
    points = tuple((float(x), float(y)) for x, y in (1 - share) * begin + share * end)
    if isinstance(shape, Polygon):
        return Polygon(points)
    return Curve(points, shape.width)


def _even(points: Any, count: int) -> Any:
    """So many points at equal steps of arc length."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    return np.stack(
        [np.interp(np.linspace(0, along[-1], count), along, column) for column in points.T], axis=1
    )
