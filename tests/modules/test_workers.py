"""Which process this is, however it was started; and the same command on several devices."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from sfvd_pl.errors import SfvdError
from sfvd_pl.modules.workers import WORKER, Siblings, Worker, local_devices, one_device, this_worker

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
POPEN = subprocess.Popen
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}


@pytest.mark.parametrize(
    ("environment", "worker"),
    [
        ({}, Worker()),
        (TORCHRUN, Worker(5, 8, 5, 8, 1, own=False)),
        (SRUN, Worker(3, 8, 3, 8, 1, own=False)),
        (ARRAY, Worker(2, 4)),
        (ARRAY | SRUN, Worker(2 * 8 + 3, 32, 3, 8, 1, own=False)),
        (ARRAY | {WORKER: "1/2"}, Worker(5, 8, 1, 2, 1, own=False)),
        (TORCHRUN | {WORKER: "1/2"}, Worker(1, 2, 1, 2, 1, own=False)),
        # A batch script without srun, and srun of one task: the machine's devices are free to be divided.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0"}, Worker()),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Worker()),
    ],
)
def test_the_starter_is_recognised(environment: dict[str, str], worker: Worker) -> None:
    assert this_worker(environment) == worker


def test_places_are_spread_over_the_pieces() -> None:
    tasks = [this_worker(ARRAY | SRUN | {"SLURM_PROCID": str(rank)}) for rank in range(8)]
    assert [task.place for task in tasks] == [(16 + rank) / 32 for rank in range(8)]
    assert [task.leads for task in tasks] == [True] + [False] * 7
    assert not Worker().leads, "nobody waits for a single process"


@pytest.mark.parametrize(
    ("devices", "accelerator", "expected"),
    [("auto", "cpu", 1), (2, "cpu", 2), ("3", "cpu", 3), ([0, 2], "auto", 2), ("1,3", "auto", 2), (-1, "auto", 4),
     ("auto", "gpu", 4), ("auto", "auto", 4), (1, "auto", 1)],
)  # fmt: skip
def test_devices_of_this_machine(
    devices: Any, accelerator: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert local_devices(devices, accelerator) == expected
    assert one_device(Worker(device=5), "auto")["devices"] == [1]
    assert one_device(Worker(device=5), "cpu")["devices"] == 1


def test_a_trainer_ignores_its_starter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    launched = SRUN | TORCHRUN | {"TORCHELASTIC_RUN_ID": "x", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "x"}
    for key, value in launched.items():
        monkeypatch.setenv(key, value)
    one = one_device(this_worker(), "cpu")
    trainer = pl.Trainer(accelerator="cpu", logger=False, default_root_dir=tmp_path, **one)
    assert (trainer.world_size, trainer.global_rank, trainer.is_global_zero) == (1, 0, True)


def _fake(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Siblings that run a line of Python in place of ``sfvd``."""
    monkeypatch.setattr(subprocess, "Popen", lambda _, env: POPEN([sys.executable, "-c", code], env=env))


def test_siblings_know_their_number_and_are_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    _fake(monkeypatch, "import os, time; time.sleep(0.2); open(os.environ['SFVD_WORKER'].replace('/', '-'), 'w')")
    with Siblings(["augment"]) as siblings:
        assert siblings.start(3, Worker(1, 4)) == Worker(3, 12, 0, 3, 0, own=False)
    assert sorted(os.listdir()) == ["1-3", "2-3"]


def test_one_that_was_killed_is_told_and_one_that_failed_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    with Siblings(["augment"]) as siblings:
        siblings.start(2, Worker())
    assert "was ended by signal 9; the others have made what it left" in capsys.readouterr().err
    _fake(monkeypatch, "raise SystemExit(3)")
    failed = "(?s)processes of this command failed.*process 1: status 3"
    with pytest.raises(SfvdError, match=failed), Siblings(["augment"]) as siblings:
        siblings.start(2, Worker())


def test_siblings_end_with_the_one_that_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(KeyError), Siblings(["augment"]) as siblings:
        siblings.start(2, Worker())
        raise KeyError
    assert siblings.processes[0].returncode == -15
