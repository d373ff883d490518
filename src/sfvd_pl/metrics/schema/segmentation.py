"""The section ``segmentation``."""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    POSITIVE,
    SHARE,
    Check,
    Section,
    fail,
    integer,
    interval,
    keys,
    listed,
    mapping,
    number,
    text,
)

_REQUIRED: dict[str, Check] = {"dice": SHARE, "cldice": SHARE, "tip_error_px": POSITIVE}
_OPTIONAL: dict[str, Check] = {"iou": SHARE, "hd95_px": POSITIVE, "assd_px": POSITIVE}


def _intervals(measures: Mapping[str, Check]) -> dict[str, Check]:
    return {name: interval(check) for name, check in measures.items()}


def _signed(measures: Mapping[str, Check]) -> dict[str, Check]:
    return {name: interval(number()) for name in measures}


_ARM = keys(
    {"name": text, **_intervals(_REQUIRED), "patients": mapping(keys(_REQUIRED, _OPTIONAL))},
    {
        **_intervals(_OPTIONAL),
        "difference": keys({"reference": text, **_signed(_REQUIRED)}, _signed(_OPTIONAL)),
    },
)


def _consistent(section: Mapping[str, Any]) -> None:
    arms: Sequence[Mapping[str, Any]] = section["arms"]
    names = [arm["name"] for arm in arms]
    if len(set(names)) != len(names):
        fail("segmentation.arms", "a different name for each arm", names)
    for index, arm in enumerate(arms):
        if len(arm["patients"]) != section["n_patients"]:
            fail(
                f"segmentation.arms[{index}].patients",
                f"{section['n_patients']} patients, as segmentation.n_patients says",
                len(arm["patients"]),
            )
        if "difference" in arm and arm["difference"]["reference"] not in names:
            key = f"segmentation.arms[{index}].difference.reference"
            fail(key, f"one of {names}", arm["difference"]["reference"])


SECTION = Section(
    keys({"n_patients": integer(), "seeds": listed(integer(None)), "arms": listed(_ARM)}), _consistent
)
