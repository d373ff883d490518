"""The section ``visibility``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    CORRELATION,
    Section,
    fail,
    flag,
    interval,
    keys,
    listed,
    number,
    rows,
)


def _consistent(section: Mapping[str, Any]) -> None:
    n = {row["name"]: row["n"] for row in section["rows"]}
    if n != {"all": len(section["requested"]), "accepted": sum(section["accepted"])}:
        fail("visibility.rows", "the rows all and accepted, with as many clips as visibility.accepted says", n)
    for name in ("measured", "accepted"):
        if len(section[name]) != n["all"]:
            fail(f"visibility.{name}", f"{n['all']} values, as visibility.requested has", len(section[name]))


SECTION = Section(
    keys(
        {
            "rows": rows(
                {
                    "pearson": interval(CORRELATION),
                    "spearman": interval(CORRELATION),
                    "slope": interval(number()),
                    "intercept": interval(number()),
                }
            ),
            "requested": listed(number()),
            "measured": listed(number()),
            "accepted": listed(flag),
        }
    ),
    _consistent,
)
