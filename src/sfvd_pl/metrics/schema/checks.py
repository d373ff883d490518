"""Checks of values, and how they are put together: each takes a value and its key, and raises where it is wrong.

A number that could not be measured is NaN in code and null in the file.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from sfvd_pl.errors import MetricsError

Check = Callable[[object, str], None]


@dataclass(frozen=True)
class Section:
    """What a section of ``metrics.json`` holds.

    Attributes:
        check: Of its keys and values.
        consistent: Of values that must agree with one another; called with the section once ``check`` has passed.
    """

    check: Check
    consistent: Callable[[Mapping[str, Any]], None] = lambda section: None


def fail(
    key: str, expected: object, found: object, remedy: str = "see docs/metrics.md for this key"
) -> NoReturn:
    """Refuse the value at a key."""
    raise MetricsError(
        f"the metrics break their schema at {key or 'the top level'}",
        key=key or None,
        expected=expected,
        found=found,
        remedy=remedy,
    )


def cleaned(value: object) -> object:
    """A copy made of JSON's own types: NumPy numbers and arrays converted, NaN and infinities null."""
    if isinstance(value, Mapping):
        return {str(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return cleaned(value.tolist())
    if isinstance(value, list | tuple):
        return [cleaned(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def number(low: int | float = -math.inf, high: int | float = math.inf) -> Check:
    """A number in ``low..high``; null and NaN say that it is not known."""

    def check(value: object, key: str) -> None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
            fail(key, "a finite number or null", repr(value))
        elif not low <= value <= high:
            fail(key, f"a number in {low}..{high}", value)

    return check


def limit(value: object, key: str) -> None:
    """A bin's limit: as a number, but it may be infinite (null in a file)."""
    if not (isinstance(value, float) and math.isinf(value)):
        number()(value, key)


def integer(low: int | None = 0) -> Check:
    """A whole number, ``low`` or more; any without a limit."""

    def check(value: object, key: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
            fail(key, "an integer" if low is None else f"an integer, {low} or more", repr(value))

    return check


def text(value: object, key: str) -> None:
    """Any text."""
    if not isinstance(value, str):
        fail(key, "text", repr(value))


def flag(value: object, key: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        fail(key, "true or false", repr(value))


def anything(value: object, key: str) -> None:
    """Free-form: text, numbers, lists and mappings, as JSON has them."""
    try:
        json.dumps(cleaned(value))
    except TypeError:
        fail(key, "what JSON can hold", repr(value))


def listed(item: Check) -> Check:
    """A list of values of one kind."""

    def check(value: object, key: str) -> None:
        if not isinstance(value, list | tuple):
            fail(key, "a list", repr(value))
        for index, entry in enumerate(value):
            item(entry, f"{key}[{index}]")

    return check


def mapping(item: Check) -> Check:
    """A mapping from any text to values of one kind."""

    def check(value: object, key: str) -> None:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            fail(key, "a mapping from text", repr(value))
        for name, entry in value.items():
            item(entry, f"{key}.{name}")

    return check


def keys(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A mapping with exactly these keys: a missing or unknown one is an error."""
    extra = optional or {}

    def check(value: object, key: str) -> None:
        prefix = f"{key}." if key else ""
        if not isinstance(value, Mapping):
            fail(key, "a mapping", repr(value))
        for name in required:
            if name not in value:
                fail(prefix + name, "to be there", "missing")
        for name, entry in value.items():
            if name not in required and name not in extra:
                fail(f"{prefix}{name}", f"one of {sorted([*required, *extra])}", "an unknown key")
            (required.get(name) or extra[name])(entry, prefix + name)

    return check


SHARE = number(0, 1)
POSITIVE = number(0)
CORRELATION = number(-1.0000001, 1.0000001)


def interval(value: Check) -> Check:
    """``mean`` with its interval ``low`` to ``high``."""
    return keys({"mean": value, "low": value, "high": value})


def estimate(value: Check) -> Check:
    """``value``, of a whole set and so no mean, with its interval ``low`` to ``high``."""
    return keys({"value": value, "low": value, "high": value})


def rows(measures: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Measures of several sets: a list with one row a set, each with ``name``, ``n`` (clips) and the measures."""
    return listed(row(measures, optional))


def row(measures: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """One of :func:`rows`, such as that of the reference that the others are held against."""
    return keys({"name": text, "n": integer(), **measures}, optional)


def curve(value: Check) -> Check:
    """Means with their intervals, one a point."""
    return listed(interval(value))


def require_length(values: list[Any], length: int, key: str, what: str) -> None:
    """Refuse a curve that hasn't one value for each of ``length`` points."""
    if len(values) != length:
        fail(key, f"{length} values, one a {what}", len(values))


def require_different_names(entries: list[Mapping[str, Any]], key: str) -> None:
    """Refuse a list in which two entries have one ``name``."""
    names = [entry["name"] for entry in entries]
    if len(set(names)) != len(names):
        fail(key, "a different name for each", names)
