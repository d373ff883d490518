"""Training: what the network is told, what the loss counts, the average of the weights, resuming, learning at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from toy import UNET, awaken, clip_batch, motion_module, scene_module, segmentation_module, write_toy_source
from training import Stop, StoppedError, Weights, fit, motion_data, scene_data, segmentation_data

from sfvd_pl.diffusion import share_coarse
from sfvd_pl.errors import CheckpointError, ConfigError
from sfvd_pl.modules.base import ObjectiveConfig, OptimiserConfig, cosine_with_warmup
from sfvd_pl.modules.checkpoint import RECORD_KEY, load_for_inference
from sfvd_pl.modules.ema import EMA
from sfvd_pl.modules.motion import HistoryConfig
from sfvd_pl.modules.scene import SceneModule

# -- what the network is told, and what the loss counts ---------------------------------------------------------


def _spy(module: Any) -> list[tuple[Any, ...]]:
    """Everything that the module's network is called with."""
    calls: list[tuple[Any, ...]] = []
    forward = module.network.forward

    def spying(*args: Any) -> torch.Tensor:
        calls.append(args)
        return forward(*args)

    module.network.forward = spying
    return calls


@pytest.mark.parametrize("motion", [False, True])
def test_the_network_is_told_the_label_and_what_is_given_and_no_more(
    source: Path, suspects: Path, motion: bool
) -> None:
    batch = clip_batch(source, list(range(12)), motion=motion, suspects=suspects)
    module = motion_module() if motion else scene_module()
    calls = _spy(module)
    module.losses(batch)
    block = slice(3, None) if motion else slice(None)
    nearness, wire, known, background, region = calls[0][2].channels.unbind(1)
    x0 = module.standardise(batch.image)[:, 0, block]
    assert torch.equal(known, batch.known[:, 0, block]) and torch.equal(region, batch.region[:, 0, block])
    assert torch.equal(wire, batch.wire_mask[:, 0, block]) and wire.any()
    assert torch.equal(nearness, batch.nearness[:, 0, block] * known)
    assert torch.equal(background, x0 * (1 - region)), "what is to be drawn is not shown"


def test_context_frames_are_noised_by_their_level_and_the_network_is_told(source: Path) -> None:
    batch = clip_batch(source, [0, 1, 2, 3], motion=True)
    module = motion_module(history=HistoryConfig(max_level=0.4, level=0.1))
    calls = _spy(module)
    module.losses(batch)
    x_t, times, _, context, level = calls[0]
    assert torch.allclose(level, 0.4 * batch.uniforms[:, 1])
    assert torch.equal(times, (batch.uniforms[:, 0] * 1000).long())
    x0 = (batch.image - 0.5) / 0.24
    for sample in range(4):
        share = float(level[sample])
        for k in range(3):
            expected = (1 - share**2) ** 0.5 * x0[sample, 0, k] + share * batch.context_noise[sample, 0, k]
            assert torch.allclose(context[sample, 2 * k], expected, atol=1e-5)
            assert torch.equal(context[sample, 2 * k + 1], batch.wire_mask[sample, 0, k])
        alpha = float(module.schedule.alphas_cumprod[times[sample]]) ** 0.5
        noise = share_coarse(batch.noise[:, :, 3:], batch.shared_noise)[sample, 0]
        noised = alpha * x0[sample, 0, 3:] + (1 - alpha**2) ** 0.5 * noise
        assert torch.allclose(x_t[sample, 0], noised, atol=1e-5)


