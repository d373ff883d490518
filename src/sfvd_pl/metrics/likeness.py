"""The sections ``image`` and ``video``: how alike two sets of clips are in a feature space, with what says how far to
trust it."""

from typing import Any

import numpy as np

from sfvd_pl.metrics.distribution import (
    KernelDistance,
    VectorSet,
    frechet_of_vectors,
    kernel_inception_distance,
)
from sfvd_pl.metrics.manifold import overlap

NEIGHBOURS = 5
"""k of the balls: as Naeem et al. choose it."""
SUBSET_SIZE = 1000
"""Of KID as published; half of the vectors where there are fewer than twice as many."""
OVERLAPS = ("precision", "recall", "density", "coverage")


def likeness_row(name: str, reference: VectorSet, judged: VectorSet, *, n: int, seed: int) -> dict[str, Any]:
    """All measures of one set against the reference.

    Args:
        name: Of the row.
        reference: Vectors of real test patients.
        judged: Vectors of the set; as many as of the reference, or the figures of rows don't compare.
        n: Clips that the vectors are of.
        seed: Of the resampling.
    """
    count, features = judged.vectors.shape
    few = min(count, len(reference.vectors))
    kernel = KernelDistance(reference, judged)
    subset_mean, subset_std = kernel_inception_distance(
        reference.vectors, judged.vectors, subset_size=max(2, min(SUBSET_SIZE, few // 2)), seed=seed
    )
    return {
        "name": name,
        "n": n,
        "n_vectors": count,
        "n_units": len(np.unique(judged.units)),
        "frechet": {
            "value": frechet_of_vectors(reference.vectors, judged.vectors),
            "reliable": few > features,
        },
        "kernel": kernel.interval(seed=seed).as_dict("value"),
        "kernel_subsets": {"mean": subset_mean, "std": subset_std},
        **_overlaps(reference, judged, seed),
        "note": "" if few > features else _few_note(few, features),
    }


def _few_note(vectors: int, features: int) -> str:
    return (
        f"the Frechet distance is not reliable: {vectors} vectors of {features} numbers each, so their covariance is "
        "not known; go by the kernel distance and its interval"
    )


def _overlaps(reference: VectorSet, judged: VectorSet, seed: int) -> dict[str, dict[str, float]]:
    found = overlap(
        reference.vectors,
        judged.vectors,
        k=NEIGHBOURS,
        real_groups=reference.groups,
        made_groups=judged.groups,
    )
    if found is None:
        return {name: dict.fromkeys(("value", "low", "high"), float("nan")) for name in OVERLAPS}
    of = {"precision": judged, "density": judged, "recall": reference, "coverage": reference}
    return {name: of[name].mean_interval(getattr(found, name), seed=seed).as_dict("value") for name in OVERLAPS}
