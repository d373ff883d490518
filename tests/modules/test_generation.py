"""Drawing: what a sample id decides, and that nothing else does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generation import generation_batch
from toy import SAMPLER, awaken, motion_module, scene_module, segmentation_module

from sfvd_pl.augment.gate import Gate
from sfvd_pl.diffusion import sample_noise
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.modules.base import MaskGuidanceConfig, guided_denoiser
from sfvd_pl.modules.generation import ClipGenerator, GuideConfig
from sfvd_pl.modules.motion import ConsistencyConfig, HistoryConfig
from sfvd_pl.modules.scene import generation_condition
from sfvd_pl.networks import UNetConfig

IDS = [7, 2, 11]
CLOSE = 1e-4


def _start(module: Any) -> list[torch.Tensor]:
    """What each trajectory of a module starts from: the pictures of its network's first call."""
    seen: list[torch.Tensor] = []
    forward = module.network.forward

    def spying(x_t: torch.Tensor, timesteps: torch.Tensor, *args: Any) -> torch.Tensor:
        if int(timesteps[0]) == 999:
            seen.append(x_t.clone())
        return forward(x_t, timesteps, *args)

    module.network.forward = spying
    return seen


def _scene_module() -> Any:
    module = scene_module(seed=3, guidance=MaskGuidanceConfig(2.0, (0.0, 1.0)))
    awaken(module.network)
    return module


def _motion_module(strategy: str = "none") -> Any:
    module = motion_module(
        seed=3,
        consistency=ConsistencyConfig(strategy, 0.7),
        guidance=MaskGuidanceConfig(2.0, (0.0, 1.0)),
        history=HistoryConfig(level=0.1),
    )
    awaken(module.network)
    return module


@pytest.mark.parametrize("make", [scene_module, motion_module])
def test_the_lattice_of_the_networks_squares_is_taken_out_unless_told_otherwise(make: Any) -> None:
    module = make(network=UNetConfig(block_out_channels=(8, 16), norm_num_groups=4, unshuffle=2))
    module.intensity.copy_(torch.tensor([0.4, 0.1]))
    assert module.sampler.config.lattice == 2
    module.sampler_config = replace(module.sampler_config, lattice=1)
    assert module.sampler.config.lattice == 1


def test_a_scene_depends_on_its_id_and_not_on_the_batch(source: Path) -> None:
    together, alone = _scene_module(), _scene_module()
    starts, single = _start(together), _start(alone)
    batch = generation_batch(source, IDS)
    scenes = together.generate(generation_condition(batch).frames(slice(0, 1)), batch.sample_id)
    for row, sample_id in enumerate(IDS):
        one = generation_batch(source, [sample_id])
        scene = alone.generate(generation_condition(one).frames(slice(0, 1)), one.sample_id)
        assert torch.equal(starts[0][row], single[row][0])
        assert (scene[0] - scenes[row]).abs().max() < CLOSE
    assert torch.equal(starts[0][:3], sample_noise(3, IDS, (1, 32, 32), "scene-x_T"))
    assert (scenes[0] - scenes[1]).abs().mean() > 0.01


@pytest.mark.parametrize("strategy", ["none", "mixed", "progressive", "coarse"])
def test_a_clip_depends_on_its_id_and_not_on_the_batch(source: Path, strategy: str) -> None:
    together, alone = _motion_module(strategy), _motion_module(strategy)
    starts, single = _start(together), _start(alone)
    batch = generation_batch(source, IDS, scene=True)
    clips = together.generate(batch.scene, generation_condition(batch), batch.sample_id)
    assert clips.shape == (3, 1, 4, 32, 32)
    assert len(starts) == 2  # a block of two frames and one of the last
    for row, sample_id in enumerate(IDS):
        one = generation_batch(source, [sample_id], scene=True)
        clip = alone.generate(one.scene, generation_condition(one), one.sample_id)
        for block in range(2):
            assert torch.equal(starts[block][row], single[2 * row + block][0])
        assert (clip[0] - clips[row]).abs().max() < CLOSE
    assert torch.allclose(clips[:, :, 0], batch.scene, atol=1e-6)  # type: ignore[arg-type]


