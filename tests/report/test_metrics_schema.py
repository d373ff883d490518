"""The metrics file: every key checked, unknown numbers null, errors that name the key."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.schema import (
    SECTIONS,
    clean_metrics,
    read_metrics,
    validate_metrics,
    validate_section,
    write_metrics,
)


def paths(value: Any, trail: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key of every mapping, one entry of each list."""
    found = []
    if isinstance(value, dict):
        for key, item in value.items():
            found += [(*trail, key), *paths(item, (*trail, key))]
    elif isinstance(value, list) and value:
        found += paths(value[0], (*trail, 0))
    return found


def place(metrics: dict[str, Any], trail: tuple[Any, ...]) -> Any:
    for key in trail[:-1]:
        metrics = metrics[key]
    return metrics


def test_a_whole_file_survives_writing_and_reading(metrics: dict[str, Any], tmp_path: Path) -> None:
    path = write_metrics(tmp_path / "metrics.json", metrics)
    assert read_metrics(path) == clean_metrics(metrics)
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    assert json.loads(path.read_text())["label_fidelity"]["rows"][0]["by_visibility"][0]["low"] is None


def test_numpys_numbers_become_jsons() -> None:
    cleaned = clean_metrics(
        {"a": np.float32(0.5), "b": np.array([1, 2]), "c": [np.nan, np.inf, (np.bool_(True),)]}
    )
    assert json.dumps(cleaned) == '{"a": 0.5, "b": [1, 2], "c": [null, null, [true]]}'


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_may_be_absent(metrics: dict[str, Any], section: str) -> None:
    del metrics[section]
    validate_metrics(metrics)


def test_every_required_key_is_missed_by_name(metrics: dict[str, Any]) -> None:
    free = {"machine", "reasons", "patients", "backgrounds"}
    named = {("sets", "synthetic")}
    optional = {*SECTIONS, "difference", "backgrounds"}
    tried = 0
    for trail in paths(metrics):
        if trail in named or trail[-1] in optional or free & set(trail[:-1]):
            continue
        kept = place(metrics, trail).pop(trail[-1])  # and put back, since there are too many for copies
        with pytest.raises(MetricsError) as caught:
            if trail[0] in SECTIONS:
                validate_section(trail[0], metrics[trail[0]])
            else:
                validate_metrics(metrics)
        place(metrics, trail)[trail[-1]] = kept
        assert str(trail[-1]) in str(caught.value.key) and caught.value.found == "missing"
        tried += 1
    assert tried > 60


def test_an_unknown_key_is_an_error_in_every_mapping(metrics: dict[str, Any]) -> None:
    for trail in [("x",), ("gate", "x"), ("noise", "pixel_std", "x"), ("segmentation", "arms", 1, "x")]:
        broken = copy.deepcopy(metrics)
        place(broken, trail)["x"] = 1
        with pytest.raises(MetricsError, match="unknown key"):
            validate_metrics(broken)


@pytest.mark.parametrize(
    ("trail", "value"),
    [
        (("schema_version",), 1),
        (("not_measured",), {"gate": "there was none"}),
        (("not_measured",), {"image": 3}),
        (("sets", "synthetic", "clips"), -1),
        (("run",), 5),
        (("seed",), True),
        (("seed",), 1.5),
        (("machine",), ["cpu"]),
        (("machine",), {"cpu": {1, 2}}),
        (("stages",), "stage1"),
        (("stages", 0, "seconds"), -1),
        (("stages", 0, "made", 0), "scenes.h5"),
        (("stages", 0, "made", 0, "patients"), "p1"),
        (("label_fidelity",), None),
        (("label_fidelity", "rows", 0, "dice", "mean"), 1.2),
        (("label_fidelity", "rows", 0, "n"), -1),
        (("label_fidelity", "rows", 0, "n_groups"), 97),
        (("label_fidelity", "rows", 1, "name"), "synthetic"),
        (("label_fidelity", "rows", 1, "name"), "nobody"),
        (("label_fidelity", "rows", 2, "cldice", "low"), "0.1"),
        (("label_fidelity", "ratio", "dice"), float("inf")),
        (("label_fidelity", "rows", 1, "by_frame"), 0.5),
        (("label_fidelity", "rows", 1, "by_frame", 2, "frame"), 3),
        (("label_fidelity", "rows", 0, "by_visibility", 0, "low"), "none"),
        (("label_fidelity", "clips", 0, "n_frames"), 0),
        (("noise", "residual_autocorrelation", "lags"), [1.0, 2, 3]),
        (("noise", "residual_autocorrelation", "synthetic"), [0.1]),
        (("noise", "residual_autocorrelation", "real"), [0.1, 0.2, 3.0]),
        (("visibility", "rows", 0, "n"), 3),
        (("visibility", "rows", 0, "pearson", "mean"), -1.5),
        (("visibility", "accepted"), [True]),
        (("seam", "rows", 0, "std_ratio", "mean"), -1),
        (("sets", "synthetic", "backgrounds"), {"p10": 0}),
        (("gate", "accepted"), 5),
        (("gate", "rate"), 0.3),
        (("gate", "reasons"), {"a": 1.5}),
        (("segmentation", "n_patients"), 5),
        (("segmentation", "reference"), "nobody"),
        (("segmentation", "interval", "method"), "guess"),
        (("segmentation", "arms", 0, "pck_2mm", "mean"), 1.1),
        (("segmentation", "arms", 1, "difference", "dice", "low"), -1.1),
        (("segmentation", "tests", "rows", 0, "arm"), "nobody"),
        (("segmentation", "tests", "rows", 0, "measure"), "iou"),
        (("segmentation", "tests", "rows", 0, "p"), 1.5),
        (("segmentation", "arms", 1, "name"), "real only"),
        (("segmentation", "arms", 1, "difference", "reference"), "nobody"),
        (("segmentation", "arms", 0, "patients", "p00", "dice"), 7),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(metrics: dict[str, Any], trail: tuple[Any, ...], value: Any) -> None:
    place(metrics, trail)[trail[-1]] = value
    with pytest.raises(MetricsError) as caught:
        validate_metrics(metrics)
    assert trail[0] in str(caught.value.key)


def test_nothing_is_written_that_breaks_the_schema(metrics: dict[str, Any], tmp_path: Path) -> None:
    del metrics["run"]
    with pytest.raises(MetricsError):
        write_metrics(tmp_path / "metrics.json", metrics)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [None, "{", "[1]", '{"run": 1}'])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MetricsError) as caught:
        read_metrics(path)
    assert caught.value.file == str(path) and caught.value.remedy
