import pytest
import torch
from toy import UNET, awaken, random_condition

from sfvd_pl.errors import ConfigError
from sfvd_pl.networks import MotionUNet, SceneUNet, UNetConfig, WireCondition, pack_context
from sfvd_pl.networks.motion import CONTEXT_CHANNELS, TemporalAttention

SIZE = 16
HISTORY = 2


def _pair(config: UNetConfig = UNET) -> tuple[SceneUNet, MotionUNet]:
    torch.manual_seed(3)
    scene = SceneUNet(config)
    awaken(scene)
    torch.manual_seed(4)
    motion = MotionUNet(config, HISTORY)
    motion.load_scene(scene)
    return scene.eval(), motion.eval()


def _inputs(frames: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, WireCondition, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    x_t = torch.randn(batch, 1, frames, SIZE, SIZE, generator=generator)
    context = torch.randn(batch, (1 + HISTORY) * CONTEXT_CHANNELS, SIZE, SIZE, generator=generator)
    times = torch.randint(0, 1000, (batch,), generator=generator)
    return x_t, times, random_condition(batch, frames, SIZE), context


def _frame(condition: WireCondition, frame: int) -> WireCondition:
    return condition.frames(slice(frame, frame + 1))


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("level", [0.0, 0.3])
def test_an_untrained_motion_network_is_the_scene_network_frame_by_frame(frames: int, level: float) -> None:
    scene, motion = _pair()
    x_t, times, condition, context = _inputs(frames)
    with torch.no_grad():
        together = motion(x_t, times, condition, context, torch.full((2,), level))
        for frame in range(frames):
            alone = scene(x_t[:, :, frame], times, _frame(condition, frame))
            assert alone.abs().max() > 1e-2  # equal zeros would say nothing
            assert torch.allclose(together[:, :, frame], alone, atol=1e-5)


def test_it_does_so_with_more_layers_and_frames_that_are_not_square() -> None:
    config = UNetConfig(block_out_channels=(8, 8, 16), layers_per_block=2, norm_num_groups=4, unshuffle=1)
    scene, motion = _pair(config)
    x_t, context = torch.randn(2, 1, 3, 12, 20), torch.randn(2, (1 + HISTORY) * CONTEXT_CHANNELS, 12, 20)
    times, condition = torch.tensor([10, 700]), random_condition(2, 3, (12, 20))
    with torch.no_grad():
        together = motion(x_t, times, condition, context, torch.tensor([0.1, 0.2]))
        for frame in range(3):
            alone = scene(x_t[:, :, frame], times, _frame(condition, frame))
            assert torch.allclose(together[:, :, frame], alone, atol=1e-5)


def _step(motion: MotionUNet, optimiser: torch.optim.Optimizer) -> None:
    x_t, times, condition, context = _inputs(3)
    loss = (motion(x_t, times, condition, context, torch.tensor([0.1, 0.2])) - x_t.roll(1, 2)).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def test_it_departs_from_the_scene_network_after_a_training_step() -> None:
    scene, motion = _pair()
    motion.train()
    _step(motion, torch.optim.SGD(motion.parameters(), lr=0.1))
    motion.eval()
    x_t, times, condition, context = _inputs(3)
    new = {k: v for k, v in motion.unet.state_dict().items() if k != "conv_in.weight"}
    with torch.no_grad():
        # Give back the scene's weights, so that only what is new can make the difference.
        for key, value in scene.unet.state_dict().items():
            if key in new:
                new[key].copy_(value)
        motion.unet.conv_in.weight[:, : scene.unet.conv_in.in_channels] = scene.unet.conv_in.weight
        together = motion(x_t, times, condition, context, torch.tensor([0.1, 0.2]))
        alone = torch.stack([scene(x_t[:, :, i], times, _frame(condition, i)) for i in range(3)], dim=2)
    assert (together - alone).abs().max() > 1e-4


def test_everything_that_is_new_gets_gradients_after_one_step() -> None:
    """Zero-initialised branches pass no gradient to the layers before them, so it takes one step for all."""
    scene, motion = _pair()
    motion.train()
    optimiser = torch.optim.SGD(motion.parameters(), lr=0.1)
    _step(motion, optimiser)
    _step(motion, optimiser)
    own = ("down_mixers", "mid_mixer", "up_mixers", "context_level", "frame_place")
    silent = [
        name
        for name, parameter in motion.named_parameters()
        # A context level and a place are always known, so their vector for the unknown is never asked for.
        if name.startswith(own) and "unknown" not in name and not _moved(parameter)
    ]
    assert silent == []
    gradient = motion.unet.conv_in.weight.grad
    assert gradient is not None
    assert gradient[:, scene.unet.conv_in.in_channels :].flatten(2).abs().amax(dim=(0, 2)).min() > 0


def _moved(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.any())


def test_load_scene_copies() -> None:
    scene, motion = _pair()
    before = {key: value.clone() for key, value in motion.state_dict().items()}
    with torch.no_grad():
        for parameter in scene.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[key]) for key, value in motion.state_dict().items())
    with torch.no_grad():
        for parameter in motion.parameters():
            parameter.zero_()
    assert all(parameter.any() for parameter in scene.parameters())