def test_frame_noise_is_correlated_as_the_strategy_says(source: Path) -> None:
    batch = generation_batch(source, [1, 2, 3, 4], scene=True)
    share = 0.7**2 / (1 + 0.7**2)
    for strategy, within, across in (("none", 0, 0), ("mixed", share, share), ("progressive", share**0.5, share**0.5)):
        module = _motion_module(strategy)
        starts = _start(module)
        module.generate(batch.scene, generation_condition(batch), batch.sample_id)
        # With guidance the batch holds the conditional half and the null half; both start alike.
        first, second = (s[:4] for s in starts)
        assert _correlation(first[:, :, 0], first[:, :, 1]) == pytest.approx(within, abs=0.06)
        assert _correlation(first[:, :, -1], second[:, :, 0]) == pytest.approx(across, abs=0.06)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1])


def test_history_and_first_frame_are_handed_to_each_block(source: Path) -> None:
    module = motion_module(block=1, history=HistoryConfig(frames=2, level=0.0))
    contexts: list[torch.Tensor] = []
    conditions: list[Any] = []
    forward = module.network.forward

    def spying(*args: Any) -> torch.Tensor:
        if int(args[1][0]) == 999:
            contexts.append(args[3])
            conditions.append(args[2])
        return forward(*args)

    module.network.forward = spying  # type: ignore[method-assign]
    batch = generation_batch(source, [5], scene=True)
    clip = module.standardise(module.generate(batch.scene, generation_condition(batch), batch.sample_id))
    assert len(contexts) == 3
    low, high = module.standardise(torch.tensor([0.0, 1.0]))
    for frame, context in enumerate(contexts, start=1):
        for k, past in enumerate((0, max(0, frame - 2), frame - 1)):
            assert torch.allclose(context[0, 3 * k].clamp(low, high), clip[0, 0, past], atol=1e-5)
            assert torch.equal(context[0, 3 * k + 1], batch.wire_mask[0, 0, past])
            assert context[0, 3 * k + 2].all()
        assert torch.equal(conditions[frame - 1].channels[0, 1, 0], batch.wire_mask[0, 0, frame])


def test_guidance_subtracts_the_null_branch_and_only_in_its_interval() -> None:
    calls: list[tuple[int, bool]] = []

    def network(x_t: torch.Tensor, timesteps: torch.Tensor, with_null: bool) -> torch.Tensor:
        calls.append((int(timesteps[0]), with_null))
        return torch.cat([x_t + 3, x_t + 1]) if with_null else x_t + 3

    denoise = guided_denoiser(network, MaskGuidanceConfig(2.5, (0.2, 0.7)), 1000)
    x = torch.zeros(2, 1, 4, 4)
    outputs = {t: float(denoise(x, torch.full((2,), t))[0, 0, 0, 0]) for t in (999, 701, 699, 500, 201, 199, 0)}
    # The interval is one of diffusion times: 200 to 700 of 1000.
    assert outputs == {999: 3, 701: 3, 699: 1 + 2.5 * 2, 500: 6, 201: 6, 199: 3, 0: 3}
    assert [t for t, with_null in calls if with_null] == [699, 500, 201]


def test_no_guidance_never_computes_the_null_branch() -> None:
    def network(x_t: torch.Tensor, timesteps: torch.Tensor, with_null: bool) -> torch.Tensor:
        assert not with_null
        return x_t

    denoise = guided_denoiser(network, MaskGuidanceConfig(1.0, (0.0, 1.0)), 1000)
    denoise(torch.zeros(1, 1, 2, 2), torch.tensor([500]))


def test_refining_starts_from_the_noised_scene(source: Path) -> None:
    module = scene_module(sampler=replace(SAMPLER, num_inference_steps=4))
    seen: list[tuple[int, torch.Tensor]] = []
    forward = module.network.forward

    def spying(x_t: torch.Tensor, timesteps: torch.Tensor, *args: Any) -> torch.Tensor:
        seen.append((int(timesteps[0]), x_t.clone()))
        return forward(x_t, timesteps, *args)

    module.network.forward = spying  # type: ignore[method-assign]
    batch = generation_batch(source, [3, 4], scene=True)
    condition = generation_condition(batch).frames(slice(0, 1))
    module.generate(condition, batch.sample_id, refine=batch.scene, refine_from=0.5)
    assert [time for time, _ in seen] == [499, 249]
    noise = sample_noise(0, [3, 4], (1, 32, 32), "scene-x_T")
    alpha = float(module.schedule.alphas_cumprod[499]) ** 0.5
    assert batch.scene is not None
    expected = alpha * module.standardise(batch.scene) + (1 - alpha**2) ** 0.5 * noise
    assert torch.allclose(seen[0][1][:2], expected, atol=1e-5)


