"""Real processes, killed at the worst places and started again: the end is that of a run that was left alone."""

import csv
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import (
    MODULES,
    Prepare,
    at_call,
    in_the_middle_of_writing,
    losses_of,
    recording,
    run,
    run_ranks,
)
from toy import STAGES

from sfvd_pl.modules.checkpoints import Checkpoints
from sfvd_pl.modules.saving import saved_checkpoints

STEPS = 6
EPOCH = 3


def _fit(stage: str, source: Path, folder: Path, *args: object) -> list[object]:
    """Six optimiser steps of two batches, a validation behind every third."""
    command: list[object] = [stage, "fit", "--config", STAGES / "toy" / f"{stage}.yaml", "--data.source", source]
    command += ["--run_dir", folder, "--trainer.max_steps", STEPS, "--data.steps_per_epoch", EPOCH]
    command += ["--trainer.accumulate_grad_batches", 2, "--checkpoint.every_n_train_steps", 2, "--ckpt_path", "last"]
    command += ["--trainer.log_every_n_steps", 1, "--trainer.enable_model_summary", "false"]
    if stage == "segment":
        command[3] = _without_arms(folder)
        command += ["--model.network.dropout", 0.2, "--model.loss.dice_windows", 2]
    return [*command, *args]


def _own(stage: str, models: dict[str, Path]) -> list[object]:
    """Settings of the stage: the motion model has the scene model's size."""
    if stage != "motion":
        return []
    size: list[object] = ["--model.network.block_out_channels", "[8, 16]", "--model.network.norm_num_groups", 4]
    return ["--model.scene_ckpt", models["scene"], *size]


def _without_arms(folder: Path) -> Path:
    """The toy preset's file for `sfvd run` also names the arms."""
    text = (STAGES / "toy" / "segment.yaml").read_text()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "given.yaml").write_text("\n".join(line for line in text.splitlines() if not line.startswith("arms")))
    return folder / "given.yaml"


def _state(folder: Path) -> dict[str, Any]:
    """The last checkpoint of a finished training."""
    newest = saved_checkpoints(folder / "checkpoints")[0]
    state: dict[str, Any] = torch.load(newest, weights_only=True)
    assert state["global_step"] == STEPS
    return state


def _require_equal(first: Any, second: Any, where: str = "") -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            _require_equal(first[key], second[key], f"{where}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for number, (a, b) in enumerate(zip(first, second, strict=True)):
            _require_equal(a, b, f"{where}[{number}]")
    else:
        assert first == second, where


PARTS = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "random_states")
"""Averaged and raw weights, the average's own state, optimiser, scheduler, all random generators."""


def _require_same_end(unbroken: Path, broken: Path) -> None:
    ours, theirs = _state(unbroken), _state(broken)
    for part in (*PARTS, "sfvd", "epoch", "batches"):
        _require_equal(ours[part], theirs[part], part)
    assert (unbroken / "model.ckpt").read_bytes() == (broken / "model.ckpt").read_bytes()
    assert losses_of(unbroken / "losses.txt") == losses_of(broken / "losses.txt")
    assert _validations(unbroken) == _validations(broken)
    assert not list(broken.rglob("*.partial-*"))


