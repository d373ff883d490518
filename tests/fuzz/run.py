"""Spoilt files of every kind against the import and the artifacts: ``python -m tests.fuzz.run [--cases 10000]``.

Prints how the cases of each kind ended, and every finding with the seed and number that make it again
(``--only KIND --first N --cases 1``). Ends with status 1 where there are findings. Not part of the tests: ten thousand
cases take some minutes.
"""

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parent.parent / "artifacts")]

from harness import GOOD, Outcome, Runner, Target  # noqa: E402
from targets import ALL  # noqa: E402


def warm() -> None:
    """Import what a case may need, so that its libraries' own memory isn't counted."""
    import av  # noqa: F401
    import gdcm  # noqa: F401
    import nibabel  # noqa: F401
    import openjpeg  # noqa: F401
    import pydicom  # noqa: F401
    from PIL import Image

    Image.init()


def run(target: Target, seed: int, cases: range, show: int) -> Counter[str]:
    """Run a target's cases; prints its findings."""
    begun, ends, findings = time.monotonic(), Counter[str](), list[Outcome]()
    for outcome in Runner(target, seed, warm).run(cases):
        ends[outcome.end] += 1
        if outcome.end not in GOOD:
            findings.append(outcome)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(ends.items()))
    print(f"{target.name:<30} {sum(ends.values()):>6} in {time.monotonic() - begun:5.0f} s: {counts}", flush=True)
    for finding in findings[:show]:
        print(f"  --only {target.name} --first {finding.case}: {finding.end}: {finding.detail}\n", flush=True)
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="in all, spread evenly over the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--only", nargs="+", default=[], choices=[t.name for t in ALL], help="these kinds alone")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--show", type=int, default=3, help="findings to print for each kind")
    options = parser.parse_args()
    targets = [t for t in ALL if not options.only or t.name in options.only]
    each = -(-options.cases // len(targets))
    cases = range(options.first, options.first + each)
    warm()
    with ThreadPoolExecutor(options.workers) as pool:
        counts = list(pool.map(lambda target: run(target, options.seed, cases, options.show), targets))
    total = sum(counts, Counter())
    bad = sum(count for end, count in total.items() if end not in GOOD)
    print(f"{sum(total.values())} cases: " + ", ".join(f"{end} {count}" for end, count in sorted(total.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