def test_load_scene_leaves_the_new_parts_and_clears_the_context_weights() -> None:
    torch.manual_seed(5)
    motion = MotionUNet(UNET, HISTORY)
    awaken(motion)
    mixer = motion.mid_mixer.conv_2.weight.clone()
    scene = SceneUNet(UNET)
    motion.load_scene(scene)
    assert torch.equal(motion.mid_mixer.conv_2.weight, mixer)
    own = scene.unet.conv_in.in_channels
    assert motion.unet.conv_in.weight[:, :own].any()
    assert not motion.unet.conv_in.weight[:, own:].any()


@pytest.mark.parametrize("part", ["context", "level", "neighbour", "order"])
def test_trained_parts_see_context_level_and_other_frames(part: str) -> None:
    _, motion = _pair()
    awaken(motion)
    with torch.no_grad():
        motion.unet.conv_in.weight.add_(0.05 * torch.randn_like(motion.unet.conv_in.weight))
        x_t, times, condition, context = _inputs(3)
        level = torch.tensor([0.1, 0.2])
        before = motion(x_t, times, condition, context, level)
        if part == "context":
            after = motion(x_t, times, condition, context + 0.5, level)
        elif part == "level":
            after = motion(x_t, times, condition, context, level + 0.1)
        elif part == "neighbour":
            other = x_t.clone()
            other[:, :, 2] += 1.0
            after = motion(other, times, condition, context, level)
        else:
            same = x_t[:, :, :1].expand_as(x_t)
            alike = condition.frames(slice(0, 1))
            repeated = WireCondition(alike.channels.expand_as(condition.channels))
            out = motion(same, times, repeated, context, level)
            before, after = out[:, :, :1], out[:, :, 2:]
    assert (before[:, :, 0] - after[:, :, 0]).abs().max() > 1e-4


def test_samples_of_a_batch_do_not_touch_one_another() -> None:
    _, motion = _pair()
    awaken(motion)
    x_t, times, condition, context = _inputs(3, batch=3)
    level = torch.tensor([0.0, 0.1, 0.2])
    with torch.no_grad():
        together = motion(x_t, times, condition, context, level)
        for i in range(3):
            one = slice(i, i + 1)
            alone = motion(
                x_t[one],
                times[one],
                WireCondition(condition.channels[one]),
                context[one],
                level[one],
            )
            assert torch.allclose(together[one], alone, atol=1e-5)


def test_pack_context_puts_picture_and_mask_of_each_frame_together() -> None:
    frames, condition = torch.randn(2, 1, 3, 8, 8), random_condition(2, 3, 8)
    packed = pack_context(frames, condition)
    assert packed.shape == (2, 6, 8, 8)
    for k in range(3):
        assert torch.equal(packed[:, 2 * k], frames[:, 0, k])
        assert torch.equal(packed[:, 2 * k + 1], condition.channels[:, 1, k])


@pytest.mark.parametrize(("channels", "heads"), [(16, 1), (96, 4), (256, 8), (40, 1), (120, 5)])
def test_attention_divides_any_number_of_channels(channels: int, heads: int) -> None:
    attention = TemporalAttention(channels, 4)
    awaken(attention)
    assert attention.heads == heads
    features = torch.randn(6, channels, 2, 2)
    assert attention(features, 3).shape == features.shape


def test_attention_stays_at_its_pixel_and_its_sample() -> None:
    attention = TemporalAttention(8, 4).eval()
    awaken(attention)
    features = torch.randn(6, 8, 2, 2)
    other = features.clone()
    other[4, :, 0, 1] += 1.0  # second sample, second frame
    with torch.no_grad():
        attention.norm = torch.nn.Identity()  # normalisation over the frame spreads any change
        change = (attention(features, 3) - attention(other, 3)).abs().amax(1)
    assert not change[:3].any()
    assert (change[3:, 0, 1] > 0).all()
    change[3:, 0, 1] = 0
    assert not change.any()


def test_a_frame_that_does_not_fit_is_refused() -> None:
    motion = MotionUNet(UNET, HISTORY)
    with pytest.raises(ConfigError, match="multiples of 4"):
        motion(
            torch.randn(1, 1, 2, 18, 16),
            torch.tensor([0]),
            random_condition(1, 2, (18, 16)),
            torch.randn(1, 6, 18, 16),
            torch.zeros(1),
        )


def test_before_any_scene_is_loaded_the_context_weighs_nothing() -> None:
    own = SceneUNet(UNET).unet.conv_in.in_channels
    weight = MotionUNet(UNET, HISTORY).unet.conv_in.weight
    assert weight[:, :own].any()
    assert not weight[:, own:].any()


def test_the_way_up_sees_the_mixed_features() -> None:
    _, motion = _pair()
    awaken(motion)
    mixed: list[torch.Tensor] = []
    skips: list[torch.Tensor] = []
    for mixer in motion.down_mixers:
        mixer.register_forward_hook(lambda module, args, output: mixed.append(output))
    for block in motion.unet.up_blocks:
        block.register_forward_pre_hook(lambda module, args: skips.extend(args[1]))
    x_t, times, condition, context = _inputs(3)
    with torch.no_grad():
        motion(x_t, times, condition, context, torch.tensor([0.1, 0.2]))
    # Besides the first convolution's output, each level hands up its residual blocks' last, mixed features.
    assert all(any(skip is features for skip in skips) for features in mixed)
