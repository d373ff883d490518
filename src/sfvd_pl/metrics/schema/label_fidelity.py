"""The section ``label_fidelity``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.label import MEASURES, REAL, SYNTHETIC
from sfvd_pl.metrics.schema.checks import (
    POSITIVE,
    SHARE,
    Check,
    Section,
    fail,
    integer,
    interval,
    keys,
    limit,
    listed,
    number,
    text,
)

_SHARES = ("dice", "cldice")
_VALUES: dict[str, Check] = {name: SHARE if name in _SHARES else POSITIVE for name in MEASURES}
_INTERVALS: dict[str, Check] = {name: interval(check) for name, check in _VALUES.items()}


def _consistent(section: Mapping[str, Any]) -> None:
    """Both sets are there, each once, and frames are in order."""
    names = [row["name"] for row in section["rows"]]
    if len(set(names)) != len(names) or not {SYNTHETIC, REAL} <= set(names):
        fail(
            "label_fidelity.rows", f"a different name for each row, {SYNTHETIC} and {REAL} among them", names
        )
    for index, row in enumerate(section["rows"]):
        key = f"label_fidelity.rows[{index}]"
        frames = [entry["frame"] for entry in row["by_frame"]]
        if frames != list(range(len(frames))):
            fail(f"{key}.by_frame", "frames 0, 1, 2 and so on", frames)
        if row["n_groups"] > row["n"]:
            fail(f"{key}.n_groups", f"at most the {row['n']} clips of {key}.n", row["n_groups"])


SECTION = Section(
    keys(
        {
            "rows": listed(
                keys(
                    {
                        "name": text,
                        "n": integer(),
                        "n_groups": integer(),
                        **_INTERVALS,
                        "drift": POSITIVE,
                        "by_frame": listed(keys({"frame": integer(), "n": integer(), **_INTERVALS})),
                        "by_visibility": listed(
                            keys({"low": limit, "high": limit, "n": integer(), **_INTERVALS})
                        ),
                    }
                )
            ),
            "ratio": keys(dict.fromkeys(_SHARES, POSITIVE)),
            "clips": listed(
                keys(
                    {
                        "number": integer(),
                        "name": text,
                        "n_frames": integer(1),
                        "visibility": number(),
                        **_VALUES,
                    }
                )
            ),
        }
    ),
    _consistent,
)
