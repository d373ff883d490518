"""Lightning training step of the scene module against a bare PyTorch loop of the same network and batches.

Run by ``make bench``. Both do the same work: loss, backward, clipping, AdamW, learning-rate schedule, moving average of
the weights. The two take turns, and the medians of the repeats are compared.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.modules.base import OptimiserConfig, cosine_with_warmup
from sfvd_pl.modules.ema import EMA
from sfvd_pl.modules.scene import SceneModule


class FixedBatch(IterableDataset[ClipBatch]):
    """One batch again and again: what is timed is the step, not the loading."""

    def __init__(self, batch: ClipBatch, steps: int) -> None:
        self.batch = batch
        self.steps = steps

    def __iter__(self) -> Iterator[ClipBatch]:
        for _ in range(self.steps):
            yield self.batch


def random_batch(size: int, window: int) -> ClipBatch:
    shape = (size, 1, 1, window, window)
    return ClipBatch(
        image=torch.rand(shape),
        wire_mask=(torch.rand(shape) > 0.98).float(),
        nearness=torch.rand(shape),
        known=torch.ones(shape),
        region=torch.ones(shape),
        noise=torch.randn(shape),
        shared_noise=torch.randn(size, 1, window, window),
        context_noise=torch.randn(shape),
        uniforms=torch.rand(size, 2),
        sample_id=torch.arange(size),
    )


def new_module() -> SceneModule:
    module = SceneModule(optimiser=OptimiserConfig())
    module.intensity.copy_(torch.tensor([0.5, 0.15]))
    return module


class Timed(pl.Callback):
    """Seconds of the steps behind the warm-up."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.begun = 0.0
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == self.warmup:
            self.begun = time.perf_counter()
        self.seconds = time.perf_counter() - self.begun


def with_lightning(batch: ClipBatch, warmup: int, steps: int) -> float:
    module, timed = new_module(), Timed(warmup)
    module.setup = lambda stage: None  # type: ignore[method-assign]  # no artifact behind this batch
    module.on_save_checkpoint = lambda checkpoint: None  # type: ignore[method-assign]
    trainer = pl.Trainer(
        max_steps=warmup + steps,
        gradient_clip_val=1.0,
        callbacks=[EMA(0.99), timed],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="auto",
        devices=1,
    )
    loader = DataLoader(FixedBatch(batch, warmup + steps), batch_size=None)
    trainer.fit(module, loader)
    return timed.seconds / steps


def bare(batch: ClipBatch, warmup: int, steps: int) -> float:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = new_module().to(device)
    module.log_losses = lambda loss: loss.mean()  # type: ignore[method-assign]  # nobody to log to
    batch = batch.to(device)
    config = OptimiserConfig()
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=config.betas
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: cosine_with_warmup(step, warmup=config.warmup_steps, total=1000, final=0.05)
    )
    averaged = [p.detach().clone() for p in module.parameters()]
    current = [p.data for p in module.parameters()]
    begun = 0.0
    for step in range(warmup + steps):
        if step == warmup:
            begun = time.perf_counter()
        loss = module.training_step(batch, step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        torch._foreach_lerp_(averaged, current, 0.01)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--window", type=int, default=64)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    batch = random_batch(args.batch_size, args.window)
    rows = [
        (bare(batch, args.warmup, args.steps), with_lightning(batch, args.warmup, args.steps))
        for _ in range(args.repeats)
    ]
    plain, framed = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"scene training step, batch {args.batch_size} of {args.window} px, median of {args.repeats} repeats of "
        f"{args.steps} steps: bare {plain * 1e3:.1f} ms, Lightning {framed * 1e3:.1f} ms, "
        f"overhead {framed / plain - 1:+.1%} (repeats: "
        + ", ".join(f"{b / a - 1:+.1%}" for a, b in rows)
        + ")"
    )


if __name__ == "__main__":
    main()
