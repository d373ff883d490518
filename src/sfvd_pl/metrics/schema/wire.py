"""The section ``wire``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    CORRELATION,
    POSITIVE,
    SHARE,
    Section,
    fail,
    integer,
    interval,
    keys,
    listed,
    number,
    require_different_names,
    row,
    rows,
)

_MEASURES = {
    "cnr": interval(number()),
    "depth": interval(POSITIVE),
    "width_px": interval(POSITIVE),
    "label_width_px": interval(POSITIVE),
    "width_ratio": interval(POSITIVE),
    "offset_px": interval(POSITIVE),
    "tip_found": interval(SHARE),
    "tip_offset_px": interval(number()),
    "tip_error_px": interval(POSITIVE),
}
_BIN = keys(
    {
        "low": number(),
        "high": number(),
        "n": integer(1),
        "median": number(),
        "lower_quartile": number(),
        "upper_quartile": number(),
    }
)
_CALIBRATION = keys(
    {
        "n": integer(),
        "slope": interval(number()),
        "intercept": interval(number()),
        "spearman": interval(CORRELATION),
        "bins": listed(_BIN),
    }
)


def _consistent(section: Mapping[str, Any]) -> None:
    require_different_names(section["rows"], "wire.rows")
    calibration = section["calibration"]
    binned = sum(entry["n"] for entry in calibration["bins"])
    if binned != calibration["n"]:
        fail("wire.calibration.bins", f"{calibration['n']} clips, as wire.calibration.n says", binned)


SECTION = Section(
    keys({"reference": row(_MEASURES), "rows": rows(_MEASURES), "calibration": _CALIBRATION}), _consistent
)
