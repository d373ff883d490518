"""Two ranks on the CPU: what they measure and learn is what one does, and neither waits for a dead one."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from ranks import start_ranks
from torch import Tensor
from toy import FRAMES, motion_module, scene_module, segmentation_module
from training import motion_data, scene_data, segmentation_data

from sfvd_pl.datasets.loaders import DealtBatches
from sfvd_pl.modules.ema import EMA
from sfvd_pl.modules.exact import ExactMean
from sfvd_pl.modules.media import picture_folder
from sfvd_pl.modules.progress import LogLines
from sfvd_pl.modules.watch import STATUS, RankWatch
from sfvd_pl.modules.wire_loss import SegmentationLossConfig

# -- dealing out and counting, without a second process ---------------------------------------------------------


@pytest.mark.parametrize(("samples", "size", "world"), [(10, 3, 2), (10, 3, 4), (3, 2, 3), (1, 4, 2), (12, 4, 3)])
def test_every_batch_is_one_rank_s_and_is_what_it_would_be_on_one(samples: int, size: int, world: int) -> None:
    alone = list(DealtBatches(samples, size))
    assert [i for batch in alone for i in batch] == list(range(samples))
    ranks = [DealtBatches(samples, size, rank, world) for rank in range(world)]
    counted = [batch for rank in ranks for k, batch in enumerate(rank) if rank.counts(k)]
    assert sorted(counted) == alone
    assert all(len(rank) >= 1 and len(rank) == len(list(rank)) for rank in ranks)


def test_a_mean_is_the_same_in_any_order_and_shares() -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) ** 3
    means = set()
    for order in range(5):
        shuffled = values[torch.randperm(1000, generator=torch.Generator().manual_seed(order))]
        mean = ExactMean()
        for part in shuffled.split([1, 500, 99, 400]):
            mean.update(part)
        means.add(float(mean.compute()))
    assert len(means) == 1
    assert means.pop() == pytest.approx(float(values.double().mean()), rel=1e-7)
    mean.update(torch.tensor([float("inf")]))
    assert torch.isnan(mean.compute())


# -- two processes ------------------------------------------------------------------------------------------------


class Kept(pl.Callback):
    """What a rank saw: gradients of the first step, logged metrics, averaged weights."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if not self.gradients:
            self.gradients = [p.grad.clone() for p in module.parameters() if p.grad is not None]


CASES: dict[str, Any] = {
    "scene": (scene_module, scene_data, {"val_samples": 5}),
    "motion": (motion_module, motion_data, {"val_samples": 5, "frames": FRAMES}),
    "segmentation": (
        partial(segmentation_module, loss=SegmentationLossConfig(dice_windows=2)),
        segmentation_data,
        {"val_frames": 5, "eval_batch_size": 2},
    ),
}
BATCHES = {"alone": (4, 1, 1), "accumulated": (2, 2, 1), "shared": (1, 2, 2), "two": (2, 1, 2)}
"""Samples of a batch, batches of a step, ranks: each makes steps of four samples."""


def _train(rank: int, folder: Path, source: Path, case: str, way: str) -> None:
    make, data, settings = CASES[case]
    size, accumulate, ranks = BATCHES[way]
    kept, average = Kept(), EMA(0.9)
    logger = CSVLogger(folder / "logs")
    trainer = pl.Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_steps=2, max_epochs=-1,
        accumulate_grad_batches=accumulate, default_root_dir=folder, logger=logger, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False, log_every_n_steps=1,
        callbacks=[average, kept, RankWatch(beat=0.2), LogLines("training", 0.0)],
    )  # fmt: skip
    module = make().train()
    with torch.no_grad():
        for parameter in module.parameters():  # layers that start at zero would hide the others' gradients
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    datamodule = data(source, batch_size=size, steps_per_epoch=2, **settings)
    trainer.fit(module, datamodule=datamodule)
    metrics = {key: float(value) for key, value in trainer.callback_metrics.items() if not key.startswith("train")}
    if case == "segmentation":
        metrics |= {key: float(v) for key, v in trainer.test(module, datamodule=datamodule, verbose=False)[0].items()}
    picture_folder(trainer)
    assert average._average_model is not None
    state = {key: value.clone() for key, value in average._average_model.module.state_dict().items()}
    torch.save((kept.gradients, metrics, state), folder / f"rank-{rank}.pt")


def _results(folder: Path, source: Path, case: str, way: str) -> list[Any]:
    folder = folder / f"{case}-{way}"
    folder.mkdir()
    processes = start_ranks(_train, folder, source, case, way, size=BATCHES[way][2])
    for rank, process in enumerate(processes):
        process.join(120)
        assert process.exitcode == 0, (folder / f"rank-{rank}.txt").read_text()[-3000:]
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(len(processes))]