@pytest.mark.parametrize("motion", [False, True])
def test_the_loss_counts_the_region_alone(source: Path, motion: bool) -> None:
    """For a network that draws nothing, against the mean of the squared target over the region by hand."""
    batch = clip_batch(source, list(range(6)), motion=motion)
    objective = ObjectiveConfig(snr_gamma=None)
    module = motion_module(objective=objective) if motion else scene_module(objective=objective)
    module.network.forward = lambda x_t, *args: torch.zeros_like(x_t)
    loss = module.losses(batch)
    x0, block = module.standardise(batch.image), slice(3, None) if motion else slice(None)
    noise = share_coarse(batch.noise[:, :, block], batch.shared_noise) if motion else batch.noise
    target = module.prediction.training_target(x0[:, :, block], noise, module.timesteps(batch.uniforms[:, 0]))
    for sample in range(6):
        counted = target[sample, 0][batch.region[sample, 0, block] > 0]
        assert 0 < len(counted)
        assert float(loss[sample]) == pytest.approx(float(counted.square().mean()), rel=1e-4)


def test_timesteps_reach_from_the_first_to_the_last() -> None:
    module = scene_module()
    times = module.timesteps(torch.tensor([0.0, 0.0009, 0.001, 0.5, 1 - 2**-24]))
    assert times.tolist() == [0, 0, 1, 500, 999]


# -- learning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("motion", [False, True])
def test_one_sample_can_be_learned(source: Path, motion: bool) -> None:
    module = motion_module() if motion else scene_module()
    assert module.objective.prediction_type == "v_prediction"
    batch = clip_batch(source, [1, 1], motion=motion, labelled_share=1.0, anchored_share=0.0)
    batch.uniforms = torch.tensor([[0.3, 0.0], [0.7, 0.0]])
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(80 if motion else 40):
        loss = module.losses(batch).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # Two frames of noise are more than so small a network can keep.
    assert sum(losses[-3:]) < (0.7 if motion else 0.4) * sum(losses[:3])


def test_warm_up_then_cosine() -> None:
    factors = [cosine_with_warmup(step, warmup=4, total=14, final=0.1) for step in range(16)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == pytest.approx(1.0)
    assert factors[9] == pytest.approx(0.55)
    assert factors[14] == factors[15] == pytest.approx(0.1)
    assert factors[4:15] == sorted(factors[4:15], reverse=True)


def test_the_learning_rate_follows_the_optimiser_steps(source: Path, tmp_path: Path) -> None:
    rates: list[float] = []

    class Rates(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, *args: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    module = scene_module(optimiser=OptimiserConfig(lr=0.01, warmup_steps=2, final_lr_ratio=0.0))
    fit(module, scene_data(source), tmp_path, max_steps=6, callbacks=[Rates()], accumulate_grad_batches=2)
    expected = [0.01 * cosine_with_warmup(step, warmup=2, total=6, final=0.0) for step in range(6)]
    assert rates == pytest.approx(expected)


# -- the average of the weights --------------------------------------------------------------------------------


def _hand_written(weights: list[dict[str, torch.Tensor]], decay: float) -> dict[str, torch.Tensor]:
    """Starts as the first step's weights; then average <- d * average + (1 - d) * weights."""
    average = {key: value.double() for key, value in weights[0].items()}
    for step, state in enumerate(weights[1:], start=1):
        d = min(decay, (1 + step) / (10 + step))
        average = {key: d * average[key] + (1 - d) * state[key].double() for key in average}
    return average


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_counts_optimiser_steps_and_equals_a_hand_written_one(
    source: Path, tmp_path: Path, accumulate: int
) -> None:
    weights, updates = Weights(), []

    class Counting(EMA):
        def _average(self, *args: Any) -> None:
            updates.append(int(args[2]))
            super()._average(*args)

    module = scene_module()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=5,
        max_epochs=-1,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accumulate_grad_batches=accumulate,
        callbacks=[weights, Counting(0.25)],
    )
    trainer.fit(module, datamodule=scene_data(source))
    assert trainer.global_step == len(weights.seen) == 5
    assert updates == [1, 2, 3, 4]  # the first of the five steps is copied
    average = _hand_written(weights.seen, 0.25)
    raw = weights.seen[-1]
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    kept = torch.load(tmp_path / "end.ckpt", weights_only=True)["state_dict"]
    for key, value in average.items():
        assert torch.allclose(kept[key].double(), value, atol=1e-6)
    assert any((kept[key] - raw[key]).abs().max() > 1e-5 for key in raw)


def test_a_checkpoint_holds_the_average_and_the_raw_weights(source: Path, tmp_path: Path) -> None:
    weights, path = Weights(), tmp_path / "stopped.ckpt"
    with pytest.raises(StoppedError):
        fit(scene_module(), scene_data(source), tmp_path, callbacks=[weights, Stop(5, path)])
    checkpoint = torch.load(path, weights_only=True)
    average = _hand_written(weights.seen, 0.9)
    for key, value in weights.seen[-1].items():
        assert torch.equal(checkpoint["current_model_state"][key], value)
        assert torch.allclose(checkpoint["state_dict"][key].double(), average[key], atol=1e-6)
    loaded = load_for_inference(SceneModule, path)
    assert all(torch.equal(v, checkpoint["state_dict"][k]) for k, v in loaded.state_dict().items())
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="0 <= decay < 1"):
        EMA(decay)


