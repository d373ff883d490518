"""Out of memory: what was asked for, and what to lower."""

import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from sfvd_pl.errors import TrainingError

PEAK_FILE = "SFVD_PEAK_FILE"
"""Names a file that a training leaves its peak memory in, for ``--find_batch_size`` and the bench."""
REMEDY = (
    "lower data.batch_size and raise trainer.accumulate_grad_batches by the same factor (the training stays the same;"
    " --find_batch_size finds the largest that fits), set model.network.gradient_checkpointing true, "
    "trainer.precision bf16-mixed on a GPU, or lower data.window or the block (data.block)"
)
LOADER_DIED = "DataLoader worker (pid"
"""How PyTorch reports it; mostly the kernel ended it for want of memory."""
SAMPLING_REMEDY = "lower the number of clips that are generated at once: batch_size"


def memory_settings(trainer: pl.Trainer, module: nn.Module, datamodule: Any) -> dict[str, Any]:
    """What decides the memory of a training, by the keys of the command line."""
    found = {
        f"data.{key}": getattr(datamodule, key)
        for key in ("batch_size", "window", "block", "predict_batch_size")
        if hasattr(datamodule, key)
    }
    found["trainer.accumulate_grad_batches"] = trainer.accumulate_grad_batches
    found["trainer.precision"] = trainer.precision
    network = getattr(module, "recorded_config", {}).get("network", {})
    if "gradient_checkpointing" in network:
        found["model.network.gradient_checkpointing"] = network["gradient_checkpointing"]
    return found


def peak_memory() -> tuple[int, str]:
    """Bytes and device: the GPU's where one is used, otherwise what this process has held at once (RSS)."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_reserved(), torch.cuda.get_device_name()
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "CPU, resident memory of the process"


def leave_peak(trainer: pl.Trainer, module: Any, datamodule: Any, error: BaseException | None) -> None:
    """Write the peak where ``PEAK_FILE`` asks for it."""
    path = os.environ.get(PEAK_FILE)
    if path and trainer.is_global_zero:
        peak, device = peak_memory()
        facts = {"peak": peak, "device": device, "batch_size": datamodule.batch_size}
        facts |= {"accumulate": trainer.accumulate_grad_batches, "unit": module.batch_unit}
        facts["out_of_memory"] = error is not None and is_out_of_memory(error)
        Path(path).write_text(json.dumps(facts))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory, the GPU's or the machine's, doesn't suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


@contextmanager
def explained_memory(settings: Mapping[str, Any], remedy: str = REMEDY) -> Iterator[None]:
    """Within, an error for want of memory says which settings it came with and what to lower.

    Raises:
        TrainingError: In place of PyTorch's or Python's own.
    """
    try:
        yield
    except Exception as error:
        if LOADER_DIED in str(error):
            raise TrainingError(
                "a loader process died",
                key="data.num_workers",
                found=str(error).splitlines()[0][:200],
                remedy="give the same command again; where the machine's memory ran out, lower data.num_workers",
            ) from error
        if not is_out_of_memory(error):
            raise
        first = str(error).strip().splitlines()
        raise TrainingError(
            "the memory doesn't suffice",
            key=", ".join(settings),
            expected="less memory than the device has",
            found=f"{', '.join(f'{key} {value}' for key, value in settings.items())}"
            + (f" ({first[0][:200]})" if first else ""),
            remedy=remedy,
        ) from error
