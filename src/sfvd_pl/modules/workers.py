"""Processes that generate side by side, however they were started.

Generation needs no messages between processes: they share a folder (``SharedWork``), so each is a Trainer of its own
on one device, and none waits for a process group that one dead rank would break.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from sfvd_pl import signals
from sfvd_pl.errors import SfvdError
from sfvd_pl.signals import WORKER


@dataclass(frozen=True)
class Worker:
    """This process among those that were started with it.

    Index and count only say where to begin among the pieces and who speaks; any number of processes may come or go.

    Attributes:
        index: Which it is, over all array tasks and all their ranks.
        count: How many were meant to be started.
        rank: Which it is of those that write to one terminal or log.
        ranks: How many those are.
        device: Which of this machine's devices is its own.
        own: Whether the machine's devices are its own to divide: nothing has started a process for each yet.
    """

    index: int = 0
    count: int = 1
    rank: int = 0
    ranks: int = 1
    device: int = 0
    own: bool = True

    @property
    def place(self) -> float:
        """Where among the pieces to begin."""
        return self.index / self.count

    @property
    def leads(self) -> bool:
        """Whether it is the one of several ranks whose end is the end of their command."""
        return self.rank == 0 and self.ranks > 1


def this_worker(environment: Mapping[str, str] | None = None) -> Worker:
    """This process as its starter describes it: ``Siblings``, torchrun, srun, a SLURM array, or all in one.

    Args:
        environment: Variables to read instead of this process's.
    """
    env = os.environ if environment is None else environment
    rank, ranks, device, own = 0, 1, 0, True
    if WORKER in env:
        index, _, count = env[WORKER].partition("/")
        rank, ranks, device, own = int(index), int(count), int(index), False
    elif "LOCAL_RANK" in env and "RANK" in env:  # torchrun
        rank, ranks = int(env["RANK"]), int(env.get("WORLD_SIZE", "1"))
        device, own = int(env["LOCAL_RANK"]), False
    elif "SLURM_STEP_ID" in env and int(env.get("SLURM_STEP_NUM_TASKS", env.get("SLURM_NTASKS", "1"))) > 1:  # srun
        rank, ranks = int(env["SLURM_PROCID"]), int(env.get("SLURM_STEP_NUM_TASKS", env.get("SLURM_NTASKS", "1")))
        device, own = int(env.get("SLURM_LOCALID", "0")), False
    task, tasks = 0, 1
    if "SLURM_ARRAY_TASK_ID" in env:
        tasks = max(1, int(env.get("SLURM_ARRAY_TASK_COUNT", "1")))
        task = (int(env["SLURM_ARRAY_TASK_ID"]) - int(env.get("SLURM_ARRAY_TASK_MIN", "0"))) % tasks
    return Worker(task * ranks + rank, tasks * ranks, rank, ranks, device, own)


def local_devices(devices: int | str | Sequence[int], accelerator: str) -> int:
    """How many processes a setting as of Lightning's Trainer asks for on this machine."""
    gpus = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 0
    if isinstance(devices, int | str) and str(devices) in ("auto", "-1"):
        return max(1, gpus)
    if isinstance(devices, int | str) and str(devices).isdigit():
        return int(devices)
    return len(devices.split(",") if isinstance(devices, str) else devices) if not isinstance(devices, int) else 1


class Alone(LightningEnvironment):
    """Keeps a Trainer from taking the variables of torchrun or SLURM for a process group to join."""

    @property
    def creates_processes_externally(self) -> bool:
        """There is nothing to create."""
        return True

    def local_rank(self) -> int:
        """The first of one."""
        return 0

    def node_rank(self) -> int:
        """The first of one."""
        return 0


def one_device(worker: Worker, accelerator: str) -> dict[str, Any]:
    """A Trainer's arguments for one process on its own device."""
    count = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 0
    # Where the scheduler shows each process its own device only, that is number 0 whatever its rank.
    devices: int | list[int] = [worker.device % count] if count else 1
    return {"devices": devices, "num_nodes": 1, "strategy": "auto", "plugins": [Alone()]}


class Siblings:
    """The same command in further processes, one a device; leaving the context waits for them.

    Args:
        arguments: Of ``sfvd``.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, count: int, worker: Worker) -> Worker:
        """Start ``count - 1`` processes beside this one; returns this one, the first of them."""
        command = [sys.executable, "-m", "sfvd_pl", *self.arguments]
        for index in range(1, count):
            environment = os.environ | {WORKER: f"{index}/{count}", "LOCAL_RANK": str(index)}
            self.processes.append(subprocess.Popen(command, env=environment))
            signals.pass_on_to(self.processes[-1])
        return replace(worker, index=worker.index * count, count=worker.count * count, ranks=count, own=False)

    def __enter__(self) -> Self:
        """Nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Wait for the others, or end them if this one failed.

        Raises:
            SfvdError: One of them failed by an error; what a killed one left, this one has made.
        """
        failed = []
        for index, process in enumerate(self.processes, 1):
            if error is not None:
                process.terminate()
            status = process.wait()
            if status < 0 and error is None:
                print(
                    f"process {index} (number {process.pid}) was ended by signal {-status}; "
                    "the others have made what it left",
                    file=sys.stderr,
                    flush=True,
                )
            elif status and error is None:
                failed.append(f"process {index}: status {status}")
        if failed:
            raise SfvdError(
                "processes of this command failed",
                key=" ".join(["sfvd", *self.arguments[:2]]),
                expected="exit status 0",
                found=", ".join(failed),
                remedy="see their messages above; run the same command again to go on",
            )
        return False
