"""SIGTERM, SIGUSR1 and SIGINT: every process leaves behind one optimiser step, and the same command goes on."""

import os
import signal
import socket
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from processes import FORK, at_call, ended, killed_at_the_end, run, run_ranks, start
from toy import STAGES

from sfvd_pl import signals
from sfvd_pl.cli import requeue
from sfvd_pl.datasets.modules.scene import SceneDataModule
from sfvd_pl.modules.checkpoints import AnswersSignals
from sfvd_pl.modules.saving import saved_checkpoints, step_of
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.pipeline.evaluation import parallel
from sfvd_pl.sources.phantom import simulate

STOPPED = signals.EXIT_STOPPED


def _fit(source: Path, folder: Path, *args: object) -> list[object]:
    folder.mkdir(exist_ok=True)
    command: list[object] = ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source]
    command += ["--run_dir", folder, "--trainer.max_steps", 6, "--data.steps_per_epoch", 3, "--ckpt_path", "last"]
    return [*command, "--trainer.enable_model_summary", "false", *args]


def _to_itself(number: int) -> object:
    return lambda: os.kill(os.getpid(), number)


def _newest(folder: Path) -> int:
    return step_of(saved_checkpoints(folder / "checkpoints")[0])


@pytest.mark.parametrize("number", signals.STOP_SIGNALS)
def test_a_training_finishes_its_step_saves_and_goes_on(source: Path, tmp_path: Path, number: int) -> None:
    log = tmp_path / "log.txt"
    asked = at_call(SceneModule, "training_step", 2, _to_itself(number))  # type: ignore[arg-type]
    assert run(_fit(source, tmp_path), log, prepare=asked) == STOPPED
    assert _newest(tmp_path) == 2
    assert f"stopped by {signal.Signals(number).name}" in log.read_text()
    assert "step-00000002.ckpt holds optimiser step 2; the same command goes on" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (tmp_path / "model.ckpt").exists()
    assert run(_fit(source, tmp_path), log) == 0
    assert (tmp_path / "model.ckpt").exists()


