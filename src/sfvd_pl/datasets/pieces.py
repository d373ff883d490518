"""What predict generates, piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from sfvd_pl.artifacts import SharedWork
from sfvd_pl.artifacts.work import ROUNDS
from sfvd_pl.datasets.batch import GenerationBatch


def divided(sample_ids: Sequence[int], size: int) -> list[list[int]]:
    """Samples in pieces of ``size``; the last may be shorter."""
    return [list(sample_ids[k : k + size]) for k in range(0, len(sample_ids), size)]


class PieceBatches(IterableDataset[GenerationBatch]):
    """Batches of one piece after the other; which comes next is decided when it is asked for.

    Args:
        pieces: Samples that are generated and kept together. Shared work, or all of them where nobody else works.
        batch_size: At most so many samples at once. A piece of an earlier attempt with larger batches is divided.
        make: Samples by their ids.

    Attributes:
        planned: Batches that are missing, over all processes.
    """

    def __init__(
        self, pieces: SharedWork | list[list[int]], batch_size: int, make: Callable[[list[int]], GenerationBatch]
    ) -> None:
        self.pieces = pieces
        self.batch_size = batch_size
        self.make = make
        missing = pieces.open_pieces() if isinstance(pieces, SharedWork) else pieces
        self.planned = sum(-(-len(piece) // batch_size) for piece in missing)

    def __len__(self) -> int:
        """More than there will ever be: the iterator ends by itself, and what comes after its last batch matters.

        Lightning asks for no more than this; of a loader without a length it takes one batch ahead of time, which
        would claim a piece that nobody is making.
        """
        return 1 + ROUNDS * self.planned

    def __iter__(self) -> Iterator[GenerationBatch]:
        """The batches."""
        for piece in self.pieces:
            for ids in divided(piece, self.batch_size):
                yield self.make(ids)


def piece_loader(*arguments: Any) -> DataLoader[GenerationBatch]:
    """A loader of ``PieceBatches``, in this process: a worker of its own would claim pieces ahead of time."""
    return DataLoader(PieceBatches(*arguments), batch_size=None, num_workers=0)
