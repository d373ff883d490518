"""Commands in processes of their own, forked from this one (which has everything imported), and killed at a place."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import forget_the_forkserver

from sfvd_pl.cli.main import main
from sfvd_pl.modules import saving
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import SegmentationModule

FORK = multiprocessing.get_context("fork")
MODULES: dict[str, type[RecordedModule]] = {
    "scene": SceneModule,
    "motion": MotionModule,
    "segment": SegmentationModule,
}
Prepare = Callable[[], None]


def command(args: Sequence[object], log: Path, environment: dict[str, str], prepare: Prepare | None) -> None:
    """``sfvd ARGS`` in a forked process; its output goes to a file."""
    os.setpgid(0, 0)
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ.update(environment)
    forget_the_forkserver()
    # A fork of pytest has its plugins' patches; a child has no use for them.
    if prepare is not None:
        prepare()
    status = 70
    try:
        status = main([str(arg) for arg in args])
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def start(
    args: Sequence[object],
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    prepare: Prepare | None = None,
) -> BaseProcess:
    """Start ``sfvd ARGS``."""
    process = FORK.Process(target=command, args=(args, log, environment or {}, prepare))
    process.start()
    return process


def ended(process: BaseProcess, seconds: float = 120) -> int:
    """Exit status of a process, negative where a signal ended it; fails where it doesn't end in time."""
    process.join(seconds)
    if process.exitcode is None:
        os.killpg(process.pid or 0, signal.SIGKILL)
        pytest.fail("a process did not end")
    return process.exitcode


def run(args: Sequence[object], log: Path, **options: Any) -> int:
    """Run ``sfvd ARGS`` to its end."""
    return ended(start(args, log, **options))


def run_ranks(args: Sequence[object], log: Path, world: int, prepare: Callable[[int], Prepare | None]) -> list[int]:
    """``sfvd ARGS`` by several processes as torchrun starts them; the statuses by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    shared |= {"LOCAL_WORLD_SIZE": str(world), "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0", "NODE_RANK": "0"}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    processes = [
        start(
            args,
            log.with_name(f"{log.stem}-{rank}{log.suffix}"),
            environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            prepare=prepare(rank),
        )
        for rank in range(world)
    ]
    first = min(process.pid or 0 for process in processes)
    try:
        deadline = time.monotonic() + 120
        while any(process.exitcode is None for process in processes) and time.monotonic() < deadline:
            killed = any(process.exitcode == -signal.SIGKILL for process in processes)
            for process in processes:
                process.join(0.05)
                if killed and process.exitcode is None:
                    process.kill()  # as torchrun and srun do with the others
    finally:
        for process in processes:
            if process.exitcode is None:
                process.kill()
    assert first
    return [ended(process) for process in processes]


def die() -> None:
    """As by ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


# -- preparations of a child --------------------------------------------------------------------------------


def recording(stage: str, losses: Path, *further: Prepare) -> Prepare:
    """Append the loss of each batch to a file, before anything else can happen."""

    def prepare() -> None:
        kind: Any = MODULES[stage]
        step = kind.training_step

        def recorded(self: Any, batch: Any, batch_idx: int) -> torch.Tensor:
            loss: torch.Tensor = step(self, batch, batch_idx)
            with losses.open("a") as file:
                ids = batch.sample_id if hasattr(batch, "sample_id") else batch.row
                file.write(f"{ids.tolist()} {float(loss.detach()).hex()}\n")
            return loss

        kind.training_step = recorded
        for each in further:
            each()

    return prepare


def at_call(target: Any, name: str, number: int, act: Prepare = die) -> Prepare:
    """Do something before the ``number``-th call of a function or method; to be killed by default."""

    def prepare() -> None:
        original, calls = getattr(target, name), [0]

        def counted(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                act()
            return original(*args, **kwargs)

        setattr(target, name, counted)

    return prepare


def in_the_middle_of_writing(number: int) -> Prepare:
    """Be killed when half of the ``number``-th checkpoint is on the disk."""

    def prepare() -> None:
        calls = [0]
        original = torch.save

        def half(content: Any, file: Any, **kwargs: Any) -> None:
            original(content, file, **kwargs)
            if not str(getattr(file, "name", "")).rpartition("/")[2].startswith(".step-"):
                return
            calls[0] += 1
            if calls[0] == number:
                file.truncate(file.tell() // 2)
                file.flush()
                die()

        saving.torch.save = half  # type: ignore[attr-defined]

    return prepare


def losses_of(path: Path) -> dict[str, str]:
    """Loss of each batch by its samples; a batch that was met again must have had the same."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        ids, _, loss = line.rpartition(" ")
        assert found.setdefault(ids, loss) == loss, f"the batch {ids} had another loss before"
    return found


@contextmanager
def killed_at_the_end(*processes: BaseProcess) -> Iterator[None]:
    """Leave nothing running."""
    try:
        yield
    finally:
        for process in processes:
            if process.exitcode is None:
                os.killpg(process.pid or 0, signal.SIGKILL)
                process.join(10)
