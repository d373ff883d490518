import pytest
import torch
from toy import UNET, random_condition

from sfvd_pl.errors import ConfigError
from sfvd_pl.networks import SceneUNet, UNetConfig


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (44, 8)])
def test_it_draws_frames_of_any_size_that_is_a_multiple_of_the_stride(size: tuple[int, int]) -> None:
    out = SceneUNet(UNET)(torch.randn(2, 1, *size), torch.tensor([3, 900]), random_condition(2, 1, size))
    assert out.shape == (2, 1, *size)


@pytest.mark.parametrize("part", ["wire", "known", "background", "region", "timestep"])
def test_every_condition_changes_the_output(part: str) -> None:
    network = SceneUNet(UNET).eval()
    x_t, times, condition = torch.randn(2, 1, 16, 16), torch.tensor([400, 400]), random_condition(2, 1)
    with torch.no_grad():
        before = network(x_t, times, condition)
        if part == "wire":
            after = network(x_t, times, condition.without_wire())
        elif part == "timestep":
            after = network(x_t, times + 300, condition)
        else:
            channels = condition.channels.clone()
            channels[:, {"known": 2, "background": 3, "region": 4}[part]] += 1
            after = network(x_t, times, type(condition)(channels))
    assert (before - after).abs().max() > 1e-4


def test_samples_of_a_batch_do_not_touch_one_another() -> None:
    network = SceneUNet(UNET).eval()
    x_t, times, condition = torch.randn(3, 1, 16, 16), torch.tensor([10, 400, 999]), random_condition(3, 1)
    with torch.no_grad():
        together = network(x_t, times, condition)
        for i in range(3):
            one = type(condition)(condition.channels[i : i + 1])
            alone = network(x_t[i : i + 1], times[i : i + 1], one)
            assert torch.allclose(together[i : i + 1], alone, atol=1e-5)


def test_a_frame_that_does_not_fit_the_levels_is_refused() -> None:
    network = SceneUNet(UNET)
    assert UNET.stride == 4
    with pytest.raises(ConfigError, match=r"multiples of 4[\s\S]*18x16"):
        network(torch.randn(1, 1, 18, 16), torch.tensor([0]), random_condition(1, 1, (18, 16)))


def test_channels_that_no_group_divides_are_refused() -> None:
    with pytest.raises(ConfigError, match="norm_num_groups"):
        UNetConfig(block_out_channels=(8, 18), norm_num_groups=4)


@pytest.mark.parametrize(("unshuffle", "levels", "stride"), [(1, 2, 2), (2, 3, 8), (4, 2, 8)])
def test_stride_is_the_smallest_frame_the_network_takes(unshuffle: int, levels: int, stride: int) -> None:
    config = UNetConfig(block_out_channels=(8,) * levels, norm_num_groups=4, unshuffle=unshuffle)
    assert config.stride == stride
    condition = random_condition(1, 1, 2 * stride)
    out = SceneUNet(config)(torch.randn(1, 1, 2 * stride, 2 * stride), torch.tensor([5]), condition)
    assert out.shape == (1, 1, 2 * stride, 2 * stride)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    plain = SceneUNet(UNET)
    saving = SceneUNet(
        UNetConfig(block_out_channels=(8, 16), norm_num_groups=4, gradient_checkpointing=True)
    )
    saving.load_state_dict(plain.state_dict())
    x_t, times, condition = torch.randn(1, 1, 16, 16), torch.tensor([100]), random_condition(1, 1)
    for network in (plain, saving):
        network.train()
        network(x_t, times, condition).square().sum().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert torch.allclose(a.grad, b.grad, atol=1e-6)  # type: ignore[arg-type]
