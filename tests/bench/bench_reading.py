"""Random frames and clips through a DataLoader, beside a plain numpy memmap; memory on 100,000 frames.

``python -m tests.bench.bench_reading [repeats]``. Both sides read pictures and masks of the same frames in the same
order with two workers; the memmap holds its masks unpacked. The goal is 80 % of the memmap's rate.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tests.bench.artifacts import CLIP, write_motions
from torch.utils.data import DataLoader, Dataset

from sfvd_pl.artifacts import Artifact

SIDE, FRAMES = 256, 4096
WORKERS = 2
KEYS = ("frames/image", "frames/wire_mask")
Pair = tuple[np.ndarray, np.ndarray]


class Reading(Dataset[Pair]):
    """Samples in a fixed random order.

    Args:
        read: First frame and number of frames -> pictures and masks.
        length: Frames a sample.
        total: Frames in all.
        count: Samples.
    """

    def __init__(self, read: Callable[[int, int], Pair], length: int, total: int, count: int) -> None:
        self.read, self.length, self.count = read, length, count
        self.starts = np.random.default_rng(1).integers(0, total // length, count) * length

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Pair:
        return self.read(int(self.starts[index]), self.length)


class FromArtifact:
    """Reads through ``Artifact.rows``, as the training sets do."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    def __call__(self, first: int, count: int) -> Pair:
        image, mask = (self.artifact.rows(key, first, first + count) for key in KEYS)
        return image, mask


class FromMemmap:
    """Copies out of two .npy files, opened in each process."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        self.files = files
        self.maps: list[np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "maps": None}

    def __call__(self, first: int, count: int) -> Pair:
        if self.maps is None:
            self.maps = [np.load(path, mmap_mode="r") for path in self.files]
        image, mask = (np.array(values[first : first + count]) for values in self.maps)
        return image, mask


def loader(dataset: Reading, batch: int) -> DataLoader[Pair]:
    """Two workers that stay, as in training."""
    return DataLoader(
        dataset,
        batch_size=batch,
        num_workers=WORKERS,
        persistent_workers=True,
        multiprocessing_context="forkserver",
    )


def rate(batches: DataLoader[Pair], count: int) -> float:
    """Samples a second of one pass, the start of the workers left out."""
    begun = time.perf_counter()
    for _ in batches:
        pass
    return count / (time.perf_counter() - begun)


def compare(sides: dict[str, Callable[[int, int], Pair]], length: int, count: int, batch: int, repeats: int) -> None:
    """Print the median rates of both sides, measured by turns."""
    loaders = {name: loader(Reading(read, length, FRAMES, count), batch) for name, read in sides.items()}
    for batches in loaders.values():  # starts the workers and fills the page cache
        rate(batches, count)
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(repeats):
        for name, batches in loaders.items():
            rates[name].append(rate(batches, count))
    middle = {name: median(values) for name, values in rates.items()}
    share = median([a / b for a, b in zip(*rates.values(), strict=True)])
    what = "frames" if length == 1 else f"clips of {length}"
    shown = ", ".join(f"{name} {value:.0f}/s" for name, value in middle.items())
    spread = f"{min(rates['artifact']):.0f} to {max(rates['artifact']):.0f}"
    print(f"random {what} of {SIDE} x {SIDE}: {shown} ({spread}), artifact at {share:.0%} of the memmap", flush=True)


def resident() -> int:
    """Resident memory of this process and its children, bytes."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    below = [g for c in children for g in _children(c)]
    return sum(_resident(number) for number in {str(os.getpid()), *children, *below})


def _children(number: str) -> list[str]:
    try:
        return Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return []


def _resident(number: str) -> int:
    try:
        return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def memory(read: Callable[[int, int], Pair], total: int, passes: int = 4) -> Iterator[tuple[int, float]]:
    """Frames read and resident memory in MB, of all processes, after each pass over a fifth of the frames."""
    batches, count = loader(Reading(read, 1, total, total // 5), 64), total // 5
    for number in range(passes):
        rate(batches, count)
        yield (number + 1) * count, resident() / 1e6


def main() -> None:
    """Print a few lines."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = Artifact.open(write_motions(folder / "a.h5", FRAMES, SIDE))
        files = (folder / "image.npy", folder / "mask.npy")
        for key, file in zip(KEYS, files, strict=True):
            np.save(file, artifact.column(key))
        sides = {"artifact": FromArtifact(artifact), "memmap": FromMemmap(files)}
        compare(sides, 1, 8192, 32, repeats)
        compare(sides, CLIP, 768, 4, repeats)
        long = Artifact.open(write_motions(folder / "long.h5", 100_000, 64))
        steps = ", ".join(f"{mb:.0f} MB after {frames}" for frames, mb in memory(FromArtifact(long), long.n_frames))
        print(f"memory of all processes on {long.n_frames} frames of 64 x 64, frames read: {steps}")


if __name__ == "__main__":
    main()
