"""Order of the samples: decided by the epoch and the rank alone, and resumable in the middle."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import wait
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sfvd_pl import signals

ORPHAN_SECONDS = 300
"""How long a loader process goes on serving after a SIGTERM; its master stops it long before."""


class EpochSampler(Sampler[int]):
    """Yields sample ids that count up without end over the epochs: epoch e yields e * n .. (e + 1) * n - 1.

    The dataset turns an id into a sample by (seed, id), so an id is never drawn twice and every rank takes each
    ``world_size``-th of them. Which samples make a global batch then depends on its size alone.

    Args:
        num_samples: Samples an epoch, over all ranks.
        rank: Which of the ranks this is.
        world_size: How many there are.
    """

    def __init__(self, num_samples: int, rank: int = 0, world_size: int = 1) -> None:
        self.num_samples = num_samples
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """Ids of this rank in this epoch, less those that were taken before an interruption."""
        first = self.epoch * self.num_samples + self.rank + self.skip * self.world_size
        self.skip = 0
        yield from range(first, (self.epoch + 1) * self.num_samples, self.world_size)

    def __len__(self) -> int:
        """Samples of this rank an epoch."""
        return len(range(self.rank, self.num_samples, self.world_size))


class ResumableLoader(DataLoader[Any]):
    """A DataLoader that knows how many batches it has handed out, so that an epoch goes on where it was cut.

    A plain DataLoader starts an interrupted epoch from its beginning and repeats samples. Lightning saves and
    restores any loader that has ``state_dict`` and ``load_state_dict``.
    """

    def __init__(self, dataset: Dataset[Any], sampler: EpochSampler, *, batch_size: int, **kwargs: Any) -> None:
        # As in any loader here, a generator of its own: see DataModules._dealt_loader.
        super().__init__(dataset, sampler=sampler, batch_size=batch_size, generator=torch.Generator(), **kwargs)
        self._epoch_sampler = sampler
        self._handed_out = 0
        self._resume_at = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Batches of the epoch, from where a restored state left off."""
        self._handed_out = self._resume_at
        self._epoch_sampler.skip = self._resume_at * int(self.batch_size or 1)
        self._resume_at = 0
        for batch in super().__iter__():
            self._handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Position within the epoch; 0 when it is over."""
        return {"batches": self._handed_out % max(1, len(self))}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next epoch behind the batches that were handed out before."""
        self._resume_at = state["batches"]


class DealtBatches(Sampler[list[int]]):
    """Batches in order, dealt round to the ranks: each is made up as it would be on one rank, and none is repeated.

    The arithmetic of a batch depends in its last bits on how many samples it holds. A rank for which there is no
    batch goes through one of another's, without counting it, because the ranks meet at the end.

    Args:
        num_samples: Over all ranks.
        batch_size: Samples of a batch; the last may be smaller.
        rank: Which of the ranks this is.
        world_size: How many there are.
        measured: Whether any batch is counted; otherwise they are there to be looked at.
        sizes: Of each sample: only neighbours of one size share a batch. None: all are alike.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        sizes: Sequence[tuple[int, ...]] | None = None,
        *,
        measured: bool = True,
    ) -> None:
        self.measured = measured
        whole: list[list[int]] = []
        for k in range(num_samples):
            if whole and len(whole[-1]) < batch_size and (sizes is None or sizes[k] == sizes[whole[-1][0]]):
                whole[-1].append(k)
            else:
                whole.append([k])
        self.batches = whole[rank::world_size]
        self.counted = len(self.batches)
        self.batches = self.batches or whole[:1]

    def __iter__(self) -> Iterator[list[int]]:
        """Positions of the samples of each batch."""
        yield from self.batches

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self.batches)

    def counts(self, batch: int) -> bool:
        """Whether a batch is this rank's own."""
        return self.measured and batch < self.counted


def worker_options() -> dict[str, Any]:
    """Arguments of a DataLoader with loader processes that outlast a signal to the whole process group.

    A scheduler signals every process of a job. A training that is to finish its step needs its loaders until then;
    they end when it tells them to, or when it is gone.
    """
    with signals.ignored():
        forkserver.ensure_running()
    return {
        "persistent_workers": True,
        "multiprocessing_context": "forkserver",
        "worker_init_fn": _serve_until_told,
    }


def _serve_until_told(worker: int) -> None:
    for number in signals.STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(ORPHAN_SECONDS))
    threading.Thread(target=_end_with_the_master, daemon=True).start()


def _end_with_the_master() -> None:
    """A loader's parent is the server that it was forked from, which its loaders keep alive: they'd serve nobody."""
    master = multiprocessing.parent_process()
    if master is not None:
        wait([master.sentinel])
        os._exit(1)
