"""Correlated noise: each frame white, all with the same means over squares, over blocks too."""

import pytest
import torch
from torch import Tensor

from sfvd_pl.diffusion import share_coarse
from sfvd_pl.diffusion.consistency import SIDE


def split(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the squares by a loop, and what is left; squares that the edge cuts are smaller."""
    coarse = torch.empty_like(frame)
    for top in range(0, frame.shape[-2], SIDE):
        for left in range(0, frame.shape[-1], SIDE):
            square = (..., slice(top, top + SIDE), slice(left, left + SIDE))
            coarse[square] = frame[square].mean((-2, -1), keepdim=True)
    return coarse, frame - coarse


def draw(count: int, frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, frames, height, width, generator=g), torch.randn(count, 1, height, width, generator=g)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (40, 32), (45, 50), (7, 16)])
def test_frames_share_the_means_of_squares_and_nothing_else(height: int, width: int) -> None:
    independent, shared = draw(3, 2, height, width)
    noise = share_coarse(independent, shared)
    for frame in range(2):
        coarse, fine = split(noise[:, :, frame])
        torch.testing.assert_close(coarse, split(shared)[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(fine, split(independent[:, :, frame])[1], atol=1e-6, rtol=0)


def test_each_frame_is_white_and_two_frames_covary_by_the_square_over_blocks_too() -> None:
    independent, shared = draw(600, 4, 32, 48)
    noise = torch.cat([share_coarse(block, shared) for block in independent.split([1, 3], dim=2)], dim=2)
    assert torch.equal(noise, share_coarse(independent, shared))
    covariance = torch.cov(noise.transpose(0, 2).flatten(1))
    expected = torch.eye(4) + (1 - torch.eye(4)) / SIDE**2
    torch.testing.assert_close(covariance, expected, atol=4e-3, rtol=0)
    for neighbour in (noise[..., 1:] * noise[..., :-1], noise[..., 1:, :] * noise[..., :-1, :]):
        assert neighbour.mean().abs() < 3e-3
    assert noise[..., :SIDE, :SIDE].mean((-2, -1)).var().item() == pytest.approx(1 / SIDE**2, rel=0.15)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    independent, shared = draw(3, 2, 45, 50)
    assert torch.equal(share_coarse(independent, shared)[1:2], share_coarse(independent[1:2], shared[1:2]))
