"""Drawing: what a sample id decides, that nothing else does, and that real pixels stay."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generation import generation_batch
from scipy.ndimage import distance_transform_edt
from toy import (
    FRAMES,
    WINDOW,
    awaken,
    motion_module,
    scene_module,
    segmentation_module,
    toy_clips,
    write_suspects,
    write_toy_source,
)

from sfvd_pl.augment.gate import Gate, GateConfig
from sfvd_pl.augment.plan import Plan, PlanConfig, PlannedClip
from sfvd_pl.diffusion import sample_noise
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.modules.generation import ClipGenerator, GuideConfig, PlanDataModule
from sfvd_pl.modules.motion import HistoryConfig
from sfvd_pl.networks import UNetConfig, WireCondition

IDS = [7, 2, 11]
CLOSE = 1e-4


def _first_calls(module: Any) -> list[tuple[Any, ...]]:
    """What the network is called with at the start of each trajectory."""
    seen: list[tuple[Any, ...]] = []
    forward = module.network.forward

    def spying(*args: Any) -> torch.Tensor:
        if int(args[1][0]) == 999:
            seen.append(tuple(arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args))
        return forward(*args)

    module.network.forward = spying
    return seen


def _awake(make: Any, **settings: Any) -> Any:
    module = make(seed=3, **settings)
    awaken(module.network)
    return module


def _fresh(source: Path, ids: list[int]) -> tuple[torch.Tensor, WireCondition, torch.Tensor]:
    batch = generation_batch(source, ids, scene=True)
    assert batch.scene is not None
    return batch.scene, WireCondition.fresh(batch.wire_mask, batch.nearness), batch.sample_id


@pytest.mark.parametrize("make", [scene_module, motion_module])
def test_the_lattice_of_the_networks_squares_is_taken_out_unless_told_otherwise(make: Any) -> None:
    module = make(network=UNetConfig(block_out_channels=(8, 16), norm_num_groups=4, unshuffle=2))
    module.intensity.copy_(torch.tensor([0.4, 0.1]))
    assert module.sampler.config.lattice == 2
    module.sampler_config = replace(module.sampler_config, lattice=1)
    assert module.sampler.config.lattice == 1


def test_a_scene_depends_on_its_id_and_not_on_the_batch(source: Path) -> None:
    module = _awake(scene_module)
    starts = _first_calls(module)
    _, condition, ids = _fresh(source, IDS)
    scenes = module.generate(condition.frames(slice(0, 1)), ids)
    assert torch.equal(starts[0][0], sample_noise(3, IDS, (1, WINDOW, WINDOW), "scene-x_T"))
    for row, sample_id in enumerate(IDS):
        _, condition, ids = _fresh(source, [sample_id])
        scene = module.generate(condition.frames(slice(0, 1)), ids)
        assert (scene[0] - scenes[row]).abs().max() < CLOSE
    assert (scenes[0] - scenes[1]).abs().mean() > 0.01


def test_a_clip_depends_on_its_id_and_not_on_the_batch(source: Path) -> None:
    module = _awake(motion_module, history=HistoryConfig(level=0.1))
    starts = _first_calls(module)
    scene, condition, ids = _fresh(source, IDS)
    clips = module.generate(scene, condition, ids)
    assert clips.shape == (3, 1, FRAMES, WINDOW, WINDOW) and len(starts) == 2, "two blocks of two frames"
    assert torch.allclose(clips[:, :, 0], scene, atol=1e-6)
    for row, sample_id in enumerate(IDS):
        clip = module.generate(*_fresh(source, [sample_id]))
        assert (clip[0] - clips[row]).abs().max() < CLOSE
    means = [torch.nn.functional.avg_pool3d(x_t, (1, 16, 16)) for x_t, *_ in starts[:2]]
    for block in means:  # the coarse part of the noise is the clip's, in both blocks
        assert torch.allclose(block, means[0][:, :, :1].expand_as(block), atol=1e-6)
    assert not torch.allclose(starts[0][0][:, :, 0], starts[0][0][:, :, 1], atol=0.5)


def test_history_and_first_frame_are_handed_to_each_block(source: Path) -> None:
    module = motion_module(block=1, history=HistoryConfig(frames=2, level=0.0))
    starts = _first_calls(module)
    scene, condition, ids = _fresh(source, [5])
    clip = module.standardise(module.generate(scene, condition, ids))
    assert len(starts) == FRAMES - 1
    low, high = module.standardise(torch.tensor([0.0, 1.0]))
    for frame, (_, _, told, context, _) in enumerate(starts, start=1):
        for k, past in enumerate((0, max(0, frame - 2), frame - 1)):
            assert torch.allclose(context[0, 2 * k].clamp(low, high), clip[0, 0, past], atol=1e-5)
            assert torch.equal(context[0, 2 * k + 1], condition.wire_mask[0, 0, past])
        assert torch.equal(told.channels[:, :, 0], condition.channels[:, :, frame])


def test_frames_that_are_no_whole_number_of_blocks_are_refused(source: Path) -> None:
    scene, condition, ids = _fresh(source, [1])
    with pytest.raises(ConfigError, match="multiple of block"):
        motion_module(block=3).generate(scene, condition, ids)


def test_history_levels_that_were_never_trained_are_refused() -> None:
    with pytest.raises(ConfigError, match="history"):
        HistoryConfig(max_level=0.1, level=0.2)


# -- scene, motion, guide and judge together -------------------------------------------------------------------

OPEN = GateConfig(attenuation_cnr=-1e9, drawn_share=0.0)


def _generator(plan: Plan, gate: Gate | None = None) -> ClipGenerator:
    parts = [_awake(scene_module), _awake(motion_module), segmentation_module(seed=1), segmentation_module(seed=2)]
    for part in parts:
        part.requires_grad_(False)
    return ClipGenerator(*parts, gate or Gate(OPEN), GuideConfig(interval=(0.0, 1.0)), plan, 255)  # type: ignore[arg-type]


def _plan(source: Path, suspects: Path, **config: Any) -> Plan:
    settings: dict[str, Any] = {"num_clips": 4, "frames": FRAMES, "window": WINDOW, "vessel_share": 0.0}
    return Plan(PlanConfig(**(settings | config)), source, suspects, 0)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source whose clips have sizes of their own, which no stride divides, and what is suspected in it."""
    folder = tmp_path_factory.mktemp("odd")
    sizes = [(45, 48), (48, 37), (43, 47), (48, 48)]
    clips = [
        replace(clip, image=clip.image[:, :h, :w], wire_mask=clip.wire_mask[:, :h, :w])
        for number, clip in enumerate(toy_clips())
        for h, w in [sizes[number % 4]]
    ]
    source = write_toy_source(folder / "odd.h5", clips=clips)
    return source, write_suspects(folder / "suspects.h5", source)


