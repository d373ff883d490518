"""What a training logs for W&B over stopped and killed attempts is what an undisturbed one logs."""

import csv
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from processes import MODULES, Prepare, at_call, run
from toy import STAGES

from sfvd_pl.modules import checkpoints
from sfvd_pl.modules.journal import JOURNAL, parsed, read_lines

SCENE = MODULES["scene"]


def _fit(source: Path, folder: Path, *args: object) -> list[object]:
    """Six optimiser steps, a validation behind every third, a checkpoint behind each."""
    command: list[object] = ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source]
    command += ["--run_dir", folder, "--trainer.max_steps", 6, "--data.steps_per_epoch", 3]
    command += ["--trainer.log_every_n_steps", 1, "--trainer.enable_model_summary", "false"]
    return [*command, "--checkpoint.every_n_train_steps", 1, "--logging.wandb", "offline", *args]


def _logged(journal: Path) -> dict[tuple[int, str], Any]:
    """Values by step and name; fails where steps go backwards or anything is there twice."""
    found: dict[tuple[int, str], Any] = {}
    before = 0
    for row in map(parsed, read_lines(journal)[1:]):
        if row["kind"] == "config":  # belongs to no step
            continue
        assert row["step"] >= before, f"{row} behind step {before}"
        before = row["step"]
        for key, value in row["content"].items():
            if key not in ("epoch", "checkpoint/seconds"):
                assert (before, key) not in found
                found[before, key] = value
    return found


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


ATTEMPTS: list[tuple[Prepare, int]] = [
    (at_call(SCENE, "training_step", 2, _terminate), 75),
    (at_call(checkpoints, "keep_newest", 1), -signal.SIGKILL),  # saved, and Lightning has not logged the step yet
    (at_call(SCENE, "validation_step", 1, _terminate), 75),
]
"""Where an attempt is stopped or killed, and its status."""


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Any]:
    """What is logged in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(_fit(source, folder / "scene"), folder / "log.txt") == 0
    return _logged(folder / "scene" / JOURNAL)


def test_nothing_is_missing_or_there_twice(
    source: Path, tmp_path: Path, undisturbed: dict[tuple[int, str], Any]
) -> None:
    """All attempts are one journal; the step behind which one is stopped is in its CSV file, too."""
    assert {key for _, key in undisturbed} == {"train/loss", "lr-AdamW", "val/loss", "scenes"}
    assert [step for step, key in undisturbed if key == "train/loss"] == list(range(6))
    folder, log = tmp_path / "scene", tmp_path / "log.txt"
    command = _fit(source, folder, "--ckpt_path", "last")
    for prepare, status in ATTEMPTS:
        assert run(command, log, prepare=prepare) == status, log.read_text()[-800:]
    assert run(command, log) == 0
    assert _logged(folder / JOURNAL) == undisturbed
    with (folder / "logs" / "version_0" / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == [0, 1]


def test_a_training_begun_anew_in_its_folder_is_another_run(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    for seed in (1, 2):
        command = _fit(source, folder, "--trainer.max_steps", 2, "--seed_everything", seed)
        assert run(command, tmp_path / "log.txt") == 0
    first, second = _logged(folder / "wandb.previous-1.jsonl"), _logged(folder / JOURNAL)
    assert first.keys() == second.keys()
    assert first[1, "train/loss"] != second[1, "train/loss"]