# -- resuming --------------------------------------------------------------------------------------------------

Make = tuple[Callable[..., Any], Callable[..., Any]]


def _end(module: pl.LightningModule, data: pl.LightningDataModule, folder: Path, **options: Any) -> dict[str, Any]:
    trainer = fit(module, data, folder, **options)
    path = folder / "end.ckpt"
    trainer.save_checkpoint(path)
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def _equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    for part in ("state_dict", "current_model_state"):
        assert first[part].keys() == second[part].keys()
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), (part, key)
    for a, b in zip(first["optimizer_states"], second["optimizer_states"], strict=True):
        for index, state in a["state"].items():
            assert all(torch.equal(state[k], b["state"][index][k]) for k in state)
    assert first["lr_schedulers"][0]["last_epoch"] == second["lr_schedulers"][0]["last_epoch"]


@pytest.mark.parametrize(
    ("make", "stop", "workers"),
    [
        ((scene_module, scene_data), 6, 0),  # in the middle of the second epoch
        ((scene_module, scene_data), 4, 0),  # at the end of the first
        ((scene_module, scene_data), 6, 2),
        ((motion_module, motion_data), 3, 0),
        ((segmentation_module, segmentation_data), 5, 0),
    ],
)
def test_a_resumed_run_ends_bit_equal_to_an_unbroken_one(
    source: Path, tmp_path: Path, make: Make, stop: int, workers: int
) -> None:
    module, data = make
    unbroken = _end(module(), data(source), tmp_path / "unbroken")
    path = tmp_path / "stopped.ckpt"
    loaders = {"num_workers": workers}
    with pytest.raises(StoppedError):
        fit(module(), data(source, **loaders), tmp_path / "stopped", callbacks=[Stop(stop, path)])
    resumed = _end(module(), data(source, **loaders), tmp_path / "resumed", resume=path)
    _equal(unbroken, resumed)
    # It trained at all, and not from the start.
    assert any(not torch.equal(v, module().state_dict()[k]) for k, v in unbroken["state_dict"].items())
    early = torch.load(path, weights_only=True)["current_model_state"]
    assert any(not torch.equal(v, early[k]) for k, v in resumed["current_model_state"].items())


def test_resuming_with_accumulated_gradients(source: Path, tmp_path: Path) -> None:
    unbroken = _end(scene_module(), scene_data(source), tmp_path / "a", accumulate_grad_batches=2)
    path = tmp_path / "stopped.ckpt"
    with pytest.raises(StoppedError):
        stop = [Stop(5, path)]
        fit(scene_module(), scene_data(source), tmp_path / "b", callbacks=stop, accumulate_grad_batches=2)
    resumed = _end(scene_module(), scene_data(source), tmp_path / "c", resume=path, accumulate_grad_batches=2)
    _equal(unbroken, resumed)


