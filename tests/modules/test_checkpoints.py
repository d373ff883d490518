"""Checkpoint files: whole or not at all, the last few and the best, and the newest good one is found."""

import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from processes import at_call, run, run_ranks
from toy import (
    STAGES,
    UNET,
    features_module,
    motion_module,
    scene_module,
    segmentation_module,
    write_toy_source,
)
from training import features_data, fit, motion_data, scene_data, segmentation_data

from sfvd_pl.cli import stage
from sfvd_pl.errors import CheckpointError, ConfigError, TrainingError
from sfvd_pl.modules import checkpoints, saving
from sfvd_pl.modules.checkpoint import RECORD_KEY, damage, differences, read_checkpoint
from sfvd_pl.modules.checkpoints import Checkpoints
from sfvd_pl.modules.gradients import FiniteGradients
from sfvd_pl.modules.randomness import random_state, restore_random_state
from sfvd_pl.modules.recorded import refuse_differences
from sfvd_pl.modules.saving import (
    BEST,
    WholeFiles,
    checkpoint_path,
    link_or_copy,
    newest_good,
    saved_checkpoints,
    set_aside_later,
    step_of,
    training_lock,
    write_model,
)
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.networks import UNetConfig
from sfvd_pl.signals import EXIT_STOPPED


def _train(source: Path, folder: Path, **options: Any) -> Checkpoints:
    """Seven steps of four an epoch."""
    settings: dict[str, Any] = {"every_n_train_steps": 1, "monitor": "val/loss"}
    callback = Checkpoints(folder / "checkpoints", **(settings | options.pop("checkpoints", {})))
    trainer_options = {"plugins": [WholeFiles()], "enable_checkpointing": True} | options
    module, data = trainer_options.pop("module", scene_module()), trainer_options.pop("data", scene_data(source))
    more = trainer_options.pop("callbacks", [])
    fit(module, data, folder, callbacks=[callback, *more], **trainer_options)
    return callback


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    callback = _train(source, folder)
    assert (callback.count, callback.best is not None) == (7, True)
    return folder


@pytest.mark.parametrize(
    ("module", "data", "picture"),
    [
        (scene_module, scene_data, "scenes-*.png"),
        (motion_module, motion_data, "clips-*.gif"),
        (segmentation_module, segmentation_data, "predictions-*.png"),
        (features_module, features_data, ""),
    ],
)
def test_without_validation_patients_nothing_is_measured_and_pictures_are_drawn(
    tmp_path: Path, module: Any, data: Any, picture: str
) -> None:
    source = write_toy_source(tmp_path / "source.h5", val_fraction=0.0, test_fraction=0.0)
    kept = Checkpoints(tmp_path / "checkpoints", monitor="val/loss")
    trainer = fit(module(), data(source), tmp_path, callbacks=[kept], enable_checkpointing=True)
    names = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert kept.best is None and BEST not in names and checkpoint_path(tmp_path, 7).name in names
    assert "train/loss" in trainer.callback_metrics
    assert not [name for name in trainer.callback_metrics if name.startswith("val/")]
    assert not picture or list((tmp_path / "pictures").glob(picture))


def test_the_last_ones_and_the_best_are_kept(trained: Path) -> None:
    folder = trained / "checkpoints"
    assert sorted(os.listdir(folder)) == [BEST, "step-00000006.ckpt", "step-00000007.ckpt"]
    assert read_checkpoint(folder / BEST)["global_step"] == 4


def test_a_checkpoint_says_what_it_is(trained: Path, source: Path) -> None:
    checkpoint = read_checkpoint(checkpoint_path(trained / "checkpoints", 7))
    record = checkpoint[RECORD_KEY]
    assert record["class"] == "SceneModule"
    assert record["source"] == scene_data(source).source_hash
    assert record["version"] and record["commit"]
    assert record["config"]["network"]["block_out_channels"] == [8, 16]
    assert record["data"]["window"] == 32
    assert record["trainer"]["max_steps"] == 7
    assert record["ema"] == {"decay": 0.9}
    assert checkpoint["batches"] == {"size": 2, "ranks": 1, "accumulate": 1}
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"batches": 3}]
    assert len(checkpoint["random_states"]) == 1


