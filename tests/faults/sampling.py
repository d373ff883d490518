"""A large plan made by several processes that are killed at random: ``python -m tests.faults.sampling``.

Plans 10,000 clips of toy networks and has four processes make them into one artifact. Meanwhile processes are killed
(SIGKILL) at random moments and others started in their place, also while the shards are merged; one is stopped for
longer than its lease and wakes up late; a shard is cut short and in another one a bit is flipped. At the end the
artifact must hold, with every clip once, and be equal to one that a single process made undisturbed. Prints a table,
and ends with status 1 where that is not so. Not part of the tests, which keep a short version of it.
"""

import argparse
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from toy import (
    FRAMES,
    motion_module,
    save_model,
    scene_module,
    segmentation_module,
    write_suspects,
    write_toy_source,
)

from sfvd_pl.artifacts import Artifact, Kind, SharedWork, verify
from sfvd_pl.augment.gate import GateConfig
from sfvd_pl.augment.plan import PlanConfig
from sfvd_pl.cli.main import hush
from sfvd_pl.modules.logging import LoggingConfig
from sfvd_pl.modules.workers import Worker
from sfvd_pl.modules.writer import shards_folder
from sfvd_pl.pipeline.augment import AugmentSettings, make_synthetic

FORK = multiprocessing.get_context("fork")
LEASE_SECONDS = 3.0


def write_toys(folder: Path) -> None:
    """What the toy run is made from."""
    source = write_toy_source(folder / "source.h5")
    write_suspects(folder / "suspects.h5", source)
    scene = save_model(scene_module(seed=4), folder / "scene.ckpt", source)
    save_model(motion_module(scene_ckpt=scene, block=4), folder / "motion.ckpt", source)
    save_model(segmentation_module(seed=1), folder / "guide.ckpt", source)
    save_model(segmentation_module(seed=2), folder / "gate.ckpt", source)


def toy_settings(folder: Path, clips: int, batch: int) -> AugmentSettings:
    """Settings of a run on these."""
    files = {f"{role}_ckpt": folder / f"{role}.ckpt" for role in ("scene", "motion", "guide", "gate")}
    return AugmentSettings(
        source=folder / "source.h5",
        suspects=folder / "suspects.h5",
        **files,
        out=folder / "broken.h5",
        run_dir=folder / "run",
        # The simulator would take most of the time, and nothing here depends on it.
        plan=PlanConfig(num_clips=clips, frames=FRAMES, vessel_share=0.0, labelled_share=1.0),
        gate=GateConfig(attenuation_cnr=-1e9, drawn_share=0.0, dice_ratio=0.0),
        batch_size=batch,
        accelerator="cpu",
        devices=1,
        lease_seconds=LEASE_SECONDS,
        logging=LoggingConfig(wandb="disabled", stage="augment"),
    )


def generate(settings: AugmentSettings, worker: Worker, log: Path) -> None:
    """One process; notes each shard that it writes."""
    hush()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*was set aside")
    sys.stdout = sys.stderr = log.with_suffix(".txt").open("a", buffering=1)
    write = SharedWork.write

    def noting(self: SharedWork, sample_ids: Any, columns: Any) -> None:
        write(self, sample_ids, columns)
        with log.open("a") as file:
            file.write(f"{worker.index} {sample_ids[0]}\n")

    SharedWork.write = noting  # type: ignore[method-assign]
    make_synthetic(settings, worker)


@dataclass
class Attempt:
    """One process of the run."""

    number: int
    process: Any
    started: float
    ended: float | None = None
    fate: str = ""


