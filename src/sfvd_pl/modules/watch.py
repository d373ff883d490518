"""A rank that dies takes the others down, by name, instead of leaving them waiting for it."""

import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist

from sfvd_pl import signals
from sfvd_pl.artifacts import place, process_started

STATUS = 69
"""Exit status of a rank that leaves because another one died."""


@dataclass
class _Seen:
    text: str
    since: float


class RankWatch(pl.Callback):
    """Every rank tells the others every few seconds that it lives, by the store that brought them together.

    A rank that waits for a dead one in an exchange of gradients waits for minutes (NCCL), or fails with an error that
    names a socket (gloo). A thread that watches beside it sees which rank is silent, says so, and ends the process:
    at once where the process was on the same machine and has ended, else after ``patience`` seconds.

    Args:
        beat: Seconds between two signs of life.
        patience: A rank that is silent for so long is dead.
    """

    def __init__(self, beat: float = 2.0, patience: float = 40.0) -> None:
        self.beat = beat
        self.patience = patience
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._rank, self._size = 0, 1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin to watch, where there is anybody else."""
        signals.met()
        if trainer.world_size == 1 or not dist.is_initialized() or self._thread is not None:
            return
        self._rank, self._size = trainer.global_rank, trainer.world_size
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, args=(self._connect(),), name="ranks", daemon=True)
        self._thread.start()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stop when all have come to the end: the store goes with the first rank."""
        if self._thread is not None:
            trainer.strategy.barrier("watched")
            self._end()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Where an exchange failed, let the thread find out whose fault it is; one's own fault is told by its end."""
        if self._thread is not None and _is_of_an_exchange(exception):
            self._thread.join(self.patience + 5 * self.beat)
        self._end()

    def _end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5 * self.beat)
        self._thread = None

    def _connect(self) -> Any:
        """A connection of its own: the process group holds the other one while it waits."""
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        patient = timedelta(seconds=20)
        store = dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=patient)  # type: ignore[attr-defined]
        return dist.PrefixStore("ranks", store)  # type: ignore[attr-defined]  # documented, but not declared

    def _watch(self, store: Any) -> None:
        facts = f"{socket.gethostname()}|{place()}|{os.getpid()}|{process_started(os.getpid())}"
        seen: dict[int, _Seen] = {}
        count = 0
        while not self._stop.is_set():
            count += 1
            try:
                store.set(str(self._rank), f"{facts}|{count}")
                for rank in range(self._size):
                    if rank != self._rank and store.check([str(rank)]):
                        self._look(rank, store.get(str(rank)).decode(), seen)
            except (RuntimeError, dist.DistError) as error:
                if not self._stop.is_set():
                    leader = f", {_who(seen[0].text)}," if 0 in seen else ""
                    self._leave(f"rank 0{leader} or its machine is gone: {str(error).splitlines()[0]}")
            self._stop.wait(self.beat)

    def _look(self, rank: int, text: str, seen: dict[int, _Seen]) -> None:
        now = time.monotonic()
        if rank not in seen or seen[rank].text != text:
            seen[rank] = _Seen(text, now)
        _, where, pid, started, _ = text.split("|")
        if where == place() and process_started(int(pid)) != (None if started == "None" else started):
            self._leave(f"rank {rank}, {_who(text)}, has ended")
        if now - seen[rank].since > self.patience:
            self._leave(f"rank {rank}, {_who(text)}, has given no sign of life for {self.patience:.0f} s")

    def _leave(self, reason: str) -> None:
        """End the process: its main thread may be waiting where no exception reaches it."""
        if self._stop.is_set():
            return
        print(
            f"\nsfvd: rank {self._rank} leaves: {reason}\n"
            "  remedy: see that rank's own messages; the same command goes on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        sys.stdout.flush()
        os._exit(STATUS)


def _who(text: str) -> str:
    host, _, pid, *_ = text.split("|")
    return f"process {pid} on {host}"


def _is_of_an_exchange(exception: BaseException) -> bool:
    words = ("gloo", "nccl", "connection", "timed out", "process group")
    return isinstance(exception, dist.DistError) or (
        isinstance(exception, RuntimeError) and any(word in str(exception).lower() for word in words)
    )
