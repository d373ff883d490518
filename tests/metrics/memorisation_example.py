"""The section memorisation of made-up scores: of four clips the first is a copy."""

from functools import lru_cache
from typing import Any

import numpy as np

from sfvd_pl.metrics.memorisation.bank import Bank
from sfvd_pl.metrics.memorisation.scores import PICTURE_LEVELS, Score, calibrate
from sfvd_pl.metrics.memorisation.search import Match
from sfvd_pl.metrics.memorisation.section import (
    Judged,
    clip_entries,
    memorisation_section,
    planted_row,
    set_row,
)
from sfvd_pl.metrics.memorisation.views import ORIENTATIONS, picture_view


@lru_cache(maxsize=1)
def memorisation_example() -> dict[str, Any]:
    """Made once, so copy what is to be changed."""
    rng = np.random.default_rng(0)

    def scores(shift: float = 0.0) -> dict[str, Score]:
        match = Match(0.5, 0.1, 0, 1, 2, ORIENTATIONS[3], 12, 20)
        return {level.name: Score(float(0.2 + 0.03 * rng.gumbel() + shift), match) for level in PICTURE_LEVELS}

    with Bank() as bank:
        noise = rng.normal(size=(2, 80, 80)).astype(np.float32)
        bank.add(picture_view(noise), name="p03/r01", patient="p03")
        banks = {level.name: bank for level in PICTURE_LEVELS}
        calibrated = calibrate(PICTURE_LEVELS, [scores() for _ in range(40)], [f"p{k % 10}" for k in range(40)], 0.01)
        made = [Judged(f"synthetic/{k:06d}", scores(2.0 * (k == 0))) for k in range(4)]
        copies = [Judged("p03/r01", scores(2.0)) for _ in range(6)]
        sets = {"synthetic": [clip.scores for clip in made], "floor": [scores() for _ in range(8)]}
        return memorisation_section(
            calibrated,
            rate=0.01,
            training={"clips": 1, "patients": 1, "frames": 2, "searched": 2},
            judged={"whole": 4, "wire": 0, "lent": 0},
            artifact="0" * 64,
            wire_found_by="mask",
            rows=[set_row(name, entries, calibrated) for name, entries in sets.items()],
            planted=[planted_row(kind, copies, calibrated, banks) for kind in ("exact", "noised")],
            clips=clip_entries(made, calibrated, banks, 64),
        )
