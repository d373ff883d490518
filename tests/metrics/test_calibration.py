"""Calibration of visibility against scipy, and the gate's section."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.calibration import (
    binned_calibration,
    gate_section,
    obeyed,
    ranks,
    spearman,
    visibility_section,
)
from sfvd_pl.metrics.schema import clean_metrics, validate_section


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=30))
def test_spearman_is_scipys_ties_included(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    np.testing.assert_allclose(ranks(x), stats.rankdata(x))
    if np.ptp(x) and np.ptp(y):
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    else:
        assert np.isnan(spearman(x, y))


def test_pairs_that_are_not_finite_are_dropped() -> None:
    x, y = np.array([1, 2, np.nan, 4, 5.0]), np.array([1, 3, 9, np.inf, 7.0])
    section = visibility_section(x, y, np.array([True, False, True, True, True]))
    assert (section["requested"], section["measured"]) == ([1, 2, 5], [1, 3, 7])
    assert section["accepted"] == [True, False, True]
    assert [(row["name"], row["n"]) for row in section["rows"]] == [("all", 3), ("accepted", 2)]
    validate_section("visibility", clean_metrics(section))
    assert np.isnan(spearman(np.array([]), np.array([])))


def test_requests_are_held_against_scipys_line_and_correlations() -> None:
    rng = np.random.default_rng(0)
    requested = rng.uniform(1, 4, 60)
    measured = 0.5 + 0.8 * requested + rng.normal(0, 0.4, 60)
    row = obeyed(requested, measured)
    line = stats.linregress(requested, measured)
    assert row["slope"]["mean"] == pytest.approx(line.slope)
    assert row["intercept"]["mean"] == pytest.approx(line.intercept)
    assert row["pearson"]["mean"] == pytest.approx(line.rvalue)
    assert row["spearman"]["mean"] == pytest.approx(stats.spearmanr(requested, measured).statistic)
    error = line.stderr * stats.norm.ppf(0.975)
    assert row["slope"]["low"] == pytest.approx(line.slope - error, abs=0.4 * error)
    constant = obeyed(np.full(5, 2.0), np.arange(5.0))
    assert all(np.isnan(constant[key]["mean"]) for key in ("pearson", "spearman", "slope", "intercept"))


def test_bins_hold_every_pair_once_in_order() -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 5, 101)
    rows = binned_calibration(x, 2 * x, bins=4)
    assert sum(row.n for row in rows) == 101 and max(row.n for row in rows) - min(row.n for row in rows) <= 2
    for row in rows:
        inside = x[(x >= row.low) & ((x < row.high) | (row is rows[-1]))]
        quartiles = np.quantile(2 * inside, [0.25, 0.5, 0.75])
        assert (row.lower_quartile, row.median, row.upper_quartile) == pytest.approx(tuple(quartiles))
        assert row.n == len(inside)


def test_bins_of_repeated_or_absent_requests() -> None:
    (row,) = binned_calibration(np.ones(5), np.arange(5.0))
    assert (row.low, row.high, row.n, row.median) == (1, 1, 5, 2)
    assert binned_calibration(np.array([np.nan]), np.array([1.0])) == []
    three = binned_calibration(np.array([1.0, 1, 2, 2, 3]), np.zeros(5), bins=6)
    assert sum(bin.n for bin in three) == 5


def test_the_gate_counts_reasons_and_names_its_rules() -> None:
    rules = {"attenuation_cnr": 0.3, "drawn_share": 0.8, "dice_ratio": 0.5, "min_labelled_clips": 8, "dice": None}
    section = gate_section(np.array([True, False, False, True]), ["", "b", "a", ""], rules)
    assert section["accepted"] == 2 and section["rate"] == 0.5 and section["reasons"] == {"a": 1, "b": 1}
    assert (section["attenuation_cnr"], section["drawn_share"], section["dice"]) == (0.3, 0.8, None)
    validate_section("gate", clean_metrics(section))
    assert np.isnan(gate_section(np.array([]), [], {})["rate"])


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: spearman(np.zeros(2), np.zeros(3)), "measured"),
        (lambda: ranks(np.zeros((2, 2))), "values"),
        (lambda: binned_calibration(np.zeros(2), np.zeros(2), bins=0), "bins"),
        (lambda: gate_section(np.array([True]), ["why"], {}), "reasons"),
        (lambda: gate_section(np.array([False]), [""], {}), "reasons"),
        (lambda: gate_section(np.array([True]), [], {}), "reasons"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
