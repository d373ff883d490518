import pytest

from sfvd_pl.augment.gate import BROKEN, LOST, NOT_FOUND, Gate, GateConfig
from sfvd_pl.errors import ConfigError

NAN = float("nan")
CONFIG = GateConfig(attenuation_cnr=0.3, drawn_share=0.8)


@pytest.mark.parametrize(
    ("cnr", "share", "dice", "reason"),
    [
        (0.3, 0.8, 0.5, ""),
        (0.29, 1.0, 0.9, LOST),
        (NAN, 1.0, 0.9, LOST),
        (0.1, 0.1, 0.1, LOST),
        (1.0, 0.79, 0.9, BROKEN),
        (1.0, NAN, 0.9, BROKEN),
        (1.0, 0.9, 0.49, NOT_FOUND),
        (1.0, 0.9, NAN, NOT_FOUND),
    ],
)
def test_reasons(cnr: float, share: float, dice: float, reason: str) -> None:
    assert Gate(CONFIG, 0.5).reason(cnr, share, dice) == reason


def test_without_a_second_segmenter_the_first_two_rules_decide() -> None:
    assert Gate(CONFIG).reason(0.4, 0.9, NAN) == ""
    assert Gate(CONFIG).reason(0.2, 0.9, NAN) == LOST


@pytest.mark.parametrize("key", ["dice_ratio", "drawn_share"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_shares_are_checked(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        GateConfig(**{key: value})
