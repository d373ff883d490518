"""Correlated noise: the stated covariance, by algebra and by drawing, over blocks too."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sfvd_pl.diffusion import (
    FrameConsistency,
    consistency_names,
    make_consistency,
    register_consistency,
)
from sfvd_pl.errors import ConfigError

NAMES = ["coarse", "mixed", "none", "progressive"]
PIXELWISE = ["mixed", "none", "progressive"]


def roll_out(strategy: FrameConsistency, independent: Tensor, shared: Tensor, blocks: list[int]) -> Tensor:
    """Noise of a clip drawn block by block, as a block-autoregressive sampler does."""
    done: list[Tensor] = []
    for block in torch.split(independent, blocks, dim=2):
        last = done[-1][:, :, -1] if done else None
        done.append(strategy.noise(block, previous_last=last, shared=shared))
    return torch.cat(done, dim=2)


def linear_map(strategy: FrameConsistency, frames: int, blocks: list[int]) -> Tensor:
    """The matrix from (independent..., shared) to the noise of every frame, found by unit inputs; float64."""
    inputs = torch.eye(frames + 1, dtype=torch.float64)
    independent = inputs[:, :frames].reshape(frames + 1, 1, frames, 1, 1)
    shared = inputs[:, frames].reshape(frames + 1, 1, 1, 1)
    return roll_out(strategy, independent, shared, blocks).reshape(frames + 1, frames).T


@pytest.mark.parametrize("name", PIXELWISE)
@given(alpha=st.floats(0, 50), blocks=st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_covariance_by_algebra_whatever_the_blocks(name: str, alpha: float, blocks: list[int]) -> None:
    strategy, frames = make_consistency(name, alpha), sum(blocks)
    mixing = linear_map(strategy, frames, blocks)
    torch.testing.assert_close(mixing @ mixing.T, strategy.covariance(frames), rtol=1e-9, atol=1e-9)
    if strategy.uses_previous or name == "none":
        assert (mixing.T[-1] == 0).all(), "the shared noise is not used"
    # Blocks must not show: the same clip in one piece.
    torch.testing.assert_close(mixing, linear_map(strategy, frames, [frames]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_stated_covariances_by_hand(alpha: float) -> None:
    rho = alpha**2 / (1 + alpha**2)
    assert make_consistency("mixed", alpha).covariance(3).tolist() == [
        [1, pytest.approx(rho), pytest.approx(rho)],
        [pytest.approx(rho), 1, pytest.approx(rho)],
        [pytest.approx(rho), pytest.approx(rho), 1],
    ]
    r = math.sqrt(rho)
    assert make_consistency("progressive", alpha).covariance(3)[0].tolist() == pytest.approx([1, r, rho])
    assert torch.equal(make_consistency("none", alpha).covariance(3), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_covariance_by_drawing(name: str) -> None:
    g = torch.Generator().manual_seed(5)
    independent, shared = (
        torch.randn(2, 1, 6, 120, 120, generator=g),
        torch.randn(2, 1, 120, 120, generator=g),
    )
    strategy = make_consistency(name, 1.5)
    noise = roll_out(strategy, independent, shared, [2, 3, 1])
    assert noise.shape == independent.shape
    rows = noise.transpose(0, 2).flatten(1)
    torch.testing.assert_close(torch.cov(rows).double(), strategy.covariance(6), rtol=0, atol=0.03)
    neighbour = (noise[..., 1:] * noise[..., :-1]).mean()
    assert neighbour.abs() < 0.02, "pixels of one frame stay independent"


@pytest.mark.parametrize("name", PIXELWISE)
def test_alpha_zero_is_independent(name: str) -> None:
    independent = torch.randn(1, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    other = torch.ones(1, 1, 2, 2)
    assert torch.equal(make_consistency(name, 0).noise(independent, other, other), independent)


@pytest.mark.parametrize("name", ["coarse", "mixed"])
def test_shared_noise_that_is_missing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="all frames share"):
        make_consistency(name).noise(torch.zeros(1, 1, 2, 3, 3))


def test_coarse_noise_shares_what_is_larger_than_a_square_and_nothing_else() -> None:
    g = torch.Generator().manual_seed(1)
    independent, shared = torch.randn(400, 1, 2, 40, 32, generator=g), torch.randn(400, 1, 40, 32, generator=g)
    noise = make_consistency("coarse").noise(independent, shared=shared)

    def split(frame: Tensor) -> tuple[Tensor, Tensor]:
        """Means of the squares by a loop, and what is left; the last row of squares has 8 pixels of height."""
        coarse = torch.empty_like(frame)
        for top in range(0, 40, 16):
            for left in range(0, 32, 16):
                square = (..., slice(top, top + 16), slice(left, left + 16))
                coarse[square] = frame[square].mean((-2, -1), keepdim=True)
        return coarse, frame - coarse

    for frame in range(2):
        coarse, fine = split(noise[:, :, frame])
        torch.testing.assert_close(coarse, split(shared)[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(fine, split(independent[:, :, frame])[1], atol=1e-6, rtol=0)
    # White in space: neighbours within a square and across its border, and the variance of a square's mean.
    assert noise.var().item() == pytest.approx(1, abs=0.01)
    assert (noise[..., 1:] * noise[..., :-1]).mean().abs() < 0.01
    assert noise[..., :16, :16].mean((-2, -1)).var().item() == pytest.approx(1 / 256, rel=0.15)


def test_coarse_noise_of_a_sample_does_not_depend_on_its_batch() -> None:
    g = torch.Generator().manual_seed(2)
    independent, shared = torch.randn(3, 1, 2, 64, 64, generator=g), torch.randn(3, 1, 64, 64, generator=g)
    together = make_consistency("coarse").noise(independent, shared=shared)
    alone = make_consistency("coarse").noise(independent[1:2], shared=shared[1:2])
    assert torch.equal(together[1:2], alone)


@pytest.mark.parametrize("alpha", [-0.1, math.inf, math.nan])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha is a strength"):
        make_consistency("progressive", alpha)


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mixed") as caught:
        make_consistency("frozen")
    assert caught.value.found == "frozen"


def test_the_registry_can_grow_but_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfvd_pl.diffusion import consistency

    monkeypatch.setattr(consistency, "_REGISTRY", dict(consistency._REGISTRY))
    assert list(consistency_names()) == NAMES

    @register_consistency("doubled")
    class Doubled(consistency.IndependentNoise):
        """The same noise again."""

    assert isinstance(make_consistency("doubled"), Doubled) and "doubled" in consistency_names()
    with pytest.raises(ConfigError, match="has this name already"):
        register_consistency("mixed")(Doubled)
    assert make_consistency("mixed").name == "mixed"
