"""Speed of writing and verifying a large artifact: ``python -m tests.bench.bench_artifacts [GB] [repeats]``.

Verification is held against reading the same file from end to end and taking its SHA-256: warm, from the page cache,
and cold, from the disk.
"""

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.bench.artifacts import write_motions

from sfvd_pl.artifacts import Artifact, verify

SIDE = 256


def forget(path: Path) -> None:
    """Have the operating system drop the file from its cache."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)


def plain_read(path: Path) -> None:
    """Every byte once, in order, 8 MiB at a time."""
    buffer = bytearray(8 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def plain_hash(path: Path) -> None:
    """SHA-256 of the file, as ``sha256sum`` takes it."""
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def checked(path: Path) -> None:
    """``verify``, which must hold."""
    problems = verify(path)
    assert problems == [], problems


def seconds(action: Callable[[Path], None], path: Path, *, cold: bool) -> float:
    """Of one call."""
    if cold:
        forget(path)
    begun = time.perf_counter()
    action(path)
    return time.perf_counter() - begun


def main() -> None:
    """Print a table."""
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    frames = int(size * 1e9 / (SIDE * SIDE * 9 / 8))
    with tempfile.TemporaryDirectory() as name:
        path, begun = Path(name) / "large.h5", time.perf_counter()
        write_motions(path, frames, SIDE)
        spent, giga = time.perf_counter() - begun, path.stat().st_size / 1e9
        print(f"{giga:.2f} GB, {Artifact.open(path).n_frames} frames of {SIDE} x {SIDE}; "
              f"written and verified in {spent:.1f} s", flush=True)  # fmt: skip
        actions = {"plain read": plain_read, "plain read and SHA-256": plain_hash, "verify": checked}
        for cold in (False, True):
            took: dict[str, list[float]] = {title: [] for title in actions}
            for _ in range(repeats):
                for title, action in actions.items():
                    took[title].append(seconds(action, path, cold=cold))
            for title, values in took.items():
                rate, name = giga / median(values), "cold" if cold else "warm"
                print(f"{name}  {title:<23} {median(values):6.2f} s  {rate:5.2f} GB/s", flush=True)


if __name__ == "__main__":
    main()
