"""Label files: COCO JSON, CVAT XML, point lists in JSON or CSV. Each becomes marks of frames by name or number."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.labels.shapes import Curve, Shape, checked_points, checked_width, curve_points

MAX_BYTES = 64 * 2**20
"""Largest file of labels."""
WIRE_NAMES = ("wire", "guidewire", "guide wire", "guide-wire", "guide_wire")
"""Names of the label that is taken where a file has several and the user doesn't say which."""
_JSON = (
    '{"frames": [{"frame": 0 or "file": "x.png", "clip": ..., "curves": [{"points": [[x, y], ...], "width": 2, "kind": '
    '"polyline"}]}]}; width and kind may stand once at the top'
)
_CSV = "columns x, y, and frame (from 0) or file; optional clip, wire, width, kind; a line a point"
_CORNER = 0.5
"""COCO and CVAT count from the corner of the first pixel; here whole numbers are pixel centres."""


@dataclass(frozen=True)
class Mark:
    """What a file says about one frame.

    Args:
        key: Name of a picture, a clip or a clip's file; empty for the recording that the file lies beside.
        frame: Number of the frame from 0; None where ``key`` names a picture.
        shapes: What was drawn; nothing means that somebody looked and found no wire.
        size: Height and width of the frame as the file has it, None where it doesn't say.
        where: Place in the file, for errors.
    """

    key: str
    frame: int | None
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None
    where: str


@dataclass(frozen=True)
class Drawing:
    """How to understand a label file.

    Args:
        width: Width of curves without one of their own, px; None where there is none.
        labels: Names of the labels or categories that are wires; none: one of ``WIRE_NAMES``, or the only one.
        seen: Those of ``labels`` that were found so far.
    """

    width: float | None = None
    labels: tuple[str, ...] = ()
    seen: set[str] = field(default_factory=set, compare=False)

    def width_of(self, own: Any) -> float:
        """A curve's own width, else the given one.

        Raises:
            ValueError: There is neither, or it is no width.
        """
        if own is None and self.width is None:
            raise ValueError("a curve without a width: give it one, or pass --wire_width PX")
        return checked_width(self.width if own is None else own)

    def wires(self, names: Iterable[str], file: Path, declared: Iterable[str] = ()) -> set[str]:
        """Which of a file's labels are wires.

        Args:
            names: Labels of what was drawn.
            file: For the error.
            declared: Labels that could have been drawn: a stent isn't a wire where no wire happens to be drawn.

        Raises:
            SourceError: None of them, or several and none of a known name.
        """
        present = set(names)
        if self.labels:
            self.seen.update(present & set(self.labels))
            return present & set(self.labels)
        known = {name for name in present.union(declared) if name.strip().lower() in WIRE_NAMES}
        if known or len(present) <= 1:
            return known or present
        raise SourceError(
            "which label is the wire?",
            file=file,
            key="wire_labels",
            expected=f"one label, or one named {', '.join(WIRE_NAMES)}",
            found=", ".join(sorted(present)[:20]),
            remedy="name it: --wire_labels '[NAME]'",
        )


