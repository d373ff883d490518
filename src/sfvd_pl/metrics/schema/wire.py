"""The section ``wire``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    POSITIVE,
    SHARE,
    Section,
    interval,
    keys,
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
def _consistent(section: Mapping[str, Any]) -> None:
    require_different_names(section["rows"], "wire.rows")


SECTION = Section(keys({"reference": row(_MEASURES), "rows": rows(_MEASURES)}), _consistent)
