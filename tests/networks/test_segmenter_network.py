import pytest
import torch
from toy import SEGMENTER

from sfvd_pl.errors import ConfigError
from sfvd_pl.networks import SegmenterConfig, WireSegmenter


def test_one_logit_a_pixel() -> None:
    assert WireSegmenter(SEGMENTER)(torch.randn(2, 1, 32, 48)).shape == (2, 1, 32, 48)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    torch.manual_seed(1)
    first = WireSegmenter(SEGMENTER, init_seed=7).state_dict()
    torch.manual_seed(2)
    untouched = torch.get_rng_state()
    again = WireSegmenter(SEGMENTER, init_seed=7).state_dict()
    assert torch.equal(torch.get_rng_state(), untouched)
    other = WireSegmenter(SEGMENTER, init_seed=8).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(("unshuffle", "height", "width"), [(1, 40, 32), (1, 16, 32), (2, 64, 32), (2, 33, 64)])
def test_frames_of_any_size(unshuffle: int, height: int, width: int) -> None:
    network = WireSegmenter(SegmenterConfig(features=(8,) * 6, unshuffle=unshuffle))
    assert network(torch.randn(1, 1, height, width)).shape == (1, 1, height, width)


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_the_smallest_frames_can_be_trained_on(unshuffle: int) -> None:
    config = SegmenterConfig(features=(8,) * 6, unshuffle=unshuffle)
    network = WireSegmenter(config).train()
    side = 2 * config.stride
    network(torch.randn(1, 1, side, side)).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_five_levels_and_a_last_layer_are_needed() -> None:
    with pytest.raises(ConfigError, match="6 numbers"):
        SegmenterConfig(features=(8, 8, 8, 8))