@pytest.mark.parametrize("erase", [False, True])
def test_outside_the_region_every_pixel_is_the_real_one(odd: tuple[Path, Path], erase: bool) -> None:
    plan = _plan(*odd, num_clips=6, erase_known=erase, segmentation_scale=0.5)
    generator, sizes = _generator(plan), set()
    for sample_id in plan.sample_ids:
        clip = plan.clip(sample_id)
        assert clip.frames is not None
        sizes.add(clip.frames.shape[1:])
        drawn = generator.make(clip)
        around = clip.wire_mask | clip.known_wire if erase else clip.wire_mask
        far = np.stack([distance_transform_edt(wire == 0) > 4 for wire in around])
        assert drawn.pixels.dtype == clip.frames.dtype
        assert np.array_equal(drawn.pixels[far], clip.frames[far])
        assert (drawn.pixels != clip.frames).any((1, 2)).all(), "each frame has a wire drawn"
    assert len(sizes) > 2


def test_a_known_wire_is_erased_where_asked_and_stays_otherwise(source: Path, suspects: Path) -> None:
    for erase in (False, True):
        plan = _plan(source, suspects, erase_known=erase)
        clip = next(clip for clip in map(plan.clip, range(6)) if clip.known_wire.any())
        assert clip.frames is not None
        pixels = _generator(plan).make(clip).pixels
        apart = np.stack([distance_transform_edt(wire == 0) > 4 for wire in clip.wire_mask])
        wire = (clip.known_wire > 0) & apart
        assert wire.any() and bool((pixels[wire] != clip.frames[wire]).mean() > 0.5) == erase


