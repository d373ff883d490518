"""Checks that every measure shares: the right number of axes, the same shape, whole clip tables."""

from collections.abc import Iterator
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


def clip_slices(start: Array, length: Array, n_frames: int) -> Iterator[slice]:
    """Slices of a flat frame table, one a clip.

    Args:
        start: First row of each clip, (M,).
        length: Number of rows of each clip, (M,), at least 1.
        n_frames: Rows of the frame table.

    Raises:
        MetricsError: If a clip is empty or leaves the table.
    """
    require_axes(np.asarray(start), "M", "start")
    require_same_shape(np.asarray(length), np.asarray(start), "length", "start")
    for first, count in zip(np.asarray(start).tolist(), np.asarray(length).tolist(), strict=True):
        if count < 1 or first < 0 or first + count > n_frames:
            raise MetricsError(
                "a clip leaves the frame table",
                key="start, length",
                expected=f"rows within 0..{n_frames}, at least one a clip",
                found=f"start {first}, length {count}",
                remedy="verify the artifact that the clip table came from",
            )
        yield slice(int(first), int(first) + int(count))


def finite_mean(values: Array) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if finite.size else float("nan")
