"""Several ranks on the CPU: forked, so that none has to import anything."""

import multiprocessing
import multiprocessing.forkserver
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("fork")


def forget_the_forkserver() -> None:
    """Let a forked process start a fork server of its own: an inherited one is not its child to wait for."""
    inherited = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    inherited._forkserver_pid = inherited._forkserver_alive_fd = inherited._forkserver_address = None


def _rank(function: Callable[..., Any], rank: int, environment: dict[str, str], folder: Path, args: Any) -> None:
    forget_the_forkserver()
    os.environ.update(environment | {"LOCAL_RANK": str(rank)})
    sys.stdout = sys.stderr = (folder / f"rank-{rank}.txt").open("w", buffering=1)  # type: ignore[assignment]
    function(rank, folder, *args)


def start_ranks(function: Callable[..., Any], folder: Path, *args: Any, size: int = 2) -> list[Any]:
    """Processes that call ``function(rank, folder, *args)`` and write to ``folder/rank-N.txt``.

    A Trainer with ``devices=size, strategy="ddp"`` in each joins the others, as if torchrun had started them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size), "NODE_RANK": "0"}
    processes = [FORK.Process(target=_rank, args=(function, r, environment, folder, args)) for r in range(size)]
    for process in processes:
        process.start()
    return processes
