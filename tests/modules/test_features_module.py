from pathlib import Path

import numpy as np
import pytest
import torch
from toy import WINDOW, features_module, patients_of, save_model
from training import features_data, fit

from sfvd_pl.datasets.views import ViewConfig
from sfvd_pl.errors import CheckpointError, ConfigError, LeakError
from sfvd_pl.modules.base import OptimiserConfig
from sfvd_pl.modules.checkpoint import RECORD_KEY, load_for_inference
from sfvd_pl.modules.features import FeaturesModule, contrastive_loss, domain_spaces, matched
from sfvd_pl.networks.features import FeatureNetworkConfig


def test_contrastive_loss_by_hand() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 5, 3))
    views = np.concatenate([first, second])
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    losses = []
    for i in range(10):
        others = [np.exp(views[i] @ views[j] / 0.2) for j in range(10) if j != i]
        losses.append(-np.log(np.exp(views[i] @ views[(i + 5) % 10] / 0.2) / np.sum(others)))
    found = contrastive_loss(torch.from_numpy(first).float(), torch.from_numpy(second).float(), 0.2)
    assert found.numpy() == pytest.approx(np.mean([losses[:5], losses[5:]], 0), rel=1e-5)


def test_matched() -> None:
    vectors = torch.eye(4)
    assert matched(vectors, 2.0 * vectors).tolist() == [1, 1, 1, 1]
    assert matched(vectors, vectors.roll(1, 0)).tolist() == [0, 0, 0, 0]
    assert matched(vectors, vectors[[0, 1, 3, 2]]).tolist() == [1, 1, 0, 0]


def test_training_tells_windows_apart_and_records_whom_it_learned_from(source: Path, tmp_path: Path) -> None:
    module = features_module(network=FeatureNetworkConfig((8, 8, 16, 16), 16), optimiser=OptimiserConfig(lr=5e-3))
    module.intensity.fill_(torch.nan)
    data = features_data(source, batch_size=8, views=ViewConfig(shift=0.1, contrast=0.0, brightness=0.0))
    batch = next(iter(data.train_dataloader()))
    trainer = fit(module, data, tmp_path, max_steps=60, limit_val_batches=1)
    assert torch.isfinite(module.intensity).all()
    with torch.no_grad():
        trained, _ = module._losses(batch)
        fresh = FeaturesModule(network=module.network.config)
        fresh.intensity.copy_(module.intensity)
        untrained, _ = fresh._losses(batch)
    assert trained.mean() < untrained.mean() - 0.5
    assert 0.0 <= trainer.callback_metrics["val/matched"].item() <= 1.0
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    record = torch.load(path, weights_only=True)[RECORD_KEY]
    assert set(record["patients"]) == patients_of(source, "train")
    assert set(load_for_inference(FeaturesModule, path).learned_from["patients"]) == set(record["patients"])


def test_a_source_without_validation_patients_can_be_learned_from(source: Path, tmp_path: Path) -> None:
    data = features_data(source)
    data.val_dataloader = lambda: []  # type: ignore[method-assign]  # as it is without such clips
    fit(features_module(), data, tmp_path, max_steps=1)


def test_a_last_batch_of_one_window_is_passed_over(source: Path, tmp_path: Path) -> None:
    fit(features_module(), features_data(source, val_samples=7, steps_per_epoch=1), tmp_path, max_steps=1)
    with pytest.raises(ConfigError, match="telling it from others"):
        features_data(source, batch_size=1)


def test_spaces_say_what_they_are_and_embed_each_picture_by_itself(models: dict[str, Path]) -> None:
    frames, clips = domain_spaces(models["features"])
    assert (frames.name, frames.kind, clips.name, clips.kind) == ("domain-frames", "frame", "domain-clips", "clip")
    assert frames.weights_sha256 == clips.weights_sha256
    assert frames.num_features == clips.num_features == 8
    pictures = torch.rand(3, 1, WINDOW, WINDOW, generator=torch.Generator().manual_seed(1))
    vectors = frames.embed(pictures)
    assert vectors.shape == (3, 8)
    assert not vectors.requires_grad
    assert torch.allclose(vectors[1:2], frames.embed(pictures[1:2]), atol=1e-6)
    moving = torch.rand(2, 1, 5, 40, 24, generator=torch.Generator().manual_seed(2))
    assert clips.embed(moving).shape == (2, 8)
    assert not torch.allclose(clips.embed(moving), clips.embed(moving[:, :, [0, 2, 1, 4, 3]]))  # order counts
    assert frames.embed(torch.rand(1, 1, 16, 16)).shape == (1, 8)


def test_a_network_that_knows_a_test_patient_is_refused(source: Path, models: dict[str, Path], tmp_path: Path) -> None:
    test = tuple(patients_of(source, "test"))
    domain_spaces(models["features"], unseen=test)
    leaky = save_model(features_module(), tmp_path / "leaky.ckpt", source, patients=[*test, "somebody"])
    with pytest.raises(LeakError, match="feature network"):
        domain_spaces(leaky, unseen=test)


def test_another_kind_of_checkpoint_is_refused(models: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match="another kind of model"):
        domain_spaces(models["guide"])
