"""The sections image and video with plausible numbers: vectors that lie apart by a known distance."""

from functools import lru_cache
from typing import Any

import numpy as np

from sfvd_pl.metrics.distribution import VectorSet
from sfvd_pl.metrics.likeness import NEIGHBOURS, likeness_row

DISTANCES = {"synthetic": 0.6, "floor": 0.15, "blur": 0.9, "noise": 1.2, "wrong masks": 0.7}
CLIPS = 32


def _vectors(distance: float, features: int, frames: int, seed: int) -> VectorSet:
    rng = np.random.default_rng(seed)
    clips = np.repeat(np.arange(CLIPS), frames)
    values = np.repeat(rng.standard_normal((CLIPS, features)), frames, 0) + 0.3 * rng.standard_normal(
        (len(clips), features)
    )
    return VectorSet(values + distance, clips, clips // 8)


def _space(name: str, vector: str, features: int, frames: int) -> dict[str, Any]:
    real = _vectors(0.0, features, frames, 0)
    rows = [
        likeness_row(row, real, _vectors(distance, features, frames, seed), n=CLIPS, seed=0)
        for seed, (row, distance) in enumerate(DISTANCES.items(), start=1)
    ]
    return {
        "name": name,
        "vector": vector,
        "num_features": features,
        "weights_sha256": "0" * 64,
        "resizing": "none: native scale",
        "whole": rows[:4],
        "roi": rows,
    }


@lru_cache(maxsize=1)
def feature_sections() -> dict[str, Any]:
    """The two sections; copy them before changing one."""

    def section(*spaces: dict[str, Any]) -> dict[str, Any]:
        return {
            "n_clips": CLIPS,
            "n_patients": 4,
            "neighbours": NEIGHBOURS,
            "roi_px": 32,
            "spaces": list(spaces),
            "absent": [{"name": "torchscript", "why": "no network of the user's own was given (--feature_script)"}],
            "note": "32 clips of 4 test patients",
        }

    return {
        "image": section(_space("domain-frames", "a frame", 8, 4), _space("imagenet-made-up", "a frame", 200, 4)),
        "video": section(_space("domain-clips", "a clip", 8, 1)),
    }
