"""The rules that the values of an artifact obey, one column at a time and across columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sfvd_pl.artifacts.columns import Column
from sfvd_pl.artifacts.schema import Kind

Array = np.ndarray[Any, Any]

_HALF_ONE = 0x3C00
"""Bit pattern of 1.0 in half precision; those of all numbers from 0 to 1 are at most this, as integers."""


def check_values(column: Column, values: Array, intensity_max: int, first_row: int = 0) -> list[str]:
    """Problems of some consecutive rows: NaN, infinity, values out of range, texts that aren't allowed.

    Args:
        column: The column.
        values: Rows of it.
        intensity_max: Greatest value of a picture.
        first_row: Row number of the first one, for the message.
    """
    if values.size == 0:
        return []
    if values.dtype == object:
        return _check_text(column, values)
    if values.dtype == np.float16 and column.range == (0, 1) and _within_half_one(values):
        return []
    problems = []
    if values.dtype.kind == "f":
        bad = np.isinf(values) if column.nan_ok else ~np.isfinite(values)
        if bad.any():
            allowed = "a finite number or NaN" if column.nan_ok else "a finite number"
            problems.append(_problem(column, values, bad, allowed, first_row))
    low, high = (0, intensity_max) if column.dtype == "image" else column.range or (None, None)
    if low is not None and high is not None and _outside(values, low, high):
        problems.append(
            _problem(column, values, (values < low) | (values > high), f"{low:g} to {high:g}", first_row)
        )
    return problems


def _outside(values: Array, low: float, high: float) -> bool:
    """Whether any value is outside the range; NaN is not."""
    if values.dtype.kind == "f":
        return bool(((values < low) | (values > high)).any())
    if values.dtype.kind == "u" and low <= 0 and high >= np.iinfo(values.dtype).max:
        return False  # the type can't hold anything else
    return bool(values.min() < low or values.max() > high)


def _within_half_one(values: Array) -> bool:
    """Whether all are within 0..1, without NaN; a shortcut, as arithmetic in half precision is slow."""
    return int(np.ascontiguousarray(values).view(np.uint16).max()) <= _HALF_ONE


def _check_text(column: Column, values: Array) -> list[str]:
    if column.choices is None:
        return []
    wrong = sorted({str(text) for text in values} - set(column.choices))
    return [f"{column.key}: expected one of {', '.join(column.choices)}; found {wrong[0]!r}"] if wrong else []


def _problem(column: Column, values: Array, bad: Array, expected: str, first_row: int) -> str:
    where = np.unravel_index(int(np.argmax(bad)), values.shape)
    return f"{column.key}: expected {expected}; found {values[where]} in row {first_row + int(where[0])}"


def check_table(kind: Kind, columns: Mapping[str, Array], dims: Mapping[str, int]) -> list[str]:
    """Problems across the columns that aren't pictures.

    Args:
        kind: What the artifact holds.
        columns: All columns without the axes H, W; a shard's may lack some of the clips table.
        dims: Length of each named axis.
    """
    problems = []
    if dims.get("M", 0) < 1:
        problems.append("clips: expected at least one clip; found none")
    if "A" in dims and dims["A"] < 1:
        problems.append("arms: expected at least one arm; found none")
    for key in ("clips/name", "clips/sample_id", "arms/name"):
        problems += _check_unique(key, columns)
    if "clips/start" in columns and "clips/length" in columns:
        problems += _check_tiling(columns["clips/start"], columns["clips/length"], dims.get("N", 0))
    for key, axis in (("clips/height", "H"), ("clips/width", "W")):
        if key in columns and (columns[key] > dims[axis]).any():
            problems.append(f"{key}: expected at most the frames' {dims[axis]}; found {columns[key].max()}")
    if kind == Kind.SOURCE:
        problems += _check_source(columns)
    if "clips/accepted" in columns and "clips/reject_reason" in columns:
        silent = np.asarray(columns["clips/accepted"], bool) != (columns["clips/reject_reason"] == "")
        if silent.any():
            problems.append(
                f"clips/reject_reason: expected a reason exactly where a clip wasn't accepted; "
                f"found otherwise in row {int(np.argmax(silent))}"
            )
    return problems


def _check_unique(key: str, columns: Mapping[str, Array]) -> list[str]:
    if key not in columns:
        return []
    values, counts = np.unique(columns[key], return_counts=True)
    if (counts > 1).any():
        return [f"{key}: expected no repeats; found {values[np.argmax(counts)]!s} {int(counts.max())} times"]
    if key.endswith("/name") and "" in values:
        return [f"{key}: expected names; found an empty one"]
    return []


def _check_tiling(start: Array, length: Array, n_frames: int) -> list[str]:
    """The clips must cover the frames table without gaps or overlaps, in any order."""
    order = np.argsort(start, kind="stable")
    edges = np.concatenate([[0], np.cumsum(length[order])])
    wrong = start[order] != edges[:-1]
    if wrong.any():
        first = int(np.argmax(wrong))
        return [
            f"clips/start: expected clips that follow one another without gap or overlap, the next at row "
            f"{edges[first]}; found {start[order][first]}"
        ]
    if edges[-1] != n_frames:
        return [f"clips/length: expected lengths that add up to the {n_frames} frames; found {edges[-1]}"]
    return []


def _check_source(columns: Mapping[str, Array]) -> list[str]:
    problems = []
    part_of: dict[str, str] = {}
    for patient, part in zip(columns["clips/patient"], columns["clips/split"], strict=True):
        if patient == "":
            problems.append("clips/patient: expected a name for every clip; found an empty one")
        elif part_of.setdefault(patient, part) != part:
            problems.append(
                f"clips/split: expected all clips of a patient in one part; found {patient} in "
                f"{part_of[patient]} and {part}"
            )
    annotated = columns["frames/annotated"]
    for row in np.flatnonzero(columns["clips/labelled"]):
        first = int(columns["clips/start"][row])
        if not annotated[first : first + int(columns["clips/length"][row])].any():
            problems.append(
                f"clips/labelled: expected an annotated frame in every labelled clip; row {row} has none"
            )
    return sorted(set(problems))