def _validations(folder: Path) -> dict[int, str]:
    """Measure of each validation by its step, over all attempts."""
    found: dict[int, str] = {}
    for path in sorted((folder / "logs").glob("*/metrics.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                value = row.get("val/loss") or row.get("val/dice")
                if value:
                    assert found.setdefault(int(row["step"]), value) == value
    return found


def _attempts(stage: str) -> list[tuple[str, Prepare]]:
    """One after another, each as far as the next one's place."""
    kind = MODULES[stage]
    return [
        ("in the forward pass of the second of two accumulated batches of step 2", at_call(kind, "training_step", 4)),
        ("half-way through writing step 2", in_the_middle_of_writing(1)),
        ("in the first validation, behind step 3", at_call(kind, "validation_step", 1)),
        ("in optimiser step 5, of the second epoch", at_call(kind, "optimizer_step", 2)),
        ("before the sixth step's checkpoint", at_call(Checkpoints, "_save", 1)),
        ("in the last validation, behind step 6", at_call(kind, "validation_step", 1)),
    ]


def _broken(stage: str, source: Path, folder: Path, *args: object) -> None:
    """Die in each of the attempts, then come to an end."""
    folder.mkdir(exist_ok=True)
    for name, attempt in _attempts(stage):
        prepare = recording(stage, folder / "losses.txt", attempt)
        status = run(_fit(stage, source, folder, *args), folder / "log.txt", prepare=prepare)
        assert status == -signal.SIGKILL, f"{name}\n{(folder / 'log.txt').read_text()[-3000:]}"
    prepare = recording(stage, folder / "losses.txt")
    assert run(_fit(stage, source, folder, *args), folder / "log.txt", prepare=prepare) == 0, (
        folder / "log.txt"
    ).read_text()[-3000:]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stage", ["scene", "motion", "segment"])
def test_killed_anywhere_it_ends_as_if_left_alone(
    source: Path, models: dict[str, Path], tmp_path: Path, stage: str, workers: int
) -> None:
    args: list[object] = ["--data.num_workers", workers, *_own(stage, models)]
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    unbroken.mkdir()
    prepare = recording(stage, unbroken / "losses.txt")
    # Where samples are drawn in this process, the global generator of Python moves on; it decides nothing.
    beside = 0 if stage == "segment" else workers
    alone = _fit(stage, source, unbroken, "--data.num_workers", beside, *args[2:])
    assert run(alone, unbroken / "log.txt", prepare=prepare) == 0, (unbroken / "log.txt").read_text()[-3000:]
    assert len(losses_of(unbroken / "losses.txt")) == 2 * STEPS
    assert len(_validations(unbroken)) == 2
    _broken(stage, source, broken, *args)
    _require_same_end(unbroken, broken)


@pytest.mark.parametrize("stage", ["scene", "motion", "segment"])
def test_two_processes_killed_anywhere_end_as_if_left_alone(
    source: Path, models: dict[str, Path], tmp_path: Path, stage: str
) -> None:
    """The second process dies in its backward pass; of the scene model's, the first while it writes and validates."""

    def attempt(folder: Path, prepare: Callable[[int], Prepare]) -> list[int]:
        folder.mkdir(exist_ok=True)
        wide = ["--trainer.devices", 2, "--trainer.strategy", "ddp", *_own(stage, models)]
        return run_ranks(_fit(stage, source, folder, *wide), folder / "log.txt", 2, prepare)

    def recorded(folder: Path, *dies: tuple[int, Prepare]) -> Callable[[int], Prepare]:
        def of(rank: int) -> Prepare:
            return recording(stage, folder / f"losses-{rank}.txt", *(act for who, act in dies if who == rank))

        return of

    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    assert attempt(unbroken, recorded(unbroken)) == [0, 0], (unbroken / "log-0.txt").read_text()[-3000:]
    kind = MODULES[stage]
    deaths: list[tuple[int, Prepare]] = [(1, at_call(kind, "training_step", 7))]
    if stage == "scene":
        deaths += [(0, in_the_middle_of_writing(2)), (0, at_call(kind, "validation_step", 1))]
    for who, act in deaths:
        statuses = attempt(broken, recorded(broken, (who, act)))
        assert -signal.SIGKILL in statuses, (broken / "log-0.txt").read_text()[-3000:]
    assert attempt(broken, recorded(broken)) == [0, 0]
    for folder in (unbroken, broken):
        both = [losses_of(folder / f"losses-{rank}.txt") for rank in range(2)]
        assert not both[0].keys() & both[1].keys()
        (folder / "losses.txt").write_text("".join(f"{k} {v}\n" for each in both for k, v in each.items()))
    _require_same_end(unbroken, broken)
    assert len(_state(unbroken)["random_states"]) == 2