@pytest.mark.parametrize(("value", "mode", "kept"), [(1.0, "min", 4), (-1.0, "min", 8), (1.0, "max", 8)])
def test_the_best_is_the_one_from_before_its_validation(
    source: Path, tmp_path: Path, value: float, mode: str, kept: int
) -> None:
    """The measure of the first validation is ``value``, of the second 1 or 2 times that."""

    class Measured(pl.Callback):
        def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            trainer.callback_metrics["made"] = torch.tensor(value * (1 + (trainer.global_step > 4)))

    _train(
        source, tmp_path, max_steps=8, callbacks=[Measured()],
        checkpoints={"monitor": "made", "mode": mode, "every_n_train_steps": 0},
    )  # fmt: skip
    assert read_checkpoint(tmp_path / "checkpoints" / BEST)["global_step"] == kept


def test_it_is_saved_by_the_clock_and_no_more_than_a_fiftieth_of_the_time(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock by which each step takes 100 s, and writing nothing or 10 s."""
    for writing, saved in ((0.0, [4, 6, 8, 10]), (10.0, [4, 8, 10])):
        now = [0.0]

        class Clock(pl.Callback):
            def on_train_batch_start(self, *_: Any, now: list[float] = now) -> None:
                now[0] += 100.0

        class Slow(WholeFiles):
            def save_checkpoint(
                self, *args: Any, now: list[float] = now, writing: float = writing, **kwargs: Any
            ) -> None:
                now[0] += writing
                super().save_checkpoint(*args, **kwargs)

        monkeypatch.setattr(checkpoints.time, "monotonic", lambda now=now: now[0])
        folder = tmp_path / str(writing)
        _train(
            source, folder, max_steps=10, limit_val_batches=0, callbacks=[Clock()], plugins=[Slow()],
            checkpoints={"every_n_train_steps": 0, "every_minutes": 3.0, "keep": 99, "monitor": None},
        )  # fmt: skip
        steps = sorted(map(step_of, saved_checkpoints(folder / "checkpoints")))
        if writing:
            assert steps[0] == 2 and steps[-1] == 10 and len(steps) < 5
        else:
            assert steps == [2, 4, 6, 8, 10], saved


def test_a_damaged_newest_is_named_and_the_one_before_is_used(trained: Path, tmp_path: Path) -> None:
    path = checkpoint_path(trained / "checkpoints", 7)
    content, flipped = path.read_bytes(), bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensors = [record for record in archive.infolist() if "/data/" in record.filename]
        largest = max(tensors, key=lambda record: record.file_size)
        weights = archive.read(largest)
    flipped[content.index(weights) + len(weights) // 2] ^= 1
    (tmp_path / "unnoticed.ckpt").write_bytes(flipped)
    torch.load(tmp_path / "unnoticed.ckpt", weights_only=True)  # PyTorch's reader does not look there
    for name, bad in (("cut", content[:-1000]), ("flipped", bytes(flipped)), ("empty", b"")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "step-00000003.ckpt").write_bytes(content)
        (folder / "step-00000009.ckpt").write_bytes(bad)
        (folder / ".step-00000010.ckpt.partial-1").write_bytes(bad)
        said: list[str] = []
        assert newest_good(folder, said.append) == folder / "step-00000003.ckpt", name
        assert len(said) == 1
        assert "step-00000009.ckpt is damaged" in said[0]
        assert (folder / "step-00000009.ckpt.damaged").read_bytes() == bad
        assert damage(folder / "step-00000003.ckpt") is None


def test_if_all_are_damaged_it_does_not_silently_start_anew(tmp_path: Path) -> None:
    assert newest_good(tmp_path / "nothing", print) is None
    (tmp_path / "step-00000001.ckpt").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="none of the training's checkpoints is whole"):
        newest_good(tmp_path, lambda _: None)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "step-00000001.ckpt"
    WholeFiles().save_checkpoint({"a": torch.ones(3)}, path)
    before = path.read_bytes()

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.torch, "save", full)
    with pytest.raises(CheckpointError, match=r"can't be written[\s\S]*No space left[\s\S]*make room"):
        WholeFiles().save_checkpoint({"a": torch.zeros(3)}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_starting_anew_moves_later_checkpoints_out_of_the_way(source: Path, tmp_path: Path) -> None:
    _train(source, tmp_path, max_steps=3)
    kept = checkpoint_path(tmp_path / "checkpoints", 3).read_bytes()
    _train(source, tmp_path, max_steps=2)
    assert sorted(os.listdir(tmp_path / "checkpoints.previous-1")) == ["step-00000002.ckpt", "step-00000003.ckpt"]
    assert (tmp_path / "checkpoints.previous-1" / "step-00000003.ckpt").read_bytes() == kept
    assert step_of(saved_checkpoints(tmp_path / "checkpoints")[0]) == 2


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"module": {"optimiser": None}}, r"key: model.optimiser"),
        ({"data": {"window": 24}}, r"key: data.window\n  expected: 32\n  found: 24"),
        ({"data": {"seed": 5, "steps_per_epoch": 3}},
         r"expected: data.seed 0, data.steps_per_epoch 4\n  found: data.seed 5"),
        ({"max_steps": 9}, r"key: trainer.max_steps\n  expected: 7\n  found: 9"),
        ({"decay": 0.5}, r"key: ema.decay\n  expected: 0.9\n  found: 0.5"),
        ({"gradient_clip_val": 1.0}, r"key: trainer.gradient_clip_val"),
        ({"data": {"batch_size": 4}}, r"expected: 2 = 2 a batch x 1 processes x 1 batches\n  found: 4 = 4 a batch"),
        ({"accumulate_grad_batches": 2}, r"found: 4 = 2 a batch x 1 processes x 2 batches"),
        ({"module": {"network": UNetConfig(block_out_channels=(8, 24), norm_num_groups=4)}},
         r"does not fit the model[\s\S]*model.network.block_out_channels"),
    ],
)  # fmt: skip
def test_another_training_is_refused_key_by_key(
    trained: Path, source: Path, tmp_path: Path, changes: dict[str, Any], shown: str
) -> None:
    from sfvd_pl.modules.base import OptimiserConfig

    of_module = {k: v or OptimiserConfig(warmup_steps=9) for k, v in changes.pop("module", {}).items()}
    data = scene_data(source, **changes.pop("data", {}))
    resume = checkpoint_path(trained / "checkpoints", 6)
    with pytest.raises(CheckpointError, match=shown):
        _train(source, tmp_path, module=scene_module(**of_module), data=data, resume=resume, **changes)


def test_another_split_of_the_same_samples_goes_on(trained: Path, source: Path, tmp_path: Path) -> None:
    """Two batches of one instead of one batch of two: the sums are ordered otherwise, the samples are the same."""
    resume = checkpoint_path(trained / "checkpoints", 6)
    seen: list[int] = []

    class Seen(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            seen.extend(batch.sample_id.tolist())

    data = scene_data(source, batch_size=1)
    _train(source, tmp_path, data=data, resume=resume, accumulate_grad_batches=2, callbacks=[Seen()])
    assert seen == [12, 13]
    ours, theirs = (read_checkpoint(checkpoint_path(f / "checkpoints", 7)) for f in (tmp_path, trained))
    for key, value in theirs["current_model_state"].items():
        assert torch.allclose(ours["current_model_state"][key], value, atol=1e-5)


def test_a_finished_model_is_small_and_no_state_of_a_training(trained: Path, source: Path, tmp_path: Path) -> None:
    path = checkpoint_path(trained / "checkpoints", 7)
    write_model(read_checkpoint(path), tmp_path / "model.ckpt")
    assert (tmp_path / "model.ckpt").stat().st_size < 0.7 * path.stat().st_size
    with pytest.raises(CheckpointError, match="finished model"):
        _train(source, tmp_path, resume=tmp_path / "model.ckpt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_no_numbers_end_the_training_before_the_step(
    source: Path, tmp_path: Path, bad: float
) -> None:
    class Spoil(pl.Callback):
        def on_after_backward(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            if trainer.global_step == 2:
                next(module.parameters()).grad[0] = bad  # type: ignore[index]

    expected = r"optimiser step 3 aren't finite[\s\S]*key: network[\s\S]*model.optimiser.lr"
    with pytest.raises(TrainingError, match=expected):
        _train(source, tmp_path, callbacks=[Spoil(), FiniteGradients()])
    newest = saved_checkpoints(tmp_path / "checkpoints")[0]
    assert step_of(newest) == 2
    assert all(torch.isfinite(v).all() for v in read_checkpoint(newest)["current_model_state"].values())


def test_the_best_is_named_again_without_a_trace(tmp_path: Path) -> None:
    """Its validation was done twice, so the name is that of the same file already."""
    (tmp_path / "step-00000001.ckpt").write_bytes(b"weights")
    for _ in range(2):
        link_or_copy(tmp_path / "step-00000001.ckpt", tmp_path / BEST)
    assert sorted(os.listdir(tmp_path)) == [BEST, "step-00000001.ckpt"]


def test_one_training_in_a_folder(tmp_path: Path) -> None:
    twice = pytest.raises(ConfigError, match="another process is training")
    with training_lock(tmp_path), twice, training_lock(tmp_path):
        pass
    with training_lock(tmp_path):
        pass


@pytest.mark.parametrize("settings", [{"keep": 0}, {"every_minutes": 0.0}, {"every_n_train_steps": -1}])
def test_settings_that_leave_nothing_to_resume_from(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="nothing to resume from"):
        Checkpoints(**settings)


def test_random_states_come_back() -> None:
    import random

    import numpy as np

    state = random_state()
    first = random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002
    restore_random_state(state)
    assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == first  # noqa: NPY002


def test_differences_are_found_on_both_sides() -> None:
    assert differences({"a": {"b": 1, "c": [1]}}, {"a": {"b": 1, "c": [1]}}) == []
    found = differences({"a": {"b": 1}, "d": 2}, {"a": {"b": 2, "e": 3}})
    assert found == [("a.b", 1, 2), ("a.e", None, 3), ("d", 2, None)]
    assert differences({"a": {"b": 1}}, {"a": None}) == [("a", {"b": 1}, None)]
    many = {f"key{i}": i for i in range(12)}
    with pytest.raises(CheckpointError, match="and 4 more"):
        refuse_differences({"data": many}, {"data": {}})


def test_motion_and_segmentation_record_what_decides_them(source: Path) -> None:
    assert motion_data(source).training_settings.keys() >= {"block", "history", "frames", "labelled_share"}
    assert segmentation_data(source).training_settings.keys() >= {"mix", "labels", "window"}
    assert motion_module().recorded_config["block"] == 2
    assert UNET.gradient_checkpointing is False


def test_a_training_that_starts_anew_moves_all_of_the_earlier_one_aside(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("step-00000003.ckpt", "step-00000006.ckpt", BEST):
        (folder / name).write_bytes(name.encode())
    assert set_aside_later(folder, 6) is None
    assert set_aside_later(folder, 3) == tmp_path / "checkpoints.previous-1"
    assert sorted(os.listdir(folder)) == [BEST, "step-00000003.ckpt"]
    assert set_aside_later(folder, 0) == tmp_path / "checkpoints.previous-2"
    assert not os.listdir(folder)
    assert sorted(os.listdir(tmp_path / "checkpoints.previous-2")) == [BEST, "step-00000003.ckpt"]


def test_processes_that_see_different_checkpoints_do_not_train(source: Path, tmp_path: Path) -> None:
    """As on a network disk that shows one of them the folder as it was."""
    args: list[object] = ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source]
    args += ["--run_dir", tmp_path, "--trainer.max_steps", 9, "--checkpoint.every_n_train_steps", 1]
    args += ["--ckpt_path", "last", "--trainer.enable_model_summary", "false"]
    asked = at_call(SceneModule, "training_step", 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert run(args, tmp_path / "log.txt", prepare=asked) == EXIT_STOPPED

    def old_folder() -> None:
        stage.newest_good = lambda folder, warn: saved_checkpoints(folder)[1]  # type: ignore[assignment]

    wide = [*args, "--data.batch_size", 1, "--trainer.devices", 2, "--trainer.strategy", "ddp"]
    assert run_ranks(wide, tmp_path / "log.txt", 2, lambda rank: old_folder if rank else None) == [1, 1]
    for rank in range(2):
        said = (tmp_path / f"log-{rank}.txt").read_text()
        assert "found different checkpoints" in said
        assert f"optimiser step {4 - rank} on rank {rank}, 3 on the last one" in said