@pytest.mark.parametrize(
    ("case", "ways"),
    [("scene", ["accumulated"]), ("motion", ["shared"]), ("segmentation", ["accumulated", "shared", "two"])],
)
def test_gradients_of_parts_are_those_of_the_whole_batch(
    case: str, ways: list[str], source: Path, tmp_path: Path
) -> None:
    (expected, _, _), *_ = _results(tmp_path, source, case, "alone")
    assert sum(float(gradient.abs().sum()) for gradient in expected) > 0
    for way in ways:
        for gradients, _, _ in _results(tmp_path, source, case, way):
            for found, wanted in zip(gradients, expected, strict=True):
                assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-6)


def _measure(rank: int, folder: Path, source: Path, ranks: int) -> None:
    """Validation of untrained models with three batches on ``ranks`` ranks; every figure to the last bit."""
    figures: dict[str, float] = {}
    for case, (make, data, settings) in CASES.items():
        trainer = pl.Trainer(
            accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", default_root_dir=folder,
            logger=False, enable_progress_bar=False, use_distributed_sampler=False, callbacks=[RankWatch(beat=0.2)],
        )  # fmt: skip
        module, datamodule = make(), data(source, batch_size=2, **settings)
        (found,) = trainer.validate(module, datamodule=datamodule, verbose=False)
        if case == "segmentation":
            found |= trainer.test(module, datamodule=datamodule, verbose=False)[0]
        figures |= {f"{case} {key}": value for key, value in found.items()}
    torch.save(figures, folder / f"figures-{rank}.pt")


def test_uneven_shares_measure_what_one_process_does(source: Path, tmp_path: Path) -> None:
    found = []
    for ranks in (1, 4):  # of 3 batches: the fourth rank has none
        folder = tmp_path / str(ranks)
        folder.mkdir()
        processes = start_ranks(_measure, folder, source, ranks, size=ranks)
        for rank, process in enumerate(processes):
            process.join(120)
            assert process.exitcode == 0, (folder / f"rank-{rank}.txt").read_text()[-3000:]
        found += [torch.load(folder / f"figures-{rank}.pt") for rank in range(ranks)]
    assert len(found[0]) == 4
    assert all(figures == found[0] for figures in found)


def test_training_with_uneven_validation_ends_logs_once_and_averages_alike(source: Path, tmp_path: Path) -> None:
    first, second = _results(tmp_path, source, "segmentation", "two")
    assert first[1] == second[1] and {"val/dice", "test/dice"} <= set(first[1])
    assert first[2].keys() == second[2].keys()
    assert all(torch.equal(value, second[2][key]) for key, value in first[2].items())
    folder = tmp_path / "segmentation-two"
    assert len(list((folder / "logs").rglob("metrics.csv"))) == 1
    assert len(list((folder / "pictures").glob("*.png"))) == 1
    assert "training: step 2 of 2" in (folder / "rank-0.txt").read_text()
    assert "training: step" not in (folder / "rank-1.txt").read_text()


class Dies(pl.Callback):
    """Ends its process in the second step of one rank."""

    def __init__(self, rank: int, how: int) -> None:
        self.rank = rank
        self.how = how

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_rank == self.rank and trainer.global_step == 1:
            os.kill(os.getpid(), self.how)


def _train_and_die(rank: int, folder: Path, source: Path, dying: int, how: int) -> None:
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=50, max_epochs=-1, default_root_dir=folder,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, callbacks=[Dies(dying, how), RankWatch(beat=0.1, patience=2.0)],
    )  # fmt: skip
    trainer.fit(scene_module().train(), datamodule=scene_data(source))


@pytest.mark.parametrize(
    ("dying", "how", "said"),
    [
        (1, signal.SIGKILL, "has ended"),
        (0, signal.SIGKILL, "has ended|is gone"),
        (1, signal.SIGSTOP, "no sign of life"),
    ],
)
def test_a_rank_that_dies_is_named_and_takes_the_other_down(
    dying: int, how: int, said: str, source: Path, tmp_path: Path
) -> None:
    begun = time.monotonic()
    processes = start_ranks(_train_and_die, tmp_path, source, dying, how)
    other = 1 - dying
    processes[other].join(60)
    taken = time.monotonic() - begun
    text = (tmp_path / f"rank-{other}.txt").read_text()
    processes[dying].kill()
    processes[dying].join()
    assert processes[other].exitcode == STATUS, text[-2000:]
    assert f"rank {other} leaves: rank {dying}, process {processes[dying].pid} on" in text
    assert any(word in text for word in said.split("|"))
    assert taken < 60
