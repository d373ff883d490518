"""The sections ``image`` and ``video``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    POSITIVE,
    SHARE,
    Section,
    estimate,
    fail,
    flag,
    integer,
    keys,
    listed,
    number,
    require_different_names,
    rows,
    text,
)

_ROWS = rows(
    {
        "n_vectors": integer(),
        "n_units": integer(),
        "frechet": keys({"value": POSITIVE, "reliable": flag}),
        "kernel": estimate(number()),
        "kernel_subsets": keys({"mean": number(), "std": POSITIVE}),
        "precision": estimate(SHARE),
        "recall": estimate(SHARE),
        "density": estimate(POSITIVE),
        "coverage": estimate(SHARE),
        "note": text,
    }
)

_SPACE = keys(
    {
        "name": text,
        "vector": text,
        "num_features": integer(1),
        "weights_sha256": text,
        "resizing": text,
        "whole": _ROWS,
        "roi": _ROWS,
    }
)


def _consistent(section: Mapping[str, Any]) -> None:
    require_different_names(section["spaces"], "spaces")
    for space in section["spaces"]:
        for view in ("whole", "roi"):
            key = f"spaces.{space['name']}.{view}"
            require_different_names(space[view], key)
            for row in space[view]:
                known = row["n_vectors"] > space["num_features"]
                if row["frechet"]["reliable"] and not known:
                    fail(f"{key}.{row['name']}.frechet.reliable", False, True)
                if not row["frechet"]["reliable"] and not row["note"]:
                    fail(f"{key}.{row['name']}.note", "a word on the unreliable Frechet distance", "nothing")


SECTION = Section(
    keys(
        {
            "n_clips": integer(),
            "n_patients": integer(),
            "neighbours": integer(1),
            "roi_px": integer(1),
            "spaces": listed(_SPACE),
            "absent": listed(keys({"name": text, "why": text})),
            "note": text,
        }
    ),
    _consistent,
)
