import numpy as np
import pytest

from sfvd_pl.augment.gate import NOT_FOUND, TOO_FAINT, Gate, GateConfig
from sfvd_pl.errors import ConfigError

NAN = float("nan")


@pytest.mark.parametrize(
    ("dice", "visibility", "reason"),
    [
        (0.5, 1.0, ""),
        (0.9, 3.0, ""),
        (0.49, 3.0, NOT_FOUND),
        (0.9, 0.99, TOO_FAINT),
        (0.1, 0.1, NOT_FOUND),
        (NAN, 3.0, NOT_FOUND),
        (0.9, NAN, TOO_FAINT),
        (NAN, NAN, NOT_FOUND),
    ],
)
def test_reasons(dice: float, visibility: float, reason: str) -> None:
    assert Gate(0.5, 1.0).reasons(np.array([dice]), np.array([visibility])) == [reason]


def test_without_a_visibility_threshold_even_an_unmeasurable_wire_passes() -> None:
    assert Gate(0.5, None).reasons(np.array([0.6, 0.4]), np.array([NAN, 9.0])) == ["", NOT_FOUND]


def test_a_threshold_of_zero_accepts_a_dice_of_zero_but_not_nan() -> None:
    assert Gate(0.0, None).reasons(np.array([0.0, NAN]), np.array([1.0, 1.0])) == ["", NOT_FOUND]


def test_each_clip_has_its_own_verdict_and_lengths_must_agree() -> None:
    assert Gate(0.5, 1.0).reasons(np.array([0.6, 0.2, 0.6]), np.array([2.0, 2.0, 0.5])) == ["", NOT_FOUND, TOO_FAINT]
    with pytest.raises(ValueError, match="zip"):
        Gate(0.5, 1.0).reasons(np.array([0.6]), np.array([1.0, 2.0]))


@pytest.mark.parametrize("key", ["dice_ratio", "visibility_quantile"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_shares_are_checked(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        GateConfig(**{key: value})
    GateConfig(visibility_quantile=None)
