from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset
from toy import WINDOW

from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.datasets.clips import ClipDataset
from sfvd_pl.datasets.loaders import EpochSampler, ResumableLoader


class Ids(Dataset[int]):
    """A dataset whose samples are their ids."""

    def __getitem__(self, sample_id: int) -> int:
        return sample_id


def _loader(sampler: EpochSampler, batch_size: int = 3, workers: int = 0) -> ResumableLoader:
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    return ResumableLoader(Ids(), sampler, batch_size=batch_size, **options)


def _epoch(loader: ResumableLoader, epoch: int = 0) -> list[list[int]]:
    loader._epoch_sampler.set_epoch(epoch)
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("epoch", [0, 4])
def test_all_ranks_together_take_each_id_once(world: int, epoch: int) -> None:
    taken: list[int] = []
    for rank in range(world):
        sampler = EpochSampler(30, rank, world)
        sampler.set_epoch(epoch)
        ids = list(sampler)
        assert len(ids) == len(sampler)
        taken += ids
    assert sorted(taken) == list(range(30 * epoch, 30 * (epoch + 1)))


def test_ids_never_come_back_in_a_later_epoch() -> None:
    sampler = EpochSampler(7)
    taken = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        taken += list(sampler)
    assert taken == list(range(28))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_samples_of_an_optimiser_step_do_not_depend_on_the_number_of_ranks(world: int) -> None:
    """Eight samples a step, whether one rank takes eight or four take two each."""
    size = 8 // world
    loaders = [_loader(EpochSampler(24, rank, world), size) for rank in range(world)]
    steps = zip(*(_epoch(loader, 2) for loader in loaders), strict=True)
    taken = [sorted(i for rank in step for i in rank) for step in steps]
    assert taken == [list(range(48 + k, 56 + k)) for k in (0, 8, 16)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_epoch_goes_on_behind_its_last_batch(workers: int) -> None:
    unbroken = _epoch(_loader(EpochSampler(12)), 3)
    stopped = _loader(EpochSampler(12), workers=workers)
    stopped._epoch_sampler.set_epoch(3)
    batches = iter(stopped)
    taken = [next(batches).tolist(), next(batches).tolist()]
    state = stopped.state_dict()
    assert state == {"batches": 2}
    resumed = _loader(EpochSampler(12), workers=workers)
    resumed.load_state_dict(state)
    assert taken + _epoch(resumed, 3) == unbroken
    # The next epoch starts at its beginning again.
    assert _epoch(resumed, 4) == _epoch(_loader(EpochSampler(12)), 4)


def test_it_goes_on_on_every_rank() -> None:
    for rank in range(2):
        stopped = _loader(EpochSampler(20, rank, 2), 2)
        batches = iter(stopped)
        taken = [next(batches).tolist() for _ in range(3)]
        resumed = _loader(EpochSampler(20, rank, 2), 2)
        resumed.load_state_dict(stopped.state_dict())
        assert taken + _epoch(resumed) == _epoch(_loader(EpochSampler(20, rank, 2), 2))


def test_a_second_interruption_counts_from_the_epoch_s_start() -> None:
    loader = _loader(EpochSampler(12))
    loader.load_state_dict({"batches": 2})
    next(iter(loader))
    assert loader.state_dict() == {"batches": 3}


def test_the_state_of_a_finished_epoch_is_its_successor_s_start() -> None:
    loader = _loader(EpochSampler(12))
    _epoch(loader)
    assert loader.state_dict() == {"batches": 0}


@pytest.mark.parametrize(("size", "world", "workers"), [(1, 1, 0), (4, 1, 0), (2, 2, 0), (4, 1, 2)])
def test_a_training_sample_is_the_same_in_any_batch_worker_and_rank(
    source: Path, size: int, world: int, workers: int
) -> None:
    dataset = ClipDataset(source, "train", seed=1, window=WINDOW)
    found: dict[int, ClipBatch] = {}
    for rank in range(world):
        loader = ResumableLoader(
            dataset,
            EpochSampler(8, rank, world),
            batch_size=size,
            collate_fn=ClipBatch.collate,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )
        for batch in loader:
            assert len(batch.sample_id) == size
            for row, sample_id in enumerate(batch.sample_id.tolist()):
                found[sample_id] = ClipBatch(**{k: v[row : row + 1] for k, v in vars(batch).items()})
    assert sorted(found) == list(range(8))
    for sample_id, sample in found.items():
        expected = dataset[sample_id]
        for name, value in vars(sample).items():
            assert torch.equal(value.nan_to_num(-9.0), getattr(expected, name).nan_to_num(-9.0)), name
