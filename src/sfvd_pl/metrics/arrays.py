"""Checks that every measure shares: the right number of axes, the same shape, whole clip tables."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import MetricsError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def require_axes(values: Array, axes: str, key: str) -> None:
    """Refuse an array whose number of axes is not that of ``axes`` (such as ``"T H W"``)."""
    names = axes.split()
    if values.ndim != len(names):
        raise MetricsError(
            f"{key} has the wrong number of axes",
            key=key,
            expected=f"{len(names)} axes ({axes})",
            found=f"shape {values.shape}",
            remedy="pass one array with these axes in this order",
        )


def require_same_shape(values: Array, reference: Array, key: str, reference_key: str) -> None:
    """Refuse two arrays that don't lie on one another element by element."""
    if values.shape != reference.shape:
        raise MetricsError(
            f"{key} and {reference_key} differ in shape",
            key=key,
            expected=f"the shape of {reference_key}, {reference.shape}",
            found=f"shape {values.shape}",
            remedy="pass arrays of the same frames at the same resolution",
        )


def finite_mean(values: Array) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else float("nan")
