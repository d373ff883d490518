"""Whether what was asked for is what came: requested against measured visibility, and the gate's verdicts."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Floats, require_axes, require_same_shape
from sfvd_pl.metrics.bootstrap import patient_bootstrap


def ranks(values: Array) -> Floats:
    """Ranks from 1, ties sharing the mean of theirs, (n,) float64."""
    require_axes(values, "n", "values")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(np.cumsum(counts) - (counts - 1) / 2, dtype=np.float64)[inverse]


def pearson(requested: Array, measured: Array) -> float:
    """Pearson's correlation over the pairs in which both are finite; arguments and errors as :func:`spearman`."""
    x, y = _pairs(requested, measured)
    x, y = x - x.mean() if x.size else x, y - y.mean() if y.size else y
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


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
    x, y = _pairs(requested, measured)
    return pearson(ranks(x), ranks(y))


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


def visibility_section(requested: Array, measured: Array, accepted: Array, *, seed: int = 0) -> dict[str, object]:
    """The section ``visibility`` of a metrics file; pairs that are not finite are dropped.

    Args:
        requested: (M,) CNR asked for, one a clip.
        measured: (M,) CNR measured.
        accepted: (M,) whether the gate let the clip pass.
        seed: Of the resampling.

    Raises:
        MetricsError: If the shapes differ.
    """
    require_same_shape(accepted, requested, "accepted", "requested")
    x, y = _pairs(requested, measured)
    passed = np.asarray(accepted, np.bool_)[np.isfinite(requested) & np.isfinite(measured)]
    rows = [{"name": "all", **obeyed(x, y, seed=seed)}, {"name": "accepted", **obeyed(x[passed], y[passed], seed=seed)}]
    return {"rows": rows, "requested": x.tolist(), "measured": y.tolist(), "accepted": passed.tolist()}


def obeyed(requested: Floats, measured: Floats, *, seed: int = 0) -> dict[str, object]:
    """How well a request is met, with intervals over the clips.

    Args:
        requested: (n,), finite.
        measured: (n,), finite.
        seed: Of the resampling.

    Returns:
        ``n``; correlations ``pearson`` and ``spearman``; ``slope`` and ``intercept`` of the least-squares line
        ``measured = intercept + slope * requested``.
    """
    clips = {str(row): float(row) for row in range(len(requested))}

    def estimate(statistic: Callable[[Floats, Floats], float]) -> dict[str, float]:
        # The rows themselves are resampled, since each resample ranks anew.
        def of_rows(rows: Floats) -> float:
            return statistic(requested[rows.astype(int)], measured[rows.astype(int)])

        return patient_bootstrap(clips, statistic=of_rows, n=500, seed=seed).as_dict()

    return {
        "n": len(clips),
        "pearson": estimate(pearson),
        "spearman": estimate(spearman),
        "slope": estimate(lambda x, y: pearson(x, y) * _ratio(y, x)),
        "intercept": estimate(lambda x, y: float(y.mean() - pearson(x, y) * _ratio(y, x) * x.mean())),
    }


def _ratio(one: Floats, other: Floats) -> float:
    spread = float(other.std())
    return float(one.std()) / spread if spread > 0 else float("nan")


RULES = ("attenuation_cnr", "drawn_share", "dice", "min_labelled_clips")
"""What the gate asks of a clip, as its settings name it."""


def gate_section(accepted: Array, reasons: Sequence[str], rules: Mapping[str, object]) -> dict[str, object]:
    """The section ``gate`` of a metrics file.

    Args:
        accepted: (M,) verdict on each clip.
        reasons: M reasons of rejection, ``""`` for an accepted clip.
        rules: The gate's settings, of which ``RULES`` are kept; ``dice`` is None where no second segmenter decided.

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
        **{rule: rules.get(rule) for rule in RULES},
        "reasons": dict(sorted(Counter(reason for reason in reasons if reason).items())),
    }


def _pairs(requested: Array, measured: Array) -> tuple[Floats, Floats]:
    require_axes(requested, "n", "requested")
    require_same_shape(measured, requested, "measured", "requested")
    x, y = np.asarray(requested, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    return x[finite], y[finite]
