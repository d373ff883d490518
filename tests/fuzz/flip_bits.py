"""Flip bits of small artifacts, one at a time: each is found by ``verify``, or changes nothing that an artifact says.

``python -m tests.fuzz.flip_bits [--every N] [--bits all|one] [--truncate]`` prints the counts of each kind and ends
with status 1 where a flip was neither. By default one bit of every byte; ``--bits all`` flips all eight (minutes).
A flip must also not crash the process, take longer than ten seconds, or ask for more than 2 GiB.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "artifacts"))

import h5py
from artifact_samples import columns_of, write_artifact

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.artifacts.contents import all_attributes

SLOW_S = 10.0
MEMORY = 2 << 30
BLOCK = 256
"""Positions that a process tries in one go."""

Flip = tuple[int, int]
"""Byte and bit; a bit of -1 cuts the file off before the byte."""


def everything(path: Path) -> str:
    """All that an artifact says: every attribute of every object and every value."""
    with Artifact.open(path) as artifact, h5py.File(path, "r") as file:
        attributes = sorted((name, sorted(carried.items())) for name, carried in all_attributes(file).items())
        columns = [(key, artifact.column(key).tolist()) for key in artifact.keys]
        return repr((artifact.kind, sorted(artifact.dims.items()), attributes, columns))


def outcome(path: Path, data: bytes, flip: Flip, expected: str) -> str:
    """What becomes of one flip: ``found``, ``harmless``, ``UNNOTICED`` or the name of an exception."""
    place, bit = flip
    broken = data[:place] if bit < 0 else data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
    path.write_bytes(broken)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever C code it hangs in
    signal.setitimer(signal.ITIMER_REAL, SLOW_S)
    try:
        if verify(path):
            return "found"
        return "harmless" if everything(path) == expected else "UNNOTICED"
    except Exception as error:
        return f"RAISED {type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _try_all(name: str, flips: list[Flip]) -> list[tuple[Flip, str]]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY + (1 << 30), MEMORY + (1 << 30)))  # Python itself maps some
    whole = Path(name)
    data, expected = whole.read_bytes(), everything(whole)
    path = whole.with_name(f"{whole.stem}-{os.getpid()}.h5")
    try:
        return [(flip, outcome(path, data, flip, expected)) for flip in flips]
    finally:
        path.unlink(missing_ok=True)


def flips_of(size: int, every: int, bits: str, chance: random.Random) -> Iterator[Flip]:
    """The flips to try: in each stretch of ``every`` bytes one byte, one or all of its bits."""
    for first in range(0, size, every):
        place = min(size - 1, first + chance.randrange(every))
        yield from ((place, bit) for bit in (range(8) if bits == "all" else [chance.randrange(8)]))


def try_kind(kind: Kind, folder: Path, flips: list[Flip], workers: int) -> Counter[str]:
    """Try flips of one kind of artifact in processes of their own, so that a crash is counted and not suffered."""
    whole = sample(kind, folder)
    counts: Counter[str] = Counter()
    pending = [flips[first : first + BLOCK] for first in range(0, len(flips), BLOCK)]
    while pending:
        retry: list[list[Flip]] = []
        with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
            futures = [(block, pool.submit(_try_all, str(whole), block)) for block in pending]
            for block, future in futures:
                try:
                    _count(counts, kind, future.result())
                except BrokenProcessPool:  # halve until the culprit is alone
                    half = max(1, len(block) // 2)
                    retry += [block[:half], block[half:]] if len(block) > 1 else []
                    if len(block) == 1:
                        _count(counts, kind, [(block[0], "CRASHED or hung")])
        pending = retry
    return counts


def _count(counts: Counter[str], kind: Kind, results: list[tuple[Flip, str]]) -> None:
    for flip, what in results:
        counts[what.split(" ")[0]] += 1
        if what not in ("found", "harmless"):
            print(f"  {kind} byte {flip[0]} bit {flip[1]}: {what}")


def sample(kind: Kind, folder: Path) -> Path:
    """A small artifact of a kind; made once."""
    path = folder / f"{kind}.h5"
    if not path.exists():
        write_artifact(path, kind, columns_of(kind, lengths=[1, 2, 1]))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--bits", choices=("all", "one"), default="one")
    parser.add_argument("--truncate", action="store_true", help="cut the files off instead of flipping bits")
    parser.add_argument("--kinds", nargs="*", default=[kind.value for kind in Kind])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options: Any = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared) as name:
        for kind in map(Kind, options.kinds):
            begun, size = time.monotonic(), sample(kind, Path(name)).stat().st_size
            flips = list(flips_of(size, options.every, options.bits, random.Random(options.seed)))
            if options.truncate:
                flips = [(place, -1) for place in sorted({place for place, _ in flips})]
            counts = try_kind(kind, Path(name), flips, options.workers)
            total += counts
            seconds = time.monotonic() - begun
            print(f"{kind}: {size} bytes, {len(flips)} tries, {dict(counts)}, {seconds:.0f} s", flush=True)
    print(f"all: {dict(total)}")
    return 0 if set(total) <= {"found", "harmless"} else 1


if __name__ == "__main__":
    sys.exit(main())