def test_history_levels_that_were_never_trained_are_refused() -> None:
    with pytest.raises(ConfigError, match="history"):
        HistoryConfig(max_level=0.1, level=0.2)


# -- scene, motion, guide and judge together -------------------------------------------------------------------


OPEN_GATE = Gate(0.0, None)


def _generator(gate: Gate = OPEN_GATE, **guide: Any) -> ClipGenerator:
    parts = [_scene_module(), _motion_module(), segmentation_module(seed=1), segmentation_module(seed=2)]
    for part in parts:
        part.requires_grad_(False)
    return ClipGenerator(*parts, gate, GuideConfig(interval=(0.0, 1.0), **guide), 255)  # type: ignore[arg-type]


@pytest.mark.parametrize("scene", [False, True])
def test_a_guided_clip_depends_on_its_id_and_not_on_the_batch(source: Path, scene: bool) -> None:
    generator = _generator()
    clips = generator.generate(generation_batch(source, IDS, scene=scene, scale=0.01))
    for row, sample_id in enumerate(IDS):
        clip = generator.generate(generation_batch(source, [sample_id], scene=scene, scale=0.01))
        assert (clip[0] - clips[row]).abs().max() < CLOSE


@pytest.fixture
def double() -> Iterator[None]:
    """Everything in 64 bits: the gradient through a denoiser that knows nothing yet amplifies rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_nor_does_it_with_the_gradient_through_the_denoiser(source: Path, double: None) -> None:
    generator = _generator(through_denoiser=True).double()

    def clips(ids: list[int]) -> torch.Tensor:
        batch = generation_batch(source, ids, scene=True, scale=0.01)
        names = ("wire_mask", "nearness", "visibility", "segmentation_scale", "scene")
        return generator.generate(replace(batch, **{name: getattr(batch, name).double() for name in names}))

    together = clips(IDS)
    for row, sample_id in enumerate(IDS):
        assert (clips([sample_id])[0] - together[row]).abs().max() < 1e-10


def test_the_guide_changes_the_clip_and_more_so_near_the_wire(source: Path) -> None:
    generator = _generator()
    plain = generator.generate(generation_batch(source, [3], scale=0.0))
    guided = generator.generate(generation_batch(source, [3], scale=0.02))
    change = (plain - guided).abs()
    assert change.mean() > 1e-4
    wire = torch.nn.functional.max_pool2d(generation_batch(source, [3]).wire_mask[:, 0], 7, 1, 3)[:, None] > 0
    assert change[wire].mean() > change[~wire].mean()


def test_the_verdict_is_that_of_the_judge_on_the_quantised_pixels(source: Path) -> None:
    generator = _generator(Gate(0.02, 0.1))
    made = generator.predict_step(generation_batch(source, IDS), 0)
    facts, image = made["facts"], made["image"]
    pixels = (image[:, 0] * 255).round().numpy().astype(np.uint8)
    masks = made["batch"].wire_mask[:, 0].numpy() > 0.5
    reasons = []
    for row in range(3):
        with torch.no_grad():
            found = generator.judge(torch.from_numpy(pixels[row].astype(np.float32))[:, None] / 255) > 0
        score = np.mean([dice(f, m) for f, m in zip(found[:, 0].numpy(), masks[row], strict=True)])
        assert facts["clips/gate_dice"][row] == pytest.approx(float(score), abs=1e-5)
        seen = float(np.nanmedian(clip_visibility(pixels[row], masks[row])))
        reasons += Gate(0.02, 0.1).reasons(np.array([score]), np.array([seen]))
    assert facts["clips/reject_reason"] == reasons
    assert facts["clips/accepted"].tolist() == [not reason for reason in reasons]
    assert facts["clips/scene_origin"] == ["fresh"] * 3
    assert facts["clips/guidance_scale"].tolist() == [2.0] * 3
