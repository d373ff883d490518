"""Whether what was asked for is what came: requested against measured visibility, and the gate's verdicts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.bootstrap import Interval, patient_bootstrap


def ranks(values: Array) -> Floats:
    """Ranks from 1, ties sharing the mean of theirs, (n,) float64."""
    require_axes(values, "n", "values")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(np.cumsum(counts) - (counts - 1) / 2, dtype=np.float64)[inverse]


def spearman(requested: Array, measured: Array) -> float:
    """Spearman's rank correlation over the pairs in which both are finite.

    Args:
        requested: (n,).
        measured: (n,).

    Returns:
        -1..1; NaN with fewer than two pairs, or where one side is constant.

    Raises:
        MetricsError: If the shapes differ.
    """
    x, y = (ranks(values) for values in _pairs(requested, measured))
    x, y = x - x.mean() if x.size else x, y - y.mean() if y.size else y
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


def spearman_interval(
    requested: Array, measured: Array, groups: Sequence[str], *, n: int = 500, seed: int = 0
) -> Interval:
    """:func:`spearman` with its interval over the groups, each drawn with all of its clips.

    Args:
        requested: (m,).
        measured: (m,).
        groups: m names, such as patients, or the clips themselves.
        n: Number of resamples; each ranks anew.
        seed: Of the resampling.

    Raises:
        MetricsError: If the shapes differ.
    """
    require_axes(requested, "n", "requested")
    require_same_shape(measured, requested, "measured", "requested")
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(str(group), []).append(row)
    # The rows themselves are what is resampled; every statistic sees the drawn ones.
    return patient_bootstrap(
        {group: [float(row) for row in members] for group, members in rows.items()},
        statistic=lambda drawn: spearman(requested[drawn.astype(int)], measured[drawn.astype(int)]),
        n=n,
        seed=seed,
    )


@dataclass(frozen=True)
class CalibrationBin:
    """Measured values where the request lay in ``low..high``: their number, median and quartiles."""

    low: float
    high: float
    n: int
    median: float
    lower_quartile: float
    upper_quartile: float


def binned_calibration(requested: Array, measured: Array, *, bins: int = 6) -> list[CalibrationBin]:
    """Measured values by request, in bins that hold about the same number of pairs each.

    Args:
        requested: (n,), NaN pairs are dropped.
        measured: (n,).
        bins: At most this many; fewer where requests repeat or are few. At least 1.

    Returns:
        Bins that hold at least one pair, by ascending request.

    Raises:
        MetricsError: If the shapes differ or ``bins`` is below 1.
    """
    if bins < 1:
        raise MetricsError("no bins asked for", key="bins", expected="at least 1", found=bins, remedy="use 6")
    x, y = _pairs(requested, measured)
    if x.size == 0:
        return []
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
    member = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for index in range(max(len(edges) - 1, 1)):
        inside = y[member == index]
        if inside.size:
            quartiles = np.quantile(inside, [0.25, 0.5, 0.75])
            high = float(edges[min(index + 1, len(edges) - 1)])
            rows.append(
                CalibrationBin(
                    low=float(edges[index]),
                    high=high,
                    n=int(inside.size),
                    median=float(quartiles[1]),
                    lower_quartile=float(quartiles[0]),
                    upper_quartile=float(quartiles[2]),
                )
            )
    return rows


def visibility_section(requested: Array, measured: Array) -> dict[str, object]:
    """The section ``visibility`` of a metrics file; pairs that are not finite are dropped.

    Args:
        requested: (M,) CNR asked for, one a clip.
        measured: (M,) CNR measured.

    Raises:
        MetricsError: If the shapes differ.
    """
    x, y = _pairs(requested, measured)
    return {"spearman": spearman(x, y), "n": int(x.size), "requested": x.tolist(), "measured": y.tolist()}


def gate_section(
    accepted: Array, reasons: Sequence[str], *, dice_threshold: int | float, visibility_threshold: int | float
) -> dict[str, object]:
    """The section ``gate`` of a metrics file.

    Args:
        accepted: (M,) verdict on each clip.
        reasons: M reasons of rejection, ``""`` for an accepted clip.
        dice_threshold: The least Dice of the gate's segmenter.
        visibility_threshold: The least visibility (CNR).

    Raises:
        MetricsError: If the lengths differ, or a clip is both accepted and given a reason, or neither.
    """
    verdicts = np.asarray(accepted).astype(np.bool_)
    require_axes(verdicts, "M", "accepted")
    if len(reasons) != len(verdicts) or any(
        bool(why) == bool(ok) for why, ok in zip(reasons, verdicts, strict=True)
    ):
        raise MetricsError(
            "verdicts and reasons contradict one another",
            key="reasons",
            expected=f"{len(verdicts)} reasons, empty exactly where a clip was accepted",
            found=f"{len(reasons)} reasons, {sum(map(bool, reasons))} of them given",
            remedy="pass the columns clips/accepted and clips/reject_reason of one artifact",
        )
    count = int(verdicts.sum())
    return {
        "n": len(verdicts),
        "accepted": count,
        "rate": count / len(verdicts) if len(verdicts) else float("nan"),
        "dice_threshold": dice_threshold,
        "visibility_threshold": visibility_threshold,
        "reasons": dict(sorted(Counter(reason for reason in reasons if reason).items())),
    }


def _pairs(requested: Array, measured: Array) -> tuple[Floats, Floats]:
    require_axes(requested, "n", "requested")
    require_same_shape(measured, requested, "measured", "requested")
    x, y = np.asarray(requested, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]
