"""Faults of machines against the whole toy chain: ``python -m tests.faults.run``.

Each case does something to a chain of toy networks (real processes, real files) and gives the same command again. It
has to end in one clear error with nothing lost, or in a completed chain; in the end its artifacts must verify and,
like its models, be byte for byte those of a chain that was left alone. Prints a table; status 1 where a case falls
short. Not part of the tests, which keep short versions. As root it also fills a small tmpfs.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}

from processes import MODULES, Prepare, at_call, ended, run, start
from toy import STAGES

import sfvd_pl.cli.chain  # a child without rights may not be able to read libraries
import sfvd_pl.cli.stage  # noqa: F401
from sfvd_pl.artifacts import content_hash, verify
from sfvd_pl.modules.saving import saved_checkpoints

ALL = ("stage1", "stage2", "augment", "segment")
SECONDS = 1800.0
SETTINGS = ("--scene.trainer.max_steps", "8", "--scene.data.steps_per_epoch", "4")
SETTINGS += ("--scene.checkpoint.every_n_train_steps", "1")
"""Long enough for a fault in the middle."""


class Failure(Exception):  # noqa: N818
    """A case did not end as it must."""


@dataclass
class Chain:
    """A run of the toy preset in a folder of its own."""

    root: Path
    stages: tuple[str, ...]
    extra: list[object] = field(default_factory=lambda: list(SETTINGS))

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.log = self.root.with_name(f"{self.root.name}.txt")
        self.folder = self.root / "toy"

    @property
    def command(self) -> list[object]:
        """The same one again and again."""
        where = ["--run", "toy", "--root", self.root, "--preset", "toy", "--stages", STAGES, "--seed", 3]
        return ["run", *self.stages, *where, *self.extra]

    def attempt(self, prepare: Prepare | None = None) -> int:
        """Exit status of one go."""
        return ended(start(self.command, self.log, prepare=prepare), SECONDS)

    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_text() if self.log.exists() else ""

    def finish(self) -> None:
        """One go that has to come to the end."""
        status = self.attempt()
        if status:
            raise Failure(f"the chain ended with {status}: {self.said()[-1500:]}")

    def refused(self, prepare: Prepare | None, message: str) -> str:
        """One go that has to end in one error, without a traceback."""
        before = len(self.said())
        status, text = self.attempt(prepare), self.said()[before:]
        if status != 1 or not re.search(message, text):
            raise Failure(f"expected status 1 and {message!r}, found {status}: {text[-1500:]}")
        if "Traceback (most recent call last)" in text:
            raise Failure(f"a traceback instead of an error: {text[-1500:]}")
        return next(line for line in text.splitlines() if line.startswith("sfvd: "))[:90]

    def digests(self) -> dict[str, str]:
        """Of every artifact and every model."""
        found = {}
        for path in sorted(self.folder.glob("*.h5")):
            problems = verify(path)
            if problems:
                raise Failure(f"{path.name}: {problems}")
            found[path.name] = content_hash(path)
        for path in sorted(self.folder.rglob("model.ckpt")):
            found[str(path.relative_to(self.folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        left = [str(p) for p in self.folder.rglob("*") if ".partial-" in p.name or p.name.endswith(".shards")]
        if left:
            raise Failure(f"left over: {left}")
        return found


def kills(chain: Chain, count: int, rng: random.Random, seconds: float) -> str:
    """SIGKILL at random moments until there were enough of them; a chain that is done before is begun again."""
    shortest = longest = 0.3 + seconds / 20
    killed, ends = 0, []
    while killed < count:
        process = start(chain.command, chain.log)
        process.join(rng.uniform(0.05, longest))
        if process.exitcode is None:
            os.killpg(process.pid or 0, signal.SIGKILL)
            process.join()
            killed += 1
            longest *= 1.015  # or a step that takes longer than that would never come to its end
        elif process.exitcode:
            raise Failure(f"an attempt ended with {process.exitcode}: {chain.said()[-1500:]}")
        else:
            ends.append(chain.digests())
            shutil.rmtree(chain.folder)
            longest = shortest
    chain.finish()
    if any(end != chain.digests() for end in ends):
        raise Failure("the ends of the chains differ from one another")
    return f"killed {killed} times, over {len(ends) + 1} chains"


def full_disk(chain: Chain, *_: object) -> str:
    """A disk of 1 MiB, then of 512 MiB."""
    if os.geteuid():
        return "left out: needs root for a tmpfs"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(chain.root)], check=True)
    try:
        said = chain.refused(None, r"(?i)no space left|can't be written|disk")
        subprocess.run(["mount", "-o", "remount,size=512m", str(chain.root)], check=True)
        chain.finish()
        kept = chain.root.with_name(f"{chain.root.name}-kept")
        subprocess.run(["cp", "-a", str(chain.root), str(kept)], check=True)
    finally:
        subprocess.run(["umount", str(chain.root)], check=True)
    chain.root.rmdir()
    kept.rename(chain.root)
    return said


def unreadable(chain: Chain, *_: object) -> str:
    """The source can't be read in the second go."""

    def deny() -> None:
        if os.geteuid() == 0:  # whom no rights keep out
            for path in (chain.root.parent, chain.root, *chain.root.rglob("*"), chain.log):
                os.chown(path, 65534, 65534)
            os.environ["HOME"] = str(chain.root)
            os.setgid(65534)
            os.setuid(65534)

    stage = MODULES["scene"]
    if chain.attempt(at_call(stage, "training_step", 2)) != -signal.SIGKILL:
        raise Failure("was not killed")
    source = chain.folder / "source.h5"
    source.chmod(0)
    said = chain.refused(deny, "source.h5")
    source.chmod(0o644)
    chain.finish()
    return said