@pytest.fixture(scope="module")
def stopped(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.raises(StoppedError):
        fit(scene_module(), scene_data(source), folder, callbacks=[Stop(2, folder / "s.ckpt")])
    return folder / "s.ckpt"


def test_the_checkpoint_says_who_it_learned_from(source: Path, stopped: Path) -> None:
    record = torch.load(stopped, weights_only=True)[RECORD_KEY]
    data = scene_data(source)
    assert record["class"] == "SceneModule"
    assert record["source"] == data.source_hash
    assert record["patients"] == list(data.patients)
    assert record["config"]["network"]["block_out_channels"] == [8, 16]


def test_resuming_on_another_source_is_refused(tmp_path: Path, stopped: Path) -> None:
    other = write_toy_source(tmp_path / "other.h5", seed=8)
    with pytest.raises(CheckpointError, match="belongs to another training"):
        fit(scene_module(), scene_data(other), tmp_path, resume=stopped)


def test_resuming_with_other_settings_is_refused(source: Path, tmp_path: Path, stopped: Path) -> None:
    module = scene_module(objective=ObjectiveConfig(snr_gamma=9.0))
    with pytest.raises(CheckpointError, match=r"key: model.objective.snr_gamma\n  expected: 5.0\n  found: 9.0"):
        fit(module, scene_data(source), tmp_path, resume=stopped)


# -- intensities -----------------------------------------------------------------------------------------------


def test_training_takes_the_statistics_of_the_training_patients(source: Path, tmp_path: Path) -> None:
    data = scene_data(source)
    module = SceneModule(network=UNET)
    fit(module, data, tmp_path, max_steps=1)
    assert module.intensity.tolist() == pytest.approx([data.intensity.mean, data.intensity.std])
    values = torch.rand(1, 1, 4, 4)
    x0 = module.standardise(values)
    assert torch.allclose(x0, (values - data.intensity.mean) / (2 * data.intensity.std), atol=1e-5)
    assert torch.allclose(module.to_image(x0), values, atol=1e-6)
    assert module.to_image(torch.tensor([-99.0, 99.0])).tolist() == [0.0, 1.0]


def test_a_module_that_never_saw_data_does_not_pretend() -> None:
    module = SceneModule()
    with pytest.raises(CheckpointError, match="never been trained"):
        module.standardise(torch.zeros(1))
    with pytest.raises(CheckpointError, match="never been trained"):
        module.to_image(torch.zeros(1))


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = scene_module(seed=3).state_dict()
    untouched = torch.get_rng_state()
    torch.manual_seed(2)
    again, other = scene_module(seed=3).state_dict(), scene_module(seed=4).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), untouched)


def test_a_motion_module_starts_as_its_scene_module(models: dict[str, Path], source: Path) -> None:
    """With equal noise and times, its loss is the scene model's, frame by frame."""
    scene, motion = load_for_inference(SceneModule, models["scene"]), motion_module(scene_ckpt=models["scene"])
    batch = clip_batch(source, [0, 1, 2], motion=True, labelled_share=1.0)
    calls = _spy(motion)
    motion.losses(batch)
    x_t, times, condition, context, level = calls[0]
    with torch.no_grad():
        together = motion.network(x_t, times, condition, context, level)
        for frame in range(2):
            alone = scene.network(x_t[:, :, frame], times, condition.frames(slice(frame, frame + 1)))
            assert torch.allclose(together[:, :, frame], alone, atol=1e-5)
        awaken(motion.network)
        changed = motion.network(x_t, times, condition, context, level)
    assert (changed - together).abs().max() > 1e-3


@pytest.mark.parametrize("changed", [{"class": "MotionModule"}, {"config": {"network": {"unshuffle": 9}}}, {}])
def test_weights_of_another_architecture_are_refused_before_they_are_taken(changed: dict[str, Any]) -> None:
    module = scene_module()
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    record = {**checkpoint[RECORD_KEY], **changed} if changed else {}
    with pytest.raises(CheckpointError, match="does not fit the model"):
        module.on_load_checkpoint({RECORD_KEY: record})
