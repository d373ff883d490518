"""The lattice that a network leaves which takes squares of pixels as channels."""

import numpy as np
import pytest
import torch

from sfvd_pl.diffusion import NoiseSchedule, ScheduleConfig
from sfvd_pl.diffusion.lattice import without_lattice
from sfvd_pl.diffusion.prediction import Prediction
from sfvd_pl.diffusion.sampler import Sampler, SamplerConfig
from sfvd_pl.errors import ConfigError


@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 1, 8, 12), (2, 1, 3, 8, 8)])
def test_against_a_loop_over_the_grids(side: int, shape: tuple[int, ...]) -> None:
    x0 = torch.randn(shape)
    found = without_lattice(x0, side)
    expected = x0.numpy().copy()
    for picture, original in zip(
        expected.reshape(-1, *shape[-2:]), x0.numpy().reshape(-1, *shape[-2:]), strict=True
    ):
        for row in range(side):
            for column in range(side):
                grid = original[row::side, column::side]
                picture[row::side, column::side] += original.mean() - grid.mean()
    assert np.allclose(found.numpy(), expected, atol=1e-5)


def test_only_the_lattice_goes() -> None:
    """Of the spectrum, three numbers change, those of periods of two pixels; a picture's mean stays."""
    x0 = torch.randn(1, 1, 16, 16)
    change = torch.fft.fft2(without_lattice(x0, 2) - x0)[0, 0].abs()
    gone = {(0, 8), (8, 0), (8, 8)}
    for row in range(16):
        for column in range(16):
            assert (float(change[row, column]) > 1e-4) == ((row, column) in gone)
    assert torch.allclose(without_lattice(without_lattice(x0, 2), 2), without_lattice(x0, 2), atol=1e-6)


def test_a_sampler_whose_network_leaves_a_lattice_gives_pictures_without() -> None:
    """A denoiser that is right but for a lattice in its estimate of x0."""
    prediction = Prediction(NoiseSchedule(ScheduleConfig()), "sample")
    lattice = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(4, 4)
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def denoiser(x_t: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x_t, 0.25) + 0.1 * lattice

    def sample(period: int) -> torch.Tensor:
        config = SamplerConfig("dpmpp_2m", num_inference_steps=5, lattice=period)
        return Sampler(prediction, config).sample(denoiser, noise)

    assert torch.allclose(sample(1), 0.25 + 0.1 * lattice.expand(2, 1, 8, 8), atol=1e-4)
    assert torch.allclose(sample(2), torch.full((2, 1, 8, 8), 0.25), atol=1e-4)
    with pytest.raises(ConfigError, match="period"):
        SamplerConfig(lattice=0)
