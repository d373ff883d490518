"""Numbers as a reader wants them: a true minus sign, a dash where nothing is known."""

import math
from collections.abc import Mapping
from typing import Any


def number(value: float | int | None, digits: int = 2) -> str:
    """A number with a fixed number of decimals."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def signed(value: float | int | None, digits: int = 2) -> str:
    """A difference, with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def significant(value: float | int | None, digits: int = 3) -> str:
    """A number of any size with so many significant digits, and no more than four decimals."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    decimals = digits - 1 - math.floor(math.log10(size))
    return number(value, min(max(decimals, 0), 4))


def interval(row: Mapping[str, Any], key: str = "mean", digits: int = 2) -> str:
    """``0.71 (0.65 to 0.77)``, or the number alone where the interval is not known."""
    text = number(row[key], digits)
    if row["low"] is None or row["high"] is None:
        return text
    return f"{text} ({number(row['low'], digits)} to {number(row['high'], digits)})"


def span(row: Mapping[str, Any]) -> str:
    """The interval alone, as far as it is known."""
    if row["low"] is None or row["high"] is None:
        return ""
    return f"{significant(row['low'])} to {significant(row['high'])}"


def middle(row: Mapping[str, Any]) -> float | None:
    """The estimate of an interval, a mean or a value of a whole set."""
    found: float | None = row["mean"] if "mean" in row else row["value"]
    return found


def percent(share: float | int | None) -> str:
    """A share of 1 in percent."""
    return "–" if share is None else f"{100 * share:.0f} %"


def duration(seconds: float | int | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
