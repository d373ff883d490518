"""The section ``motion``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    CORRELATION,
    POSITIVE,
    SHARE,
    Section,
    curve,
    interval,
    keys,
    number,
    require_different_names,
    require_length,
    row,
    rows,
)

_BY_FRAME = {
    "pixel_std": POSITIVE,
    "residual_std": POSITIVE,
    "sharpness": POSITIVE,
    "cnr": number(),
    "offset_px": POSITIVE,
}
_MEASURES = {
    "displacement_correlation": interval(CORRELATION),
    "displacement_error_px": interval(POSITIVE),
    "displacement_far": interval(SHARE),
    "mask_motion_px": interval(POSITIVE),
    **{name: interval(POSITIVE) for name in ("warp_error", "still_error", "noise_floor", "warp_ratio")},
    **{name: interval(POSITIVE) for name in ("flicker", "local_flicker")},
    **{f"drift_{name}": interval(number()) for name in _BY_FRAME},
    "by_frame": keys({name: curve(check) for name, check in _BY_FRAME.items()}),
}


def _consistent(section: Mapping[str, Any]) -> None:
    require_different_names(section["rows"], "motion.rows")
    frames = len(section["reference"]["by_frame"]["cnr"])
    places = {f"rows[{k}]": entry for k, entry in enumerate(section["rows"])}
    for place, entry in {"reference": section["reference"], **places}.items():
        for measure, values in entry["by_frame"].items():
            require_length(values, frames, f"motion.{place}.by_frame.{measure}", "frame")


SECTION = Section(keys({"reference": row(_MEASURES), "rows": rows(_MEASURES)}), _consistent)
