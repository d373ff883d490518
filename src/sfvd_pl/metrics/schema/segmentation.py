"""The section ``segmentation``."""

from collections.abc import Mapping, Sequence
from math import isinf
from typing import Any, get_args

from sfvd_pl.metrics.intervals import Method
from sfvd_pl.metrics.schema.checks import (
    SHARE,
    Check,
    Section,
    fail,
    integer,
    interval,
    keys,
    limit,
    listed,
    mapping,
    number,
    text,
)
from sfvd_pl.metrics.scores import DEFINITIONS, HEADLINE

_VALUES: dict[str, Check] = {measure.name: number(0, measure.high) for measure in DEFINITIONS}
_INTERVALS: dict[str, Check] = {name: interval(check) for name, check in _VALUES.items()}
_DIFFERENCES: dict[str, Check] = {
    measure.name: interval(number() if isinf(measure.high) else number(-measure.high, measure.high))
    for measure in DEFINITIONS
}
_BIN = keys({"low": limit, "high": limit, "n_frames": integer(), "n_patients": integer(), **_INTERVALS})
_ARM = keys(
    {"name": text, **_INTERVALS, "patients": mapping(keys(_VALUES)), "by_visibility": listed(_BIN)},
    {"difference": keys({"reference": text, **_DIFFERENCES})},
)
_TEST = keys({"arm": text, "measure": text, "n_patients": integer(), "p": SHARE, "p_holm": SHARE})


def _consistent(section: Mapping[str, Any]) -> None:
    """Names, numbers of patients, references and tests agree with one another."""
    arms: Sequence[Mapping[str, Any]] = section["arms"]
    names = [arm["name"] for arm in arms]
    if len(set(names)) != len(names):
        fail("segmentation.arms", "a different name for each arm", names)
    if section["reference"] not in names:
        fail("segmentation.reference", f"one of {names}", section["reference"])
    if section["interval"]["method"] not in get_args(Method):
        fail("segmentation.interval.method", f"one of {get_args(Method)}", section["interval"]["method"])
    for index, arm in enumerate(arms):
        key = f"segmentation.arms[{index}]"
        if len(arm["patients"]) != section["n_patients"]:
            expected = f"{section['n_patients']} patients, as segmentation.n_patients says"
            fail(f"{key}.patients", expected, len(arm["patients"]))
        if "difference" in arm and arm["difference"]["reference"] not in names:
            fail(f"{key}.difference.reference", f"one of {names}", arm["difference"]["reference"])
    for index, row in enumerate(section["tests"]["rows"]):
        key = f"segmentation.tests.rows[{index}]"
        if row["arm"] not in names:
            fail(f"{key}.arm", f"one of {names}", row["arm"])
        if row["measure"] not in HEADLINE:
            fail(f"{key}.measure", f"one of {HEADLINE}", row["measure"])


SECTION = Section(
    keys(
        {
            "n_patients": integer(),
            "n_clips": integer(),
            "n_frames": integer(),
            "seeds": listed(integer(None)),
            "reference": text,
            "interval": keys({"level": SHARE, "method": text, "bootstrap_from": integer()}),
            "arms": listed(_ARM),
            "tests": keys(
                {
                    "method": text,
                    "family": integer(),
                    "smallest_p": SHARE,
                    "smallest_p_holm": SHARE,
                    "rows": listed(_TEST),
                }
            ),
        }
    ),
    _consistent,
)
