"""What the schema refuses in the sections noise, motion and wire."""

import copy
from typing import Any

import pytest
from temporal_examples import temporal_sections

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.schema import validate_section

WHOLE = temporal_sections()


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_measured_fits(name: str) -> None:
    validate_section(name, WHOLE[name])


def spoiled(section: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value replaced; ``...`` removes it."""
    made = copy.deepcopy(section)
    place: Any = made
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in above:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


@pytest.mark.parametrize(
    ("name", "path", "value", "key"),
    [
        ("noise", "frequencies", ..., "noise.frequencies"),
        ("noise", "rows.0.autocorrelation.2", ..., "noise.rows[0].autocorrelation"),
        ("noise", "reference.spectrum.0", ..., "noise.reference.spectrum"),
        ("noise", "rows.1.name", "synthetic", "noise.rows"),
        ("noise", "rows.0.noise_std.mean", -0.1, "noise.rows[0].noise_std.mean"),
        ("noise", "lags.0", 0, "noise.lags[0]"),
        ("motion", "rows.0.displacement_correlation.mean", 1.2, "motion.rows[0].displacement_correlation.mean"),
        ("motion", "rows.0.by_frame.cnr.1", ..., "motion.rows[0].by_frame.cnr"),
        ("motion", "rows.1.by_frame.sharpness", ..., "motion.rows[1].by_frame.sharpness"),
        ("motion", "reference.warp_error", ..., "motion.reference.warp_error"),
        ("motion", "rows.0.extra", 1, "motion.rows[0].extra"),
        ("motion", "rows.1.name", "synthetic", "motion.rows"),
        ("wire", "rows.0.tip_found.mean", 2, "wire.rows[0].tip_found.mean"),
        ("wire", "rows.1.name", "synthetic", "wire.rows"),
    ],
)
def test_what_doesnt_fit_is_named(name: str, path: str, value: Any, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        validate_section(name, spoiled(WHOLE[name], path, value))
    assert caught.value.key == key
