import pytest
import torch

from sfvd_pl.diffusion import TimestepDensity
from sfvd_pl.errors import ConfigError

UNIFORM = (torch.arange(20_000) + 0.5) / 20_000


def test_without_a_share_all_times_are_alike() -> None:
    times = TimestepDensity().timesteps(UNIFORM, 1000)
    assert torch.bincount(times, minlength=1000).tolist() == [20] * 1000


def test_the_noisiest_times_get_their_share_on_top() -> None:
    times = TimestepDensity(0.25, 0.9).timesteps(UNIFORM, 1000)
    counts = torch.bincount(times, minlength=1000).float()
    # Uniform part: 15,000 over all; the noisiest tenth has another 5,000.
    assert counts[:900].mean() == pytest.approx(15, rel=0.01)
    assert counts[900:].mean() == pytest.approx(65, rel=0.01)
    assert (counts[900:].max() - counts[900:].min()) <= 4


def test_the_ends_stay_inside_the_table() -> None:
    ends = torch.tensor([0.0, 0.25, torch.finfo(torch.float32).eps, 1 - 1e-7])
    times = TimestepDensity(0.25, 0.9).timesteps(ends, 1000)
    assert times.tolist() == [900, 0, 900, 999]
    assert times.dtype == torch.int64


@pytest.mark.parametrize(("key", "value"), [("high_noise_share", 1.0), ("high_noise_above", -0.1)])
def test_refuses_what_is_not_a_share(key: str, value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        TimestepDensity(**{key: value})
    assert caught.value.key == key
