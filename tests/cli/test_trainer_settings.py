"""What Lightning's Trainer can be asked for, and what no stage can do with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy import STAGES

Sfvd = Callable[..., Any]


@pytest.fixture
def fit(sfvd: Sfvd, source: Path, tmp_path: Path) -> Sfvd:
    """A toy training with further arguments."""
    command = ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source]
    command += ["--run_dir", tmp_path, "--logging.wandb", "disabled"]
    return lambda *arguments: sfvd(*command, *arguments)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("enable_checkpointing", "false"),
        ("overfit_batches", "2"),
        ("precision", "64-true"),
        ("num_sanity_val_steps", "2"),
        ("use_distributed_sampler", "true"),
        ("barebones", "true"),
    ],
)
def test_what_no_stage_can_do_is_refused_by_its_name(fit: Sfvd, tmp_path: Path, setting: str, value: str) -> None:
    done = fit(f"--trainer.{setting}", value)
    assert done.status == 1
    assert f"trainer.{setting}" in done.err and "remedy" in done.err
    assert list(tmp_path.iterdir()) == []


def test_what_lightning_refuses_is_one_error(fit: Sfvd) -> None:
    done = fit("--trainer.strategy", "fsdp", "--trainer.accelerator", "cpu")
    assert done.status == 1
    assert "Lightning refuses these settings" in done.err and "fsdp" in done.err


def test_a_training_whose_time_is_over_is_stopped_not_finished(fit: Sfvd, tmp_path: Path) -> None:
    """In the second of two batches of the first step, so behind that step."""
    many = ["--trainer.max_steps", 4, "--trainer.accumulate_grad_batches", 2, "--ckpt_path", "last"]
    done = fit(*many, "--trainer.max_time", "00:00:00:00")
    assert done.status == 75, done.err
    assert "stopped by trainer.max_time" in done.err and "step-00000001.ckpt holds optimiser step 1" in done.err
    assert not (tmp_path / "model.ckpt").exists()
    assert fit(*many, "--trainer.max_time", "00:00:10:00").status == 0
    assert (tmp_path / "model.ckpt").exists()
    assert fit("--trainer.max_time", "soon").status == 1


def test_time_is_over_for_a_training_that_counts_epochs_too(fit: Sfvd, tmp_path: Path) -> None:
    endless = ["--trainer.max_steps", -1, "--trainer.max_epochs", 9, "--trainer.max_time", "00:00:00:00"]
    done = fit(*endless)
    assert done.status == 75, done.err
    assert "step-00000001.ckpt holds optimiser step 1" in done.err


def test_a_callback_that_ends_a_training_leaves_a_model(fit: Sfvd, tmp_path: Path) -> None:
    stopping = "lightning.pytorch.callbacks.EarlyStopping"
    # No loss is below the divergence threshold, so the first validation is the last.
    early = [f"--trainer.callbacks+={stopping}", "--trainer.callbacks.monitor=val/loss"]
    done = fit("--trainer.max_steps", 400, *early, "--trainer.callbacks.divergence_threshold=0")
    assert done.status == 0, done.err
    assert (tmp_path / "model.ckpt").exists()


def test_all_settings_go_to_wandb(fit: Sfvd, tmp_path: Path) -> None:
    for _ in range(2):  # an attempt with the same settings adds none
        done = fit("--trainer.max_steps", 1, "--logging.wandb", "offline", "--ckpt_path", "last")
        assert done.status == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "wandb.jsonl").read_text().splitlines()[1:]]
    first, *others = [row["content"] for row in rows if row["kind"] == "config"]
    assert first["trainer"]["max_steps"] == 1 and first["data"]["batch_size"] == 2
    assert len(others) <= 1  # from where it goes on