def cut_checkpoint(chain: Chain, *_: object) -> str:
    """The newest checkpoint of a killed training has lost its end."""
    if chain.attempt(at_call(MODULES["scene"], "validation_step", 1)) != -signal.SIGKILL:
        raise Failure("was not killed")
    newest = saved_checkpoints(chain.folder / "scene" / "checkpoints")[0]
    os.truncate(newest, newest.stat().st_size // 2)
    chain.finish()
    if f"{newest} is damaged" not in chain.said():
        raise Failure("the damaged checkpoint was not named")
    return f"{newest.name} was named, the one before used"


def cut_shard(chain: Chain, *_: object) -> str:
    """A shard of killed generation has lost its end."""
    if chain.attempt(at_call(MODULES["scene"], "predict_step", 2)) != -signal.SIGKILL:
        raise Failure("was not killed")
    shard = min((chain.folder / "scenes.shards").glob("*.h5"))
    os.truncate(shard, shard.stat().st_size // 2)
    chain.finish()
    return "the shard was made again"


def no_numbers(chain: Chain, *_: object) -> str:
    """NaN in the gradients of a step."""

    def spoil() -> None:
        import torch

        original = torch.Tensor.backward

        def backward(self: torch.Tensor, *args: object, **kwargs: object) -> None:
            original(self * float("nan"), *args, **kwargs)  # type: ignore[arg-type]

        torch.Tensor.backward = backward  # type: ignore[assignment, method-assign]

    said = chain.refused(at_call(MODULES["scene"], "training_step", 2, spoil), "aren't finite")
    chain.finish()
    return said


def loader_dies(chain: Chain, *_: object) -> str:
    """A loader process is killed."""
    chain.extra += ["--scene.data.num_workers", "1"]

    def kill_loader() -> None:
        import multiprocessing

        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        time.sleep(1)

    said = chain.refused(at_call(MODULES["scene"], "training_step", 2, kill_loader), "loader process")
    chain.finish()
    return said


def clock_goes_back(chain: Chain, *_: object) -> str:
    """An hour, again and again."""

    def prepare() -> None:
        original, calls = time.time, [0]

        def back() -> float:
            calls[0] += 1
            return original() - 3600.0 * (calls[0] // 50)

        time.time = back

    status = chain.attempt(prepare)
    if status:
        raise Failure(f"ended with {status}: {chain.said()[-1500:]}")
    return "done at once"


def two_at_once(chain: Chain, *_: object) -> str:
    """The same command twice."""
    first = start(chain.command, chain.log)
    while not (chain.folder / "source" / "step.json").exists():
        time.sleep(0.02)
    other = chain.log.with_suffix(".second.txt")
    second = run(chain.command, other)
    if second != 1 or "another process is working on this run" not in other.read_text():
        raise Failure(f"the second one ended with {second}: {other.read_text()[-800:]}")
    if ended(first, SECONDS):
        raise Failure(chain.said()[-1500:])
    return "the second one was refused"


CASES: dict[str, Callable[..., str]] = {
    "kill -9": kills,
    "full disk": full_disk,
    "unreadable source": unreadable,
    "cut checkpoint": cut_checkpoint,
    "cut shard": cut_shard,
    "NaN gradients": no_numbers,
    "loader killed": loader_dies,
    "clock set back": clock_goes_back,
    "two at once": two_at_once,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="moments of the case kill -9 (default: %(default)s)")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), help="which (default: all)")
    parser.add_argument("--stages", nargs="+", default=list(ALL), choices=ALL, help="of the chain (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="sfvd-faults-") as folder:
        alone = Chain(Path(folder) / "alone", tuple(arguments.stages))
        begun = time.monotonic()
        alone.finish()
        seconds = time.monotonic() - begun
        expected = alone.digests()
        print(f"left alone: {len(expected)} artifacts and models\n")
        print(f"{'case':<18} {'result':<8} {'seconds':>7}  what happened", flush=True)
        for name in arguments.cases:
            chain = Chain(Path(folder) / name.replace(" ", "-"), tuple(arguments.stages))
            begun = time.monotonic()
            try:
                what = CASES[name](chain, arguments.kills, random.Random(arguments.seed), seconds)
                if not what.startswith("left out") and chain.digests() != expected:
                    raise Failure("the end differs from that of the chain that was left alone")
                result = "left out" if what.startswith("left out") else "equal"
            except Failure as failure:
                result, what = "FAILED", str(failure)
                failed += 1
            print(f"{name:<18} {result:<8} {time.monotonic() - begun:>7.0f}  {what}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
