"""Rows of measures: means over clips, intervals over patients."""

import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.bootstrap import patient_bootstrap
from sfvd_pl.metrics.rows import RowAccumulator, padded


def test_a_row_holds_what_the_bootstrap_says() -> None:
    rng = np.random.default_rng(0)
    table = RowAccumulator()
    values = {"a": rng.normal(size=3), "b": rng.normal(size=2), "c": rng.normal(size=1)}
    for patient, numbers in values.items():
        for number in numbers:
            table.update(patient, {"x": number, "curve": np.array([number, -number, np.nan])})
    row = table.row("mine", seed=4)
    assert (row["name"], row["n"], len(table)) == ("mine", 6, 6)
    expected = patient_bootstrap({name: list(v) for name, v in values.items()}, seed=4)
    assert row["x"] == pytest.approx(expected.as_dict())
    assert [point["mean"] for point in row["curve"]] == pytest.approx(
        [expected.estimate, -expected.estimate, np.nan], nan_ok=True
    )


def test_a_set_without_clips_has_no_measures() -> None:
    assert RowAccumulator().row("none") == {"name": "none", "n": 0}


def test_clips_of_one_set_are_measured_alike() -> None:
    table = RowAccumulator()
    table.update("a", {"x": 1.0, "curve": np.zeros(3)})
    for other in ({"x": 1.0}, {"x": 1.0, "curve": np.zeros(4)}, {"x": np.zeros(1), "curve": np.zeros(3)}):
        with pytest.raises(MetricsError, match="different ways"):
            table.update("b", other)


def test_padding() -> None:
    assert padded([1.0, 2.0], 3) == pytest.approx([1, 2, np.nan], nan_ok=True)
    assert padded([1.0, 2.0, 3.0], 2) == pytest.approx([1, 2])
    assert np.isnan(padded([], 2)).all()
