"""On a GPU, where one is at hand: what a training repeats to the bit, and what it says of its memory.

A process that uses CUDA can't be forked, so all are started anew. ``SFVD_TEST_ACCELERATOR=cpu`` tries the tests
themselves on a machine without one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from toy import STAGES

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.modules.saving import saved_checkpoints

ACCELERATOR = os.environ.get("SFVD_TEST_ACCELERATOR", "cuda")
pytestmark = pytest.mark.skipif(
    ACCELERATOR == "cuda" and not torch.cuda.is_available(), reason="needs a GPU"
)
STEPS = 6


def _sfvd(*args: object, status: int = 0) -> str:
    command = [sys.executable, "-m", "sfvd_pl", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def _fit(stage: str, source: Path, folder: Path, *args: object) -> list[object]:
    command = [stage, "fit", "--config", STAGES / "toy" / f"{stage}.yaml", "--data.source", source]
    command += ["--run_dir", folder, "--trainer.max_steps", STEPS, "--data.steps_per_epoch", 3]
    command += ["--trainer.accelerator", ACCELERATOR, "--trainer.devices", 1, "--checkpoint.every_n_train_steps", 1]
    return [*command, "--logging.wandb", "disabled", *args]


def _own(stage: str, models: dict[str, Path]) -> list[object]:
    if stage != "motion":
        return []
    size: list[object] = ["--model.network.block_out_channels", "[8, 16]", "--model.network.norm_num_groups", 4]
    return ["--model.scene_ckpt", models["scene"], *size]


@pytest.mark.parametrize("stage", ["scene", "motion"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_deterministic_training_that_was_cut_off_ends_as_if_left_alone(
    source: Path, models: dict[str, Path], tmp_path: Path, stage: str, precision: str
) -> None:
    same = [*_own(stage, models), "--trainer.deterministic", "true", "--trainer.precision", precision]
    _sfvd(*_fit(stage, source, tmp_path / "alone", *same))
    _sfvd(*_fit(stage, source, tmp_path / "cut", *same, "--trainer.max_time", "00:00:00:00"), status=75)
    (cut, *_) = saved_checkpoints(tmp_path / "cut" / "checkpoints")
    assert 0 < torch.load(cut, weights_only=True)["global_step"] < STEPS
    said = _sfvd(*_fit(stage, source, tmp_path / "cut", *same, "--ckpt_path", "last"))
    assert "going on behind optimiser step" in said
    assert (tmp_path / "alone" / "model.ckpt").read_bytes() == (tmp_path / "cut" / "model.ckpt").read_bytes()


def test_the_same_seed_draws_the_same_scenes_twice(source: Path, tmp_path: Path) -> None:
    _sfvd(*_fit("scene", source, tmp_path / "run"))
    drawn = []
    for name in ("one.h5", "two.h5"):
        command = ["scene", "predict", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source]
        command += ["--ckpt_path", tmp_path / "run" / "model.ckpt", "--out", tmp_path / name]
        command += ["--trainer.accelerator", ACCELERATOR, "--trainer.deterministic", "true"]
        _sfvd(*command)
        drawn.append(Artifact.open(tmp_path / name, Kind.SCENES).content_hash)
    assert drawn[0] == drawn[1]


def test_the_largest_batch_is_found_by_the_device_s_own_figure(source: Path, tmp_path: Path) -> None:
    said = _sfvd(*_fit("scene", source, tmp_path), "--find_batch_size")
    assert "--trainer.accumulate_grad_batches" in said
    name = torch.cuda.get_device_name() if ACCELERATOR == "cuda" else "CPU"
    assert name in said
