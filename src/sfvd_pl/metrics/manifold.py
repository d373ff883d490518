"""Precision, recall, density and coverage: how far two sets of feature vectors lie among one another.

Each real vector is the centre of a ball that reaches to its k-th nearest neighbour in its own set; together the balls
stand for where real pictures are. Neighbours of the same group (frames of the same clip) are passed over, or the balls
would only hold the clip itself.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Bools, Floats, Ints, require_axes


class Overlap(NamedTuple):
    """Precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem et al. 2020,
    arXiv 2002.09797): the means of these arrays.

    Attributes:
        precision: ``M``, whether a generated vector lies within any real ball.
        density: ``M``, how many real balls it lies in, over k; the mean may exceed 1.
        recall: ``N``, whether a real vector lies within any generated ball.
        coverage: ``N``, whether any generated vector lies in its ball.
    """

    precision: Floats
    density: Floats
    recall: Floats
    coverage: Floats


def overlap(
    real: Float[np.ndarray, "N D"],
    made: Float[np.ndarray, "M D"],
    *,
    k: int,
    real_groups: Int[np.ndarray, " N"] | None = None,
    made_groups: Int[np.ndarray, " M"] | None = None,
) -> Overlap | None:
    """All four; None where a vector of either set has fewer than k others of another group.

    Args:
        real: Vectors of the reference.
        made: Vectors of the set that is judged.
        k: Which neighbour a ball reaches to.
        real_groups: Which real vectors belong together; None: each is by itself.
        made_groups: The same of the other set.

    Raises:
        MetricsError: ``k`` is less than 1.
    """
    require_axes(real, "N D", "real")
    require_axes(made, "N D", "made")
    if k < 1:
        raise MetricsError("no such neighbour", key="k", expected="1 or more", found=k)
    real_radius, made_radius = _radii(real, k, real_groups), _radii(made, k, made_groups)
    if real_radius is None or made_radius is None:
        return None
    distance: Floats = cdist(real, made)  # N real x M made
    in_real: Bools = distance <= real_radius[:, None]
    in_made: Bools = distance <= made_radius[None, :]
    return Overlap(
        precision=np.asarray(in_real.any(0), np.float64),
        density=np.asarray(in_real.sum(0) / k, np.float64),
        recall=np.asarray(in_made.any(1), np.float64),
        coverage=np.asarray(in_real.any(1), np.float64),
    )


def _radii(vectors: Floats, k: int, groups: Ints | None) -> Floats | None:
    """Distance of each vector to its k-th nearest of another group; None where one has fewer."""
    if len(vectors) <= k:
        return None
    names = np.arange(len(vectors)) if groups is None else np.asarray(groups)
    distance: Floats = cdist(vectors, vectors)
    distance[names[:, None] == names[None, :]] = np.inf
    radius: Floats = np.partition(distance, k - 1, axis=1)[:, k - 1]
    return radius if np.isfinite(radius).all() else None
