"""The section ``memorisation``."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.metrics.schema.checks import (
    POSITIVE,
    SHARE,
    Check,
    Section,
    fail,
    flag,
    integer,
    interval,
    keys,
    listed,
    number,
    require_different_names,
    rows,
    text,
)

VERDICTS = ("copy", "clear", "unknown")


def _one_of(*allowed: str) -> Check:
    def check(value: object, key: str) -> None:
        if value not in allowed:
            fail(key, f"one of {list(allowed)}", repr(value))

    return check


_LEVEL = keys(
    {
        "name": text,
        "scale": _one_of("frame", "clip", "wire"),
        "space": text,
        "measure": text,
        "rate": SHARE,
        "threshold": number(),
        "clips": integer(),
        "patients": integer(),
        "effective": POSITIVE,
        "median": number(),
        "highest": number(),
        "assumption_free": SHARE,
    }
)
_ROW = {
    "copies": integer(),
    "share": interval(SHARE),
    "levels": listed(
        keys({"level": text, "n": integer(), "copies": integer(), "median": number(), "highest": number()})
    ),
}
_PLANTED = keys(
    {
        "kind": text,
        "n": integer(),
        "caught": integer(),
        "recall": interval(SHARE),
        "named": integer(),
        "levels": listed(keys({"level": text, "caught": integer()})),
    }
)
_NEAREST = keys(
    {
        "level": text,
        "similarity": number(),
        "threshold": number(),
        "training_clip": text,
        "training_patient": text,
        "training_frame": integer(),
        "frame": integer(),
        "top": integer(None),
        "left": integer(None),
        "quarter_turns": integer(),
        "mirrored": flag,
    }
)
_CLIP = keys(
    {
        "number": integer(),
        "clip": text,
        "verdict": _one_of(*VERDICTS),
        "by": listed(text),
        "evidence": number(),
        "nearest": listed(_NEAREST),
    }
)


def _consistent(section: Mapping[str, Any]) -> None:
    require_different_names(section["levels"], "memorisation.levels")
    require_different_names(section["rows"], "memorisation.rows")
    names = [level["name"] for level in section["levels"]]
    for key in ("rows", "planted"):
        for index, entry in enumerate(section[key]):
            if [part["level"] for part in entry["levels"]] != names:
                fail(f"memorisation.{key}[{index}].levels", f"the levels {names}", entry["levels"])
    for index, clip in enumerate(section["clips"]):
        if (clip["verdict"] == "copy") != bool(clip["by"]):
            fail(f"memorisation.clips[{index}].by", "the levels that say so, exactly for a copy", clip["by"])
        for level in [*clip["by"], *(entry["level"] for entry in clip["nearest"])]:
            if level not in names:
                fail(f"memorisation.clips[{index}]", f"one of the levels {names}", level)
    made = next((row for row in section["rows"] if row["name"] == "synthetic"), None)
    copies = sum(clip["verdict"] == "copy" for clip in section["clips"])
    if made is None or made["copies"] != copies:
        fail("memorisation.rows", f"a row 'synthetic' with the {copies} copies of memorisation.clips", made)


SECTION = Section(
    keys(
        {
            "rate": SHARE,
            "confidence": SHARE,
            "artifact": text,
            "training": keys({"clips": integer(), "patients": integer(), "frames": integer(), "searched": integer()}),
            "judged": keys({"whole": integer(), "wire": integer(), "lent": integer()}),
            "wire_found_by": _one_of("evaluator", "mask"),
            "levels": listed(_LEVEL),
            "rows": rows(_ROW),
            "planted": listed(_PLANTED),
            "clips": listed(_CLIP),
        }
    ),
    _consistent,
)
