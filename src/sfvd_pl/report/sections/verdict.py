"""A paired difference in words."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.report.numbers import signed


def difference(row: Mapping[str, Any]) -> str:
    """A difference with its interval, and whether it is one: ``+0.100 (+0.020 to +0.200), higher``."""
    text, low, high = signed(row["mean"], 3), row["low"], row["high"]
    if low is None or high is None:
        return f"{text}, no interval"
    text += f" ({signed(low, 3)} to {signed(high, 3)})"
    if low > 0:
        return f"{text}, higher"
    return f"{text}, lower" if high < 0 else f"{text}, not told apart"