def corner_to_centre(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Coordinates counted from the first pixel's corner, counted from its centre."""
    return [(float(x) - _CORNER, float(y) - _CORNER) for x, y in points]


def bad(file: Path, where: str, found: object, expected: str) -> SourceError:
    """An error at a place in a label file."""
    return SourceError(
        "a label that isn't understood", file=file, key=where, expected=expected, found=str(found)[:300],
        remedy="correct it, or remove it from the file",
    )  # fmt: skip


def check_bytes(path: Path) -> None:
    """Refuse a label file of absurd size.

    Raises:
        SourceError: It is too large, or isn't there.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise SourceError(
            "the labels can't be read", file=path, expected="a file", found=str(error)
        ) from error
    if size > MAX_BYTES:
        raise SourceError(
            "the file of labels is too large", file=path, expected=f"<= {MAX_BYTES} bytes", found=size
        )


# -- point lists -----------------------------------------------------------------------------------------------


def read_point_json(content: dict[str, Any], file: Path, drawing: Drawing) -> list[Mark]:
    """A point list in JSON.

    ``{"frames": [{"clip": ..., "frame": 0 | "file": "x.png", "curves": [{"points": [[x, y], ...], "width": 2,
    "kind": "polyline"}]}]}``; ``width`` and ``kind`` may stand once at the top; no curves: no wire.

    Raises:
        SourceError: Something else.
    """
    frames = content.get("frames")
    if not isinstance(frames, list):
        raise bad(file, "frames", type(frames).__name__, "a list")
    marks = []
    for number, entry in enumerate(frames):
        where = f"frames[{number}]"
        try:
            defaults = {**{k: content.get(k) for k in ("width", "kind")}, **mapping(entry)}
            curves = entry["curves"]
            if not isinstance(curves, list):
                raise ValueError("curves must be a list; an empty one says that there is no wire")
            shapes = tuple(_curve({**defaults, **_without_none(mapping(curve))}, drawing) for curve in curves)
            key, frame = _place(entry)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise bad(file, where, said(error), _JSON) from error
        marks.append(Mark(key, frame, shapes, None, where))
    return marks


def read_point_csv(file: Path, drawing: Drawing) -> list[Mark]:
    """A point list in CSV: columns ``x``, ``y``, and ``frame`` (from 0) or ``file``; optional ``clip``, ``wire``,
    ``width``, ``kind``. A line a point, in order along the wire; ``wire`` tells several curves of a frame apart. A
    line without x and y says that there is no wire in its frame.

    Raises:
        SourceError: Something else.
    """
    check_bytes(file)
    curves: dict[tuple[str, int | None], dict[str, list[dict[str, str]]]] = {}
    lines: dict[tuple[str, int | None], int] = {}
    for number, row in _rows(file):
        try:
            place = _place({k: v for k, v in row.items() if v})
            place = (place[0], place[1])
        except (ValueError, TypeError, KeyError) as error:
            raise bad(file, f"line {number}", said(error), _CSV) from error
        lines.setdefault(place, number)
        wires = curves.setdefault(place, {})
        if row.get("x") or row.get("y"):
            wires.setdefault(row.get("wire") or "", []).append(row)
    marks = []
    for place, wires in curves.items():
        where = f"line {lines[place]}"
        try:
            shapes = tuple(_csv_curve(rows, drawing) for rows in wires.values())
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise bad(file, where, said(error), _CSV) from error
        marks.append(Mark(*place, shapes, None, where))
    return marks


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns = set(reader.fieldnames or ())
            if not {"x", "y"} <= columns or not {"frame", "file"} & columns:
                raise bad(file, "line 1", sorted(columns), _CSV)
            for row in reader:
                if None in row:
                    raise bad(file, f"line {reader.line_num}", "more cells than columns", "a cell a column")
                yield reader.line_num, {k: (v or "").strip() for k, v in row.items()}
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError("the labels can't be read", file=file, expected="CSV", found=str(error)) from error


def _csv_curve(rows: list[dict[str, str]], drawing: Drawing) -> Curve:
    same = {key: {row[key] for row in rows if row.get(key)} for key in ("width", "kind")}
    for key, values in same.items():
        if len(values) > 1:
            raise ValueError(f"one curve with several values of {key}: {', '.join(sorted(values)[:5])}")
    known: dict[str, Any] = {key: next(iter(values)) for key, values in same.items() if values}
    if "width" in known:
        known["width"] = float(known["width"])
    return _curve({**known, "points": [(row["x"], row["y"]) for row in rows]}, drawing)


def _curve(entry: dict[str, Any], drawing: Drawing) -> Curve:
    points = checked_points(entry["points"], 2)
    kind, knots, degree = entry.get("kind") or "polyline", entry.get("knots"), entry.get("degree", 3)
    if knots is not None and not (isinstance(knots, list) and len(knots) <= 2 * len(points) + 16):
        raise ValueError("knots must be a list")
    if not isinstance(degree, int):
        raise ValueError(f"a degree of {degree!r}")
    return Curve(
        curve_points(str(kind), points, knots=knots, degree=degree), drawing.width_of(entry.get("width"))
    )


def _place(entry: Any) -> tuple[str, int | None]:
    """Key and frame of an entry."""
    entry = mapping(entry)
    clip, name, frame = entry.get("clip", ""), entry.get("file"), entry.get("frame")
    if (name is None) == (frame is None):
        raise ValueError("an entry names its frame by number (frame) or by picture (file), one of both")
    if not isinstance(clip, str) or not isinstance(name, str | None):
        raise ValueError("clip and file are names")
    if name is not None:
        return (f"{clip}/{name}" if clip else name), None
    return clip, whole(frame)


def whole(value: Any) -> int:
    """A frame number, from a number or its text.

    Raises:
        ValueError: It isn't one.
    """
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"a frame number of {value!r}")
    number = int(value)
    if not 0 <= number < 2**31:
        raise ValueError(f"a frame number of {value!r}")
    return number


def mapping(value: Any) -> dict[str, Any]:
    """Keys and values.

    Raises:
        ValueError: Something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a {type(value).__name__} where keys and values belong")
    return value


def _without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if v is not None}


def said(error: Exception) -> str:
    """What went wrong, in words."""
    return f"no {error}" if isinstance(error, KeyError) else str(error)