class Run:
    """The processes of a run and what is done to them.

    Args:
        settings: What they make.
        processes: How many are alive at a time.
        kills: How many are killed.
        seed: Decides when and which.
    """

    def __init__(self, settings: AugmentSettings, processes: int, kills: int, seed: int) -> None:
        self.settings = settings
        self.processes = processes
        self.kills = kills
        self.random = random.Random(seed)
        self.log = settings.out.with_name("shards.log")
        self.attempts: list[Attempt] = []
        self.begun = time.monotonic()
        self.killed = 0
        self.merge_killed = False

    def start(self) -> None:
        """One more process, which begins anywhere."""
        worker = Worker(index=len(self.attempts), count=max(self.processes, len(self.attempts) + 1))
        process = FORK.Process(target=generate, args=(self.settings, worker, self.log))
        process.start()
        self.attempts.append(Attempt(worker.index, process, time.monotonic() - self.begun))

    def alive(self) -> list[Attempt]:
        """Those that run; takes note of those that have ended."""
        for attempt in self.attempts:
            if attempt.ended is None and not attempt.process.is_alive():
                attempt.ended = time.monotonic() - self.begun
                code = attempt.process.exitcode
                attempt.fate += "done" if code == 0 else "killed" if code == -9 else f"status {code}"
        return [attempt for attempt in self.attempts if attempt.ended is None]

    def lacking(self, alive: list[Attempt]) -> bool:
        """Whether a process is to be started: in the place of each that died, not of those that are done."""
        done = sum(attempt.process.exitcode == 0 for attempt in self.attempts)
        return not alive or len(alive) + done < self.processes

    def shards(self) -> list[Path]:
        """The shards that are there."""
        return sorted(shards_folder(self.settings.out).glob("shard-*.h5"))

    def kill(self, attempt: Attempt, why: str) -> None:
        """End a process as a node failure would."""
        attempt.fate += why
        os.kill(attempt.process.pid, signal.SIGKILL)
        attempt.process.join()
        self.killed += 1

    def perform(self, limit: float) -> bool:
        """Until the artifact is there and all have ended; False where that takes longer than ``limit`` seconds."""
        total = -(-self.settings.plan.num_clips // self.settings.batch_size)
        moments = sorted(self.random.uniform(0.02, 0.98) * total for _ in range(self.kills))
        spoil = {"cut short": 0.3 * total, "bit flipped": 0.5 * total}
        asleep: tuple[Attempt, float] | None = None
        slept = False
        while not self.settings.out.exists() or self.alive():
            time.sleep(0.02)
            alive, made = self.alive(), len(self.shards())
            if time.monotonic() - self.begun > limit:
                for attempt in alive:
                    self.kill(attempt, "too slow, ")
                return False
            if not self.settings.out.exists() and self.lacking(alive):
                self.start()
                continue
            if moments and made >= moments[0]:
                moments.pop(0)
                self.kill(self.random.choice(alive), f"at {made} shards ")
            for fault in [fault for fault, moment in spoil.items() if made >= moment]:
                self.spoil(fault)
                del spoil[fault]
            if not slept and made >= 0.6 * total:
                slept, asleep = True, (self.random.choice(alive), time.monotonic())
                os.kill(asleep[0].process.pid, signal.SIGSTOP)
                asleep[0].fate = "stopped for longer than its lease, "
            if asleep is not None and time.monotonic() - asleep[1] > 2 * LEASE_SECONDS:
                if asleep[0] in alive:
                    os.kill(asleep[0].process.pid, signal.SIGCONT)
                asleep = None
            self.kill_the_merging(alive)
        return True

    def spoil(self, fault: str) -> None:
        """Damage a shard behind everybody's back."""
        path = self.random.choice(self.shards())
        content = bytearray(path.read_bytes())
        if fault == "cut short":
            path.write_bytes(content[: len(content) // 2])
            return
        with Artifact.open_shard(path, Kind.SYNTHETIC) as shard:
            place = content.index(shard.rows("frames/image", 0, 1).tobytes())
        content[place + 5] ^= 1
        path.write_bytes(content)

    def kill_the_merging(self, alive: list[Attempt]) -> None:
        """Once, whoever is putting the shards together."""
        partial = next(iter(self.settings.out.parent.glob(f".{self.settings.out.name}.partial-*")), None)
        if partial is None or self.merge_killed:
            return
        number = int(partial.name.partition("partial-")[2].split("-")[0])
        for attempt in alive:
            if attempt.process.pid == number:
                self.merge_killed = True
                self.kill(attempt, "while merging, ")

    def report(self) -> None:
        """The table."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        made = Counter(int(index) for index, _ in lines)
        print(f"{'process':>7} {'from s':>7} {'to s':>7} {'shards':>7}  end")
        for attempt in self.attempts:
            end = attempt.ended or float("nan")
            print(f"{attempt.number:7d} {attempt.started:7.1f} {end:7.1f} {made[attempt.number]:7d}  {attempt.fate}")
        distinct = len({first for _, first in lines})
        print(f"{len(lines)} shards written for {distinct}: {len(lines) - distinct} made again")


def check(settings: AugmentSettings, reference: Path | None) -> list[str]:
    """What is wrong with the artifact."""
    problems = verify(settings.out, parents={"source": settings.source, "suspects": settings.suspects})
    made = Artifact.open(settings.out, Kind.SYNTHETIC)
    ids = made.column("clips/sample_id").tolist()
    if len(ids) != settings.plan.num_clips or len(set(ids)) != len(ids):
        problems.append(f"expected {settings.plan.num_clips} clips; found {len(ids)}, {len(set(ids))} different")
    if reference is not None:
        problems += differences(Artifact.open(reference, Kind.SYNTHETIC), made)
    left = [p.name for p in settings.out.parent.glob("*.shards")]
    left += [p.name for p in settings.out.parent.glob(".*partial*") if str(os.getpid()) in p.name]
    return [*problems, *(f"left behind: {name}" for name in left)]


def differences(expected: Artifact, found: Artifact) -> list[str]:
    """How an artifact differs from the one that was made undisturbed; not by the commit of a checkout at work."""
    lines = [
        f"{name}: expected {expected.attrs[name]}; found {found.attrs[name]}"
        for name in ("config", "parents", "patients", "seed")
        if expected.attrs[name] != found.attrs[name]
    ]
    for key in expected.keys:
        if expected.facts[key] == found.facts[key]:
            continue
        pairs = zip(expected.column(key), found.column(key), strict=True)
        rows = np.array([np.any((a != b) & ((a == a) | (b == b))) for a, b in pairs])
        lines.append(f"{key}: {rows.sum()} of {len(rows)} rows differ, the first is {np.flatnonzero(rows)[:1]}")
    return [f"unlike the one that was made undisturbed: {line}" for line in lines]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=40, help="clips at once, and of a shard")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--kills", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=540, help="seconds for either run")
    parser.add_argument("--no-reference", action="store_true", help="don't make it a second time undisturbed")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = FORK.Process(target=write_toys, args=(folder,))
        made.start()  # in a process of its own: threads of torch don't survive a fork
        made.join()
        settings = toy_settings(folder, chosen.clips, chosen.batch)
        reference = None if chosen.no_reference else replace(settings, out=folder / "unbroken.h5")
        if reference is not None:
            begun = time.monotonic()
            alone = FORK.Process(target=generate, args=(reference, Worker(), folder / "alone.log"))
            alone.start()
            alone.join(chosen.limit)
            if alone.exitcode != 0:
                alone.kill()
                print(f"the undisturbed process wasn't done after {chosen.limit:.0f} s")
                return 1
            print(f"one process undisturbed: {chosen.clips} clips in {time.monotonic() - begun:.1f} s")
        run = Run(settings, chosen.processes, chosen.kills, chosen.seed)
        whole = run.perform(chosen.limit)
        merging = "one of them while merging" if run.merge_killed else "none while merging"
        seconds = time.monotonic() - run.begun
        print(f"{chosen.processes} processes, {run.killed} killed, {merging}: {seconds:.1f} s")
        run.report()
        problems = check(settings, None if reference is None else reference.out) if whole else ["not done in time"]
        print("\n".join(problems) or f"{chosen.clips} clips, each once, the artifact holds and is the undisturbed one")
        return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