def test_a_signal_in_a_validation_leaves_it_to_the_next_attempt(source: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    asked = at_call(SceneModule, "validation_step", 1, _to_itself(signal.SIGTERM))  # type: ignore[arg-type]
    assert run(_fit(source, tmp_path), log, prepare=asked) == STOPPED
    assert "its validation is to come" in log.read_text()
    assert _newest(tmp_path) == 3


@pytest.mark.parametrize("asked_rank", [0, 1])
def test_one_of_two_processes_is_asked_and_both_leave_behind_one_step(
    source: Path, tmp_path: Path, asked_rank: int
) -> None:
    asked = at_call(SceneModule, "training_step", 3, _to_itself(signal.SIGUSR1))  # type: ignore[arg-type]
    args = _fit(source, tmp_path, "--trainer.devices", 2, "--trainer.strategy", "ddp")
    statuses = run_ranks(args, tmp_path / "log.txt", 2, lambda rank: asked if rank == asked_rank else None)
    assert statuses == [STOPPED, STOPPED], (tmp_path / "log-0.txt").read_text()[-3000:]
    assert _newest(tmp_path) == 3
    for rank in range(2):
        assert "stopped by SIGUSR1" in (tmp_path / f"log-{rank}.txt").read_text()


@pytest.mark.parametrize("asked_rank", [0, 1])
def test_a_signal_while_the_loaders_are_made(source: Path, tmp_path: Path, asked_rank: int) -> None:
    """Lightning would have ended both with status 0, or have kept one waiting for the other for ever."""
    asked = at_call(SceneDataModule, "train_dataloader", 1, _to_itself(signal.SIGTERM))  # type: ignore[arg-type]
    args = _fit(source, tmp_path, "--trainer.devices", 2, "--trainer.strategy", "ddp")
    statuses = run_ranks(args, tmp_path / "log.txt", 2, lambda rank: asked if rank == asked_rank else None)
    assert statuses == [STOPPED, STOPPED], (tmp_path / "log-0.txt").read_text()[-3000:]
    assert _newest(tmp_path) == 1


def test_a_signal_that_was_noted_before_the_wait_for_the_others_ends_it() -> None:
    def waits() -> None:
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        with signals.answered(), signals.deferred(), signals.meeting(lambda number: 40 + (number == signal.SIGTERM)):
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.requested()
            store.wait(["nobody"], timedelta(seconds=60))

    process: BaseProcess = FORK.Process(target=waits)
    process.start()
    with killed_at_the_end(process):
        assert ended(process, 20) == 41


def _when(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_signal_leaves_at_once(source: Path, tmp_path: Path) -> None:
    """In a step that takes a minute."""
    log, here = tmp_path / "log.txt", tmp_path / "here"

    def stuck() -> None:
        here.touch()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.05)

    process = start(_fit(source, tmp_path), log, prepare=at_call(SceneModule, "training_step", 2, stuck))
    with killed_at_the_end(process):
        _when(here.exists)
        os.kill(process.pid or 0, signal.SIGTERM)
        os.kill(process.pid or 0, signal.SIGTERM)  # the same one, by another way
        process.join(signals.SAME_SIGNAL_SECONDS + 0.5)
        assert process.exitcode is None
        os.kill(process.pid or 0, signal.SIGINT)
        assert ended(process, 5) == 128 + signal.SIGINT
    assert "leaving at once" in log.read_text()


@pytest.mark.parametrize("twice", [False, True])
def test_a_process_that_waits_for_the_others_hears_signals_too(source: Path, tmp_path: Path, twice: bool) -> None:
    """Rank 1 of 2, and nobody else: it waits within PyTorch for minutes, where no Python handler runs."""
    log, here = tmp_path / "log.txt", tmp_path / "here"
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(nobody.getsockname()[1]), "WORLD_SIZE": "2"}
        environment |= {"TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
        environment |= {"RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_USE_AGENT_STORE": "False"}
        wide = _fit(source, tmp_path, "--trainer.devices", 2, "--trainer.strategy", "ddp")
        alone = at_call(DDPStrategy, "setup_distributed", 1, here.touch)
        process = start(wide, log, environment=environment, prepare=alone)
        with killed_at_the_end(process):
            _when(here.exists)
            time.sleep(0.5)
            os.kill(process.pid or 0, signal.SIGTERM)
            if twice:
                time.sleep(signals.SAME_SIGNAL_SECONDS + 0.1)
                os.kill(process.pid or 0, signal.SIGTERM)
            assert ended(process, 20) == (128 + signal.SIGTERM if twice else STOPPED)
    assert ("leaving at once" if twice else "before all processes had met") in log.read_text()


def test_in_a_job_one_signal_may_come_by_several_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    alone = signals.same_signal_seconds()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert signals.same_signal_seconds() > alone == signals.SAME_SIGNAL_SECONDS


def _children(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").iterdir() for p in (task / "children").read_text().split()]


def _family(pid: int) -> list[int]:
    return [pid, *(one for child in _children(pid) for one in _family(child))]


@pytest.mark.parametrize("everybody", [True, False])
def test_loader_processes_outlast_a_signal_and_nothing_outlasts_the_training(
    source: Path, tmp_path: Path, everybody: bool
) -> None:
    """SIGTERM to the whole group, as by a scheduler; SIGKILL to the training alone. It has a forkserver of its own."""
    number = signal.SIGTERM if everybody else signal.SIGKILL
    log, family = tmp_path / "log.txt", tmp_path / "family"

    def prepare() -> None:
        from multiprocessing import forkserver

        forkserver._forkserver.__init__()  # type: ignore[attr-defined, misc]

        def to_all() -> None:
            family.write_text(" ".join(map(str, _family(os.getpid()))))
            os.killpg(0, number) if everybody else os.kill(os.getpid(), number)

        at_call(SceneModule, "training_step", 2, to_all)()

    status = run(_fit(source, tmp_path, "--data.num_workers", 2), log, prepare=prepare)
    if number == signal.SIGKILL:
        assert status == -number
    else:
        assert status == STOPPED, log.read_text()[-3000:]
        assert _newest(tmp_path) == 2
    members = [int(pid) for pid in family.read_text().split()]
    assert len(members) >= 4  # itself, the server, two loaders
    _when(lambda: not any(_alive(pid) for pid in members), 20)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# -- the whole run -----------------------------------------------------------------------------------------------


def _run(root: Path, *stages: str) -> list[object]:
    return ["run", *stages, "--run", "toy", "--root", root, "--preset", "toy", "--stages", STAGES, "--seed", 3]


def test_a_run_leaves_while_it_generates_and_goes_on(tmp_path: Path) -> None:
    """Lightning would have noted the signal and gone on to the end."""
    log = tmp_path / "log.txt"
    asked = at_call(SceneModule, "predict_step", 2, _to_itself(signal.SIGTERM))  # type: ignore[arg-type]
    assert run(_run(tmp_path, "stage1"), log, prepare=asked) == STOPPED, log.read_text()[-3000:]
    assert (tmp_path / "toy" / "scene" / "model.ckpt").exists()
    assert not (tmp_path / "toy" / "scenes.h5").exists()
    assert len(list((tmp_path / "toy" / "scenes.shards").glob("*.h5"))) == 1
    assert run(_run(tmp_path, "stage1"), log) == 0, log.read_text()[-3000:]
    text = log.read_text()
    assert "scene: nothing to do" in text
    assert "scenes: going on where it stopped" in text


# -- SLURM -------------------------------------------------------------------------------------------------------


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands in for SLURM's; writes down what it was called with."""
    tool, calls = tmp_path / "bin" / "scontrol", tmp_path / "calls"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\nexit ${{SCONTROL_STATUS:-0}}\n')
    tool.chmod(0o755)
    calls.touch()
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_PROCID", "RANK", "LOCAL_RANK", requeue.SWITCH):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.mark.parametrize(
    ("number", "environment", "called"),
    [
        (signal.SIGUSR1, {"SLURM_JOB_ID": "7"}, "requeue 7\n"),
        (signal.SIGUSR1, {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "requeue 7_3\n"),
        (signal.SIGUSR1, {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}, "requeue 7\n"),
        (signal.SIGUSR1, {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1"}, ""),
        (signal.SIGUSR1, {"SLURM_JOB_ID": "7", requeue.SWITCH: "0"}, ""),
        (signal.SIGUSR1, {"SLURM_JOB_ID": "7", signals.STEP_VARIABLE: "1"}, ""),
        (signal.SIGUSR1, {}, ""),
        (signal.SIGTERM, {"SLURM_JOB_ID": "7"}, ""),
        (signal.SIGINT, {"SLURM_JOB_ID": "7"}, ""),
    ],
)
def test_the_first_process_requeues_its_job_once_its_time_limit_is_announced(
    scontrol: Path, monkeypatch: pytest.MonkeyPatch, number: int, environment: dict[str, str], called: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert requeue.requeue(number) == bool(called)
    assert scontrol.read_text() == called


def test_a_job_that_cannot_be_requeued_is_said_to_be(
    scontrol: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SCONTROL_STATUS", "1")
    assert not requeue.requeue(signal.SIGUSR1)
    assert "submit it again" in capsys.readouterr().err


def test_only_one_of_lightning_and_this_project_requeues(source: Path, tmp_path: Path, scontrol: Path) -> None:
    """A training under SLURM's variables: one call, although Lightning registers handlers of its own."""
    job = {"SLURM_JOB_ID": "41", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    job |= {"SLURM_NODEID": "0", "SLURM_JOB_NAME": "scene", "SLURM_NTASKS_PER_NODE": "1"}
    asked = at_call(SceneModule, "training_step", 2, _to_itself(signal.SIGUSR1))  # type: ignore[arg-type]
    log = tmp_path / "log.txt"
    assert run(_fit(source, tmp_path), log, environment=job, prepare=asked) == STOPPED, log.read_text()[-2000:]
    assert scontrol.read_text() == "requeue 41\n"
    assert _newest(tmp_path) == 2
    assert not list(tmp_path.rglob("hpc_ckpt*"))


def test_processes_that_lightning_started_leave_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "SLURM_PROCID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert requeue.left() == STOPPED
    signals.forget()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert requeue.left() == STOPPED  # or those whom it never met would wait for it
    signals.met()
    assert requeue.left() == 0
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    assert requeue.left() == STOPPED
    signals.forget()


def test_a_child_gets_the_signal_and_its_status_is_understood(tmp_path: Path) -> None:
    """As a step of a run with several devices; the shell leaves as a step does."""
    here = tmp_path / "here"
    script = f"trap 'exit {STOPPED}' TERM; touch '{here}'; while :; do sleep 0.05; done"

    def parent() -> None:
        signals.install()
        try:
            signals.run_child(["sh", "-c", script])
        except signals.Stopped:
            os._exit(STOPPED)
        os._exit(1)

    process: BaseProcess = FORK.Process(target=parent)
    process.start()
    with killed_at_the_end(process):
        _when(here.exists)
        os.kill(process.pid or 0, signal.SIGTERM)
        assert ended(process, 10) == STOPPED


def test_an_exception_from_a_signal_is_not_lost_where_it_was_swallowed() -> None:
    with signals.answered():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        except signals.Stopped:
            pass
        with pytest.raises(signals.Stopped, match="stopped by SIGTERM"):
            signals.raise_if_requested()
    assert signal.getsignal(signal.SIGUSR1) is not signals._asked


def test_generation_stops_at_its_batch_where_the_exception_was_swallowed() -> None:
    with signals.answered():
        with suppress(signals.Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        with pytest.raises(signals.Stopped):
            AnswersSignals().on_predict_batch_end(None, None)  # type: ignore[arg-type]


class Pool(ProcessPoolExecutor):
    """One process that has begun something that takes a minute; the parent is asked to stop when it gives it more."""

    def submit(self, *_: Any, **__: Any) -> Any:
        for _ in range(2):
            super().submit(time.sleep, 60)
        raise signals.Stopped(signal.SIGTERM)


@pytest.mark.parametrize("user", ["simulate", "measure"])
def test_nobody_waits_for_what_a_pool_has_begun(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    begun = time.monotonic()
    monkeypatch.setattr(simulate if user == "simulate" else parallel, "ProcessPoolExecutor", Pool)
    work: dict[str, Any] = {
        "simulate": lambda: simulate.simulate_clips(simulate.PhantomConfig(), 0, workers=1),
        "measure": lambda: parallel._pooled(len, range(3), 0, 1),  # type: ignore[arg-type]
    }
    with pytest.raises(signals.Stopped):
        next(work[user]())
    assert time.monotonic() - begun < 30