def _columns_equal(first: dict[str, Any], second: dict[str, Any], row: int) -> None:
    for key, values in second.items():
        each = len(values)
        found = first[key][row * each : (row + 1) * each]
        assert list(found) == values if isinstance(values, list) else np.array_equal(found, values, equal_nan=True), key


@pytest.mark.parametrize("anchored", [0.0, 1.0])
def test_a_clip_of_the_artifact_does_not_depend_on_its_batch(source: Path, suspects: Path, anchored: float) -> None:
    """Not even in its last bit, with guidance on."""
    plan = _plan(source, suspects, anchored=anchored, hard_share=0.5, segmentation_scale=0.5)
    generator = _generator(plan)
    together = generator.predict_step([plan.clip(i) for i in (3, 0, 2)], 0)
    for row, sample_id in enumerate((3, 0, 2)):
        _columns_equal(together, generator.predict_step([plan.clip(sample_id)], 0), row)


def test_a_fresh_clip_is_drawn_wholly(source: Path, suspects: Path) -> None:
    plan = _plan(source, suspects, anchored=0.0)
    generator = _generator(plan)
    first, second = (generator.make(plan.clip(i)).pixels for i in (0, 1))
    assert first.shape == (FRAMES, WINDOW, WINDOW) and first.std() > 5
    assert (first != second).mean() > 0.5


def test_the_pair_differs_by_the_wire_only_and_the_guide_changes_the_one_with_it(source: Path, suspects: Path) -> None:
    plan = _plan(source, suspects)
    generator, clip = _generator(plan), plan.clip(1)
    with_wire, without = generator.pair(clip)
    guided, still = generator.pair(replace(clip, segmentation_scale=0.5))
    assert clip.frames is not None
    real = clip.frames.astype(np.float32) / 255
    for drawn in (with_wire, without):
        assert np.allclose(drawn[~clip.region], real[~clip.region], atol=1e-6)
    assert (with_wire != without)[clip.region].mean() > 0.5
    assert np.array_equal(without, still), "who has no wire is not guided"
    assert np.abs(guided - with_wire)[clip.region].max() > 1e-3


def test_a_hard_clip_is_never_plainer_than_asked(source: Path, suspects: Path) -> None:
    plan = _plan(source, suspects, num_clips=6, attenuation=(0.8, 1.0))
    generator = _generator(plan)
    lower = 0
    for clip in map(plan.clip, plan.sample_ids):
        plain, hard = generator.make(clip), generator.make(replace(clip, hard=True))
        assert 0.29 * plain.contrast < hard.contrast <= plain.contrast
        lower += hard.contrast < plain.contrast
    assert lower


def test_the_verdict_is_that_of_the_pixels_that_are_written(source: Path, suspects: Path) -> None:
    plan = _plan(source, suspects)
    generator, clip = _generator(plan, Gate(OPEN, 0.02)), plan.clip(0)
    drawn = generator.make(clip)
    assert generator.judge is not None
    with torch.no_grad():
        found = generator.judge(torch.from_numpy(drawn.pixels.astype(np.float32))[:, None] / 255)[:, 0].numpy() > 0
    scores = [dice(f & (i == 0), w > 0) for f, i, w in zip(found, clip.ignore, clip.label, strict=True)]
    assert drawn.gate_dice == pytest.approx(float(np.mean(scores)), abs=1e-5)
    assert drawn.reject_reason == Gate(OPEN, 0.02).reason(drawn.attenuation_cnr, 1.0, drawn.gate_dice)
    generator.judge, generator.gate = None, Gate(OPEN)
    alone = generator.make(clip)
    assert np.isnan(alone.gate_dice) and alone.reject_reason == ""


def test_pieces_hold_whole_clips(source: Path, suspects: Path) -> None:
    data = PlanDataModule(_plan(source, suspects), 3)
    assert data.pieces(data.sample_ids) == [[0, 1, 2], [3]]
    clips: list[PlannedClip] = [clip for batch in data.predict_dataloader() for clip in batch]
    assert [clip.sample_id for clip in clips] == [0, 1, 2, 3]
