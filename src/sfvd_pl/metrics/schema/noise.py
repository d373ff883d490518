"""The section ``noise``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import CORRELATION, POSITIVE, Section, fail, integer, keys, listed, number

_COMPARED = keys({"synthetic": POSITIVE, "real": POSITIVE, "ratio": POSITIVE})


def _consistent(section: Mapping[str, Any]) -> None:
    table = section["residual_autocorrelation"]
    for name in ("synthetic", "real"):
        if len(table[name]) != len(table["lags"]):
            key = f"noise.residual_autocorrelation.{name}"
            fail(key, f"{len(table['lags'])} values, one a lag", len(table[name]))


SECTION = Section(
    keys(
        {
            "pixel_std": _COMPARED,
            "residual_std": _COMPARED,
            "residual_autocorrelation": keys(
                {
                    "lags": listed(integer()),
                    "synthetic": listed(CORRELATION),
                    "real": listed(CORRELATION),
                    "difference": number(-2, 2),
                }
            ),
        }
    ),
    _consistent,
)
