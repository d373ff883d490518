"""The section ``gate``."""

import math
from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import SHARE, Section, fail, integer, keys, mapping, number


def _consistent(section: Mapping[str, Any]) -> None:
    n, accepted, rejected = section["n"], section["accepted"], sum(section["reasons"].values())
    if accepted + rejected != n:
        fail("gate.reasons", f"{n - accepted} rejected clips, n less accepted", rejected)
    rate = section["rate"]
    if n and (rate is None or not math.isclose(rate, accepted / n, abs_tol=1e-6)):
        fail("gate.rate", accepted / n, rate)


SECTION = Section(
    keys(
        {
            "n": integer(),
            "accepted": integer(),
            "rate": SHARE,
            "attenuation_cnr": number(),
            "drawn_share": SHARE,
            "dice": SHARE,
            "min_labelled_clips": number(0),
            "reasons": mapping(integer()),
        }
    ),
    _consistent,
)
