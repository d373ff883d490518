"""Peak memory of a training against its settings: batch size, accumulation, gradient checkpointing, precision, window.

Run by ``make bench``; prints the table of docs/cluster.md. Each row is a process of its own that takes three optimiser
steps on random numbers. On the CPU the measure is the resident memory of the process, less what it held before the
first step (libraries and weights); on a GPU what PyTorch's allocator reserved.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from typing import Any

import torch

from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.modules.base import DiffusionModule
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.networks import UNetConfig

STEPS = 3
NETWORK: dict[str, Any] = {"block_out_channels": (32, 64, 96), "layers_per_block": 1, "unshuffle": 2}
"""Of the preset tiny."""
SETTINGS: list[dict[str, Any]] = [
    {"model": "scene", "batch": 16, "accumulate": 1},
    {"model": "scene", "batch": 8, "accumulate": 2},
    {"model": "scene", "batch": 4, "accumulate": 4},
    {"model": "scene", "batch": 16, "accumulate": 1, "checkpointing": True},
    {"model": "scene", "batch": 16, "accumulate": 1, "bf16": True},
    {"model": "scene", "batch": 16, "accumulate": 1, "window": 128},
    {"model": "scene", "batch": 16, "accumulate": 1, "window": 128, "checkpointing": True},
    {"model": "motion", "batch": 4, "accumulate": 1, "block": 4},
    {"model": "motion", "batch": 2, "accumulate": 2, "block": 4},
    {"model": "motion", "batch": 4, "accumulate": 1, "block": 4, "checkpointing": True},
    {"model": "motion", "batch": 4, "accumulate": 1, "block": 8},
]


def random_clips(size: int, frames: int, window: int) -> ClipBatch:
    shape = (size, 1, frames, window, window)
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


def resident() -> int:
    """Most that this process ever held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)


def measure(settings: dict[str, Any], device: torch.device) -> dict[str, float]:
    """MiB and seconds a step; in a fresh process."""
    network = UNetConfig(**NETWORK, gradient_checkpointing=settings.get("checkpointing", False))
    motion, block = settings["model"] == "motion", settings.get("block", 1)
    module: DiffusionModule = MotionModule(network=network, block=block) if motion else SceneModule(network=network)
    module.intensity.copy_(torch.tensor([0.5, 0.15]))
    module.to(device).train()
    frames = block + module.network.context_frames if isinstance(module, MotionModule) else 1
    optimiser = torch.optim.AdamW(module.parameters())
    batch = random_clips(settings["batch"], frames, settings.get("window", 64))
    batch = ClipBatch(**{key: value.to(device) for key, value in vars(batch).items()})
    before = resident()
    cast = torch.autocast(device.type, torch.bfloat16) if settings.get("bf16") else contextlib.nullcontext()
    begun = time.monotonic()
    for _ in range(STEPS):
        for _ in range(settings["accumulate"]):
            with cast:
                loss = module.losses(batch)[0].mean() / settings["accumulate"]
            loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    seconds = (time.monotonic() - begun) / STEPS
    peak = torch.cuda.max_memory_reserved() / 2**20 if device.type == "cuda" else resident() - before
    return {"mib": peak, "seconds": seconds}


def _row(settings: dict[str, Any], found: dict[str, float], first: float) -> str:
    samples = settings["batch"] * settings["accumulate"]
    cells = [
        settings["model"], str(settings.get("window", 64)), str(settings.get("block", "")), str(settings["batch"]),
        str(settings["accumulate"]), str(samples), "yes" if settings.get("checkpointing") else "",
        "bf16" if settings.get("bf16") else "fp32", f"{found['mib']:.0f}", f"{found['mib'] / first:.2f}",
        f"{found['seconds']:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", default=None, help="settings of one row, as JSON")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(json.loads(arguments.one), torch.device(arguments.device))))
        return
    print("| model | window | block | batch | accumulate | samples a step | checkpointing | precision | peak MiB | "
          "of the first | s a step |\n" + "| --- " * 11 + "|")
    first: dict[str, float] = {}
    for settings in SETTINGS:
        command = [sys.executable, "-m", "tests.bench.bench_memory", "--one", json.dumps(settings)]
        done = subprocess.run([*command, "--device", arguments.device], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(_row(settings, found, first.setdefault(settings["model"], found["mib"])), flush=True)


if __name__ == "__main__":
    main()
