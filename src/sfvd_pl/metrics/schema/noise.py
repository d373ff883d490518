"""The section ``noise``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    CORRELATION,
    POSITIVE,
    Section,
    curve,
    fail,
    integer,
    interval,
    keys,
    listed,
    number,
    require_different_names,
    require_length,
    row,
    rows,
)

_COMPARED = keys({"synthetic": POSITIVE, "real": POSITIVE, "ratio": POSITIVE})
_MEASURES = {
    "pixel_std": interval(POSITIVE),
    "residual_std": interval(POSITIVE),
    "noise_std": interval(POSITIVE),
    "autocorrelation": curve(CORRELATION),
    "spectrum": curve(POSITIVE),
}


def _consistent(section: Mapping[str, Any]) -> None:
    table = section["residual_autocorrelation"]
    for name in ("synthetic", "real"):
        if len(table[name]) != len(table["lags"]):
            key = f"noise.residual_autocorrelation.{name}"
            fail(key, f"{len(table['lags'])} values, one a lag", len(table[name]))
    require_different_names(section["rows"], "noise.rows")
    places = {f"rows[{k}]": entry for k, entry in enumerate(section["rows"])}
    for place, entry in {"reference": section["reference"], **places}.items():
        for measure, points, what in (("autocorrelation", "lags", "lag"), ("spectrum", "frequencies", "frequency")):
            require_length(entry[measure], len(section[points]), f"noise.{place}.{measure}", what)


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
            "lags": listed(integer(1)),
            "frequencies": listed(number(0, 1)),
            "reference": row(_MEASURES),
            "rows": rows(_MEASURES),
        }
    ),
    _consistent,
)
