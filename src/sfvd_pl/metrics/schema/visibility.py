"""The section ``visibility``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import CORRELATION, Section, fail, integer, keys, listed, number


def _consistent(section: Mapping[str, Any]) -> None:
    for name in ("requested", "measured"):
        if len(section[name]) != section["n"]:
            fail(f"visibility.{name}", f"{section['n']} values, as visibility.n says", len(section[name]))


SECTION = Section(
    keys(
        {
            "spearman": CORRELATION,
            "n": integer(),
            "requested": listed(number()),
            "measured": listed(number()),
        }
    ),
    _consistent,
)
