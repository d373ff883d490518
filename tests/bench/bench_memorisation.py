"""The search for copies on this machine: recall of planted ones, false alarms, time and memory.

``python -m tests.bench.bench_memorisation [SOURCE.h5 ...]`` works on simulated clips, and on the sources given.
"""

import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.planted import Planted, PlantedKind
from sfvd_pl.datasets.sets import ClipSet, WindowClips
from sfvd_pl.metrics.memorisation.bank import Bank
from sfvd_pl.metrics.memorisation.scores import calibrate
from sfvd_pl.metrics.memorisation.section import planted_row, set_row
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs
from sfvd_pl.pipeline.evaluation.memorisation import FALSE_ALARMS, Asked, Search, calibration_sets
from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.simulate import simulate_clips
from sfvd_pl.sources.split import SplitConfig
from sfvd_pl.sources.write import write_source

WINDOW, FRAMES = 64, 8


def windows(source: Path, split: str, each: int, seed: int = 7) -> ClipSet:
    """Windows of a split, with the wire or without."""
    return WindowClips(
        source, split, window=WINDOW, frames=FRAMES, seed=seed, windows_per_clip=each, with_wire=False
    )


def report(source: Path) -> None:
    """Print a table."""
    start, cpu = time.perf_counter(), time.process_time()
    held_out = windows(source, "test", 6)
    context = EvaluationContext(inputs=Inputs(source=source, synthetic=held_out, reference=held_out))
    with ExitStack() as stack:
        search = Search(context, WINDOW, stack.enter_context(Bank()), stack.enter_context(Bank()))
        print(f"{source}: {search.fill(ClipIndex(source, 'train', 'annotated'), FRAMES)}")
        asked = calibration_sets(context, WINDOW, FRAMES)
        judged = [entry.scores for part in asked for entry in search.judge(part, "real clips")]
        patients = [patient for part in asked for patient in part.clips.patients]
        found = calibrate(search.levels, judged, patients, FALSE_ALARMS)
        for level, threshold in zip(found.levels, found.thresholds, strict=True):
            shown = [level.shown(v) for v in (threshold.median, threshold.highest, threshold.value)]
            print(
                f"  {level.name:9} median {shown[0]:.3f}  highest {shown[1]:.3f}  threshold {shown[2]:.3f}  of "
                f"{threshold.n} clips of {threshold.n_patients} patients, counted as {threshold.n_effective:.0f}"
            )
        real = [entry.scores for entry in search.judge(Asked(held_out), "held-out clips")]
        row = set_row("floor", real, found)
        most = row["share"]["high"]
        print(f"  false alarms: {row['copies']} of {row['n']} held-out windows (95 %: up to {most:.3f})")
        base = windows(source, "train", 1)
        for name in get_args(PlantedKind):
            row = planted_row(name, list(search.judge(Asked(Planted(base, name)), name)), found, search.banks)
            parts = ", ".join(f"{part['level']} {part['caught']}" for part in row["levels"])
            print(f"  {name:10} {row['caught']:3} of {row['n']} caught, {row['named']} named ({parts})", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"  {time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU, peak memory {peak:.0f} MB",
        flush=True,
    )


def main() -> None:
    """Print a report."""
    with tempfile.TemporaryDirectory() as name:
        phantom = Path(name) / "phantom.h5"
        config = PhantomConfig(patients=12, clips_per_patient=3, frames=16, height=96, width=96)
        split = SplitConfig(val_fraction=0.2, test_fraction=0.2)
        write_source(phantom, simulate_clips(config, 0), split=split, seed=0, config={"bench": True}, progress=False)
        for source in [phantom, *(Path(path) for path in sys.argv[1:])]:
            report(source)


if __name__ == "__main__":
    main()
