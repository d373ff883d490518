"""``sfvd STAGE fit ... --find_batch_size``: the largest batch that the memory holds, without changing the training."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvd_pl import signals
from sfvd_pl.errors import ConfigError, TrainingError
from sfvd_pl.modules.memory import PEAK_FILE

FLAG, LIMIT = "--find_batch_size", "--memory_limit_gb"
GIB = 2.0**30
PROBE_STEPS = 3
"""Optimiser steps of a trial: memory is at its peak once the optimiser has its moments."""


@dataclass(frozen=True)
class Trial:
    """What a short training with some batch size took.

    Attributes:
        batch_size: Samples a batch on each device.
        accumulate: Batches an optimiser step.
        fits: Whether it ended, within the limit if there is one.
        peak: Its peak memory, bytes; None where it didn't say.
        device: Where that was.
        unit: Batches of multiples of this many samples make the same training.
        ended: Whether it came to its end, be it over the limit.
    """

    batch_size: int
    accumulate: int
    fits: bool
    peak: int | None
    device: str = ""
    unit: int = 1
    ended: bool = False

    def __str__(self) -> str:
        """One line of the table."""
        peak = "   ?" if self.peak is None else f"{self.peak / GIB:8.2f}"
        return f"{self.batch_size:>10} {self.accumulate:>11} {peak:>10}  {'yes' if self.fits else 'no'}"


Probe = Callable[[int | None, int | None], Trial]
"""Batch size and batches a step (None: as configured) -> what it took."""


def take_flags(args: Sequence[str]) -> tuple[list[str], bool, float | None]:
    """The other arguments, whether a batch size is to be found, and the limit in GiB.

    Raises:
        ConfigError: The limit is no number.
    """
    rest, wanted, limit = [], False, None
    queue = [part for a in args for part in (a.split("=", 1) if a.startswith((FLAG, LIMIT)) else [a])]
    while queue:
        arg = queue.pop(0)
        if arg == FLAG:
            value = queue.pop(0) if queue and queue[0].lower() in ("true", "false") else "true"
            wanted = value.lower() == "true"
        elif arg == LIMIT:
            text = queue.pop(0) if queue else ""
            try:
                limit = float(text)
            except ValueError as error:
                raise ConfigError("no amount of memory", key=LIMIT, expected="GiB", found=text) from error
        else:
            rest.append(arg)
    return rest, wanted, limit


def largest_that_fits(probe: Probe) -> tuple[Trial, list[Trial]]:
    """Search the divisors of the samples a step: size times accumulation stays what it was.

    Raises:
        TrainingError: Not even the smallest batch fits.
    """
    configured = probe(None, None)
    trials = [configured]
    samples = configured.batch_size * configured.accumulate
    divisors = [size for size in range(1, samples + 1) if samples % size == 0]
    sizes = [size for size in divisors if size % configured.unit == 0 or size == configured.batch_size]
    low, high, place, best = -1, len(sizes), sizes.index(configured.batch_size), None
    while high - low > 1:
        size = sizes[place]
        trial = configured if size == configured.batch_size else probe(size, samples // size)
        if trial is not configured:
            trials.append(trial)
        low, high, best = (place, high, trial) if trial.fits else (low, place, best)
        place = (low + high) // 2
    if best is None:
        smallest = trials[-1]
        took = f"out of memory with {sizes[0]}"
        if smallest.ended and smallest.peak is not None:
            took = f"{smallest.peak / GIB:.2f} GiB with {sizes[0]}, more than {LIMIT}"
        raise TrainingError(
            "the smallest batch does not fit into the memory",
            key="data.batch_size",
            expected=f"at least {sizes[0]}",
            found=took,
            remedy="set model.network.gradient_checkpointing true, trainer.precision bf16-mixed on a GPU, or lower "
            "data.window, data.block or the network's channels",
        )
    return best, trials


def run_trial(
    stage: str, args: Sequence[str], limit: float | None, size: int | None, accumulate: int | None
) -> Trial:
    """A few steps in a process of their own: whatever they take, and however they end, it is gone with them.

    Raises:
        TrainingError: It failed for another reason than memory.
    """
    with tempfile.TemporaryDirectory(prefix="sfvd-batch-") as folder:
        peak_file = Path(folder) / "peak.json"
        command = [sys.executable, "-m", "sfvd_pl", stage, *args, "--run_dir", folder, "--logging.wandb", "disabled"]
        command += ["--trainer.max_steps", str(PROBE_STEPS), "--trainer.limit_val_batches", "1"]
        if size is not None:
            command += ["--data.batch_size", str(size), "--trainer.accumulate_grad_batches", str(accumulate)]
        os.environ[PEAK_FILE] = str(peak_file)
        try:
            status = signals.run_child(command)
        finally:
            del os.environ[PEAK_FILE]
        facts: dict[str, Any] = json.loads(peak_file.read_text()) if peak_file.exists() else {}
    killed = status == -9  # the kernel's answer to a process that wants more memory than there is
    if status and not killed and not facts.get("out_of_memory"):
        raise TrainingError(
            "a trial failed, and not for want of memory",
            key=f"sfvd {stage} {args[0]}",
            found=f"exit status {status}",
            remedy="see its messages above; the same command without --find_batch_size shows them alone",
        )
    if not facts and size is None:
        raise TrainingError(
            "the trial with the configured batch size was killed before it could say what it is",
            key="data.batch_size",
            remedy="begin with a smaller data.batch_size and a larger trainer.accumulate_grad_batches",
        )
    peak = facts.get("peak")
    fits = not status and (limit is None or (peak is not None and peak <= limit * GIB))
    return Trial(
        int(size or facts["batch_size"]),
        int(accumulate or facts["accumulate"]),
        fits,
        peak,
        facts.get("device", ""),
        int(facts.get("unit", 1)),
        not status,
    )


def find_batch_size(stage: str, args: Sequence[str], limit: float | None) -> Trial:
    """Print what was tried and the arguments to train with.

    Raises:
        ConfigError: It isn't a training.
        TrainingError: As :func:`largest_that_fits` and :func:`run_trial`.
    """
    if args[:1] != ["fit"]:
        raise ConfigError(
            "only a training's batch size can be looked for",
            key=FLAG,
            expected=f"sfvd {stage} fit ... {FLAG}",
            found=" ".join(["sfvd", stage, *args[:1]]),
        )

    def probe(size: int | None, accumulate: int | None) -> Trial:
        return run_trial(stage, args, limit, size, accumulate)

    best, trials = largest_that_fits(probe)
    print(f"\nbatch_size  accumulate   peak GiB  fits   ({best.device or 'memory'}, {PROBE_STEPS} steps each)")
    for trial in sorted(trials, key=lambda t: t.batch_size):
        print(trial)
    print(f"\n--data.batch_size {best.batch_size} --trainer.accumulate_grad_batches {best.accumulate}", flush=True)
    return best
