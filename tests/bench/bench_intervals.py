"""How often 95 % intervals over few patients hold the truth: plain percentile, BCa, and the one that is shown.

``python -m tests.bench.bench_intervals [STUDIES]`` simulates studies; docs/metrics.md has its table.
"""

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from sfvd_pl.metrics.intervals import mean_intervals

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
WORLDS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, shape: rng.normal(0.7, 0.1, shape), 0.7),
    "Dice-like, beta(8, 3)": (lambda rng, shape: rng.beta(8, 3, shape), 8 / 11),
    "tip-error-like, log-normal (0.7)": (lambda rng, shape: rng.lognormal(1, 0.7, shape), np.exp(1.245)),
    "Dice-like, but 0 in every tenth patient": (
        lambda rng, shape: np.where(rng.random(shape) < 0.1, 0, rng.beta(12, 3, shape)),
        0.72,
    ),
}


def percentile_and_bca(values: np.ndarray, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both intervals of the mean of (P,) values (Efron and Tibshirani, 1993, chapters 13 and 14)."""
    draws, count = values[picks].mean(axis=1), len(values)
    below = np.mean(draws < values.mean()) + 0.5 * np.mean(draws == values.mean())
    bias = stats.norm.ppf(np.clip(below, 1e-3, 1 - 1e-3))
    left_out = (values.sum() - values) / (count - 1)
    gap = left_out.mean() - left_out
    scale = 6 * (gap @ gap) ** 1.5
    acceleration = (gap**3).sum() / scale if scale > 0 else 0.0
    z = bias + stats.norm.ppf([0.025, 0.975])
    return np.quantile(draws, [0.025, 0.975]), np.quantile(draws, stats.norm.cdf(bias + z / (1 - acceleration * z)))


def main() -> None:
    """Print a table."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| patients' values | patients | percentile | BCa | shown |\n| --- | --- | --- | --- | --- |")
    for name, (draw, truth) in WORLDS.items():
        for count in (4, 6, 8, 12, 20):
            rng = np.random.default_rng(count)
            values = draw(rng, (count, studies))
            picks = rng.integers(0, count, (1000, count))
            both = np.array([percentile_and_bca(column, picks) for column in values.T])
            shown = np.array(mean_intervals(values, n=1000))[:, 1:]
            covered = [
                f"{np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])):.0%}"
                for bounds in (both[:, 0], both[:, 1], shown)
            ]
            print(f"| {name} | {count} | " + " | ".join(covered) + " |", flush=True)


if __name__ == "__main__":
    main()
