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

NAMES = ["mixed", "none", "progressive"]


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


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", NAMES)
def test_alpha_zero_is_independent(name: str) -> None:
    independent = torch.randn(1, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    other = torch.ones(1, 1, 2, 2)
    assert torch.equal(make_consistency(name, 0).noise(independent, other, other), independent)


def test_mixed_without_shared_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match="all frames share"):
        make_consistency("mixed").noise(torch.zeros(1, 1, 2, 3, 3))


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
