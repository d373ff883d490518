"""Arms of a comparison: seeds averaged within patients, patients resampled, differences paired."""

import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arms import mean_over_seeds, segmentation_section
from sfvd_pl.metrics.bootstrap import paired_bootstrap, patient_bootstrap
from sfvd_pl.metrics.segmentation import MEASURES


def table(*values: float) -> dict[str, dict[str, float]]:
    return {f"p{i}": dict.fromkeys(MEASURES, value) for i, value in enumerate(values)}


def test_seeds_are_averaged_within_each_patient() -> None:
    means = mean_over_seeds([table(0.2, 0.4), table(0.4, float("nan"))])
    assert means["p0"]["dice"] == pytest.approx(0.3) and means["p1"]["dice"] == pytest.approx(0.4)


def test_the_section_holds_intervals_and_paired_differences() -> None:
    base, better = table(0.2, 0.5, 0.7), table(0.4, 0.6, 0.7)
    section = segmentation_section({"real": [base], "mixed": [better]}, seeds=[3], n=300, seed=1)
    first, second = section["arms"]
    values = [{p: row["dice"] for p, row in arm.items()} for arm in (base, better)]
    assert first["dice"] == patient_bootstrap(values[0], n=300, seed=1).as_dict()
    assert second["difference"]["dice"] == paired_bootstrap(values[1], values[0], n=300, seed=1).as_dict()
    assert second["difference"]["reference"] == "real" and "difference" not in first
    assert section["n_patients"] == 3 and section["seeds"] == [3]
    assert first["patients"]["p2"]["dice"] == 0.7


def test_another_reference() -> None:
    section = segmentation_section(
        {"a": [table(0.2, 0.3)], "b": [table(0.5, 0.6)]}, seeds=[0], reference="b", n=20
    )
    assert section["arms"][0]["difference"]["dice"]["mean"] == pytest.approx(-0.3)
    assert "difference" not in section["arms"][1]


def test_an_unknown_tip_stays_unknown() -> None:
    blind = table(0.2, 0.3)
    for row in blind.values():
        row["tip_error_px"] = float("nan")
    section = segmentation_section({"a": [blind]}, seeds=[0], n=20)
    assert np.isnan(section["arms"][0]["tip_error_px"]["mean"])


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: mean_over_seeds([]), "tables"),
        (lambda: mean_over_seeds([table(0.1), table(0.1, 0.2)]), "tables"),
        (lambda: segmentation_section({}, seeds=[0]), "reference"),
        (lambda: segmentation_section({"a": [table(0.1)]}, seeds=[0], reference="b"), "reference"),
        (lambda: segmentation_section({"a": [table(0.1)]}, seeds=[0, 1]), "arms"),
        (
            lambda: segmentation_section({"a": [table(0.1)], "b": [table(0.1, 0.2)]}, seeds=[0], n=5),
            "reference_by_patient",
        ),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key
