"""Frames a second of the simulator on this machine: ``python -m tests.bench.bench_phantom [seconds]``."""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from statistics import median

from sfvd_pl.sources import PhantomConfig, simulate_clips, simulate_wire_masks

REPEATS = 3


def clip_rate(size: int, seconds: float, seed: int = 0) -> tuple[float, float]:
    """Frames of ``size`` x ``size`` a second and a CPU second in one process, set-up of clips included."""
    spacing, blur = (0.277, 0.5) if size < 192 else (0.3, 0.8)  # as in the presets
    config = PhantomConfig(patients=100_000, height=size, width=size, spacing_mm=spacing, blur_px=blur)
    start, cpu, frames = time.perf_counter(), time.process_time(), 0
    for clip in simulate_clips(config, seed):
        frames += len(clip)
        if time.perf_counter() - start > seconds:
            break
    return frames / (time.perf_counter() - start), frames / (time.process_time() - cpu)


def mask_rate(size: int, seconds: float) -> float:
    """Frames of wire masks a second in one process, 16 a sequence."""
    start, frames = time.perf_counter(), 0
    for seed in cycle(range(1_000_000)):
        frames += len(simulate_wire_masks(seed, 16, size, size))
        if time.perf_counter() - start > seconds:
            break
    return frames / (time.perf_counter() - start)


def main() -> None:
    """Print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    for size in (96, 256):
        wall, cpu = clip_rate(size, seconds)
        print(f"clips {size:3d} x {size:3d}, 1 process:   {wall:7.0f} frames/s, {cpu:.0f} a CPU second")
        with ProcessPoolExecutor(2) as pool:
            rates = [
                sum(wall for wall, _ in pool.map(clip_rate, (size, size), (seconds, seconds), (2 * k, 2 * k + 1)))
                for k in range(REPEATS)
            ]
        text = f"{max(rates):7.0f} frames/s at best of {REPEATS}, median {median(rates):.0f}"
        print(f"clips {size:3d} x {size:3d}, 2 processes: {text}")
    for size in (64, 256):
        print(f"masks {size:3d} x {size:3d}, 1 process:   {mask_rate(size, seconds):7.0f} frames/s")


if __name__ == "__main__":
    main()
