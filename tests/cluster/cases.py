"""What is done to jobs of a real SLURM, and what must come of it; started by ``tests/cluster/run``.

Two chains of toy networks: one left alone, in a single process without SLURM; one submitted by ``stages/slurm/chain``
and disturbed in every stage. The second must complete, hold, and be equal to the first. A third run trains over two
nodes with a time limit that it reaches, and must be equal to two processes that torchrun starts. Prints a table;
ends with status 1 where anything is not so.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sfvd_pl.artifacts import file_hash, verify

ROOT = Path(__file__).resolve().parent.parent.parent
STAGES = ROOT / "tests" / "support" / "stages"
SETTINGS = "--scene.trainer.max_steps 30 --motion.trainer.max_steps 30 --guide.trainer.max_steps 20"
SETTINGS += " --augment.plan.num_clips 16 --segment.arms [real,synthetic]"
TRAININGS = ("scene", "motion", "guide")
SETTINGS += "".join(f" --{name}.checkpoint.every_n_train_steps 1" for name in TRAININGS)
SMALL = ["--cpus-per-task=1", "--ntasks-per-node=1", "--gpus-per-node=1", "--time=60"]
COMPARED = ["source.h5", "scene/model.ckpt", "scenes.h5", "motion/model.ckpt", "motions.h5", "guide/model.ckpt"]
COMPARED += ["gate/model.ckpt", "synthetic.h5", "segment/real/model.ckpt", "segment/synthetic/model.ckpt"]
COMPARED += ["segmentation.h5", "evaluator/model.ckpt"]
PATIENCE = 1200.0
"""Seconds that anything may take on a machine that others use too."""


class CaseError(Exception):
    """A case did not end as it must."""


def call(*command: str, **environment: str) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False)
    if done.returncode:
        raise CaseError(f"{' '.join(command)}: status {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


def until(what: str, holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise CaseError(f"waited {seconds:.0f} s for: {what}")
        time.sleep(0.2)


def states(job: str) -> list[str]:
    """State of a job, or of each task of an array; remembered by the controller for minutes after its end."""
    return re.findall(r"JobState=(\S+)", call("scontrol", "show", "job", job))


def running(job: str) -> bool:
    """Whether it runs."""
    found = states(job)
    if set(found) & {"FAILED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "OUT_OF_MEMORY"}:
        raise CaseError(f"job {job}: {found}")
    return "RUNNING" in found


def ended_well(job: str) -> bool:
    """Whether it has completed."""
    found = states(job)
    if set(found) & {"FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"}:
        raise CaseError(f"job {job}: {found}")
    return set(found) == {"COMPLETED"}


def nodes_of(job: str) -> str:
    """Where it runs."""
    return re.findall(r"\bNodeList=(\S+)", call("scontrol", "show", "job", job))[0]


def descendants(processes: Iterable[int]) -> list[int]:
    """Processes and all that they have started."""
    pairs = [line.split() for line in call("ps", "-e", "-o", "ppid=,pid=").splitlines()]
    found = list(processes)
    for process in found:
        found += [int(child) for parent, child in pairs if int(parent) == process]
    return found


class Cases:
    """The two runs and the table.

    Args:
        folder: Where everything is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[tuple[str, str, str]] = []
        self.failed = False
        self.beside: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True)
        site = folder / "site.sh"
        self.environment = {"RUN": "slurm", "PRESET": "toy", "SEED": "3", "ROOT": str(folder), "SITE": str(site)}
        self.environment |= {"SFVD": f"{sys.executable} -m sfvd_pl", "ARGS": f"--stages {STAGES} {SETTINGS}"}
        # As a site would: what its machines need is read from a file of its own.
        paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        site.write_text(f"export PYTHONPATH={paths}\n")
        self.logs = [f"--output={folder}/%x-%j.log"]

    def row(self, case: str, seen: str, result: str) -> None:
        """One line of the table, said at once."""
        self.rows.append((case, seen, result))
        print(f"   {case}: {seen}: {result}", flush=True)

    def log(self, stage: str) -> str:
        """All that a stage's jobs have said."""
        return "".join(path.read_text() for path in sorted(self.folder.glob(f"sfvd-{stage}-*.log")))

    def steps(self, run: str, training: str) -> int:
        """Optimiser steps that a training's newest checkpoint holds."""
        names = (self.folder / run / training / "checkpoints").glob("step-*.ckpt")
        return max((int(path.stem.partition("-")[2]) for path in names), default=0)

    def plain(self, run: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """``sfvd run`` without SLURM."""
        command = [sys.executable, "-m", "sfvd_pl", "run", *arguments, "--run", run, "--root", str(self.folder)]
        command += ["--preset", "toy", "--stages", str(STAGES), "--seed", "3", *SETTINGS.split()]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), environment.get("PYTHONPATH", "")])
        log = (self.folder / f"{run}.log").open("w")
        self.beside.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment))
        return self.beside[-1]

    def end(self) -> None:
        """Nothing that was started without SLURM outlasts this."""
        for process in self.beside:
            if process.poll() is None:
                process.kill()

    # -- the chain -------------------------------------------------------------------------------------------

    def chain(self) -> None:
        """Submit it and disturb every stage."""
        alone = self.plain("alone", "stage1", "stage2", "augment", "segment")
        told = call("stages/slurm/chain", *SMALL, *self.logs, **self.environment, AUGMENT="--array=0-2")
        jobs = dict(zip(told.split()[::2], told.split()[1::2], strict=True))
        self.row("stages/slurm/chain", told, "submitted")
        self.time_limit(jobs["stage1"])
        self.requeued(jobs["stage1"], "stage1", "scene")
        until("stage1", lambda: ended_well(jobs["stage1"]))
        self.drained(jobs["stage2"])
        self.node_lost(jobs["stage2"])
        until("stage2", lambda: ended_well(jobs["stage2"]))
        self.array_killed(jobs["augment"])
        until("segment", lambda: ended_well(jobs["segment"]))
        if "augment: going on where it stopped" not in self.log("segment"):
            raise CaseError("the last job did not go on with the clips")
        self.row("segment", "went on with the clips, then its own work", "COMPLETED")
        if alone.wait(PATIENCE):
            raise CaseError(f"the undisturbed run failed: {(self.folder / 'alone.log').read_text()[-2000:]}")
        self.compare("slurm", "alone", COMPARED)
        self.same_figures("slurm", "alone")

    def again(self, job: str, training: str, stage: str, before: int, case: str, seen: str) -> None:
        """A job was put back into the queue: it must start and go on behind a step that was saved."""
        until(f"{job} to be queued", lambda: "PENDING" in states(job) or running(job))
        pattern = re.compile(r"going on behind optimiser step (\d+)")
        had = len(pattern.findall(self.log(stage)))
        until(f"{training} to go on", lambda: len(pattern.findall(self.log(stage))) > had or ended_well(job))
        steps = [int(step) for step in pattern.findall(self.log(stage))]
        if len(steps) == had or steps[-1] < before:
            raise CaseError(f"{case}: expected to go on behind step {before} or later; found {steps}")
        self.row(case, seen, f"went on behind step {steps[-1]} of {training}, on {nodes_of(job)}")

    def requeued(self, job: str, stage: str, training: str) -> None:
        """``scontrol requeue`` in the middle of a training."""
        until(f"{training} to train", lambda: self.steps("slurm", training) >= 2)
        before = self.steps("slurm", training)
        call("scontrol", "requeue", job)
        self.again(job, training, stage, before, "scontrol requeue", f"at step {before} of {training}")

    def drained(self, job: str) -> None:
        """A node is drained, its job sent elsewhere; it must go on there, and nothing may start on the drained one."""
        before, node = self.held(job, "motion"), nodes_of(job)
        call("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
        time.sleep(2)
        if not set(states(job)) & {"RUNNING", "STOPPED"}:  # held, it's the latter
            raise CaseError(f"draining {node} ended job {job}: {states(job)}")
        call("scontrol", "requeue", job)
        self.again(job, "motion", "stage2", before, "node drained, job requeued", f"{node} at step {before} of motion")
        if nodes_of(job) == node:
            raise CaseError(f"the job runs on {node}, which is drained")
        call("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def held(self, job: str, training: str, run: str = "slurm") -> int:
        """Stop a training in its first steps, which toy networks have soon done; returns the last that was saved."""
        until(f"{training} to train", lambda: self.steps(run, training) >= 2)
        call("scancel", "--signal=STOP", job)
        return self.steps(run, training)

    def near_its_limit(self, job: str) -> None:
        """Give a held job what its signal comes ahead of the limit, five minutes; it must requeue itself.

        The controller looks for such jobs twice a minute.
        """
        call("scontrol", "update", f"JobId={job}", "TimeLimit=5")
        time.sleep(40)
        call("scancel", "--signal=CONT", job)
        until("the job to requeue itself", lambda: "PENDING" in states(job))
        call("scontrol", "update", f"JobId={job}", "TimeLimit=60")

    def time_limit(self, job: str) -> None:
        """The limit comes near: USR1, and the job puts itself back."""
        before = self.held(job, "guide")
        self.near_its_limit(job)
        log = self.log("stage1")
        if "stopped by SIGUSR1" not in log or "was requeued" not in log:
            raise CaseError(f"no word of SIGUSR1 and requeueing: {log[-2000:]}")
        seen = f"at step {before} of guide, requeued itself"
        self.again(job, "guide", "stage1", before, "time limit near (USR1)", seen)

    def node_lost(self, job: str) -> None:
        """A node loses its power: SLURM's daemon and all that it has started are gone without a word."""
        before, node = self.held(job, "gate"), nodes_of(job)
        configuration = Path(os.environ["SLURM_CONF"])
        daemon = int((configuration.parent / f"slurmd-{node}.pid").read_text())
        steps = call("pgrep", "--full", rf"^slurmstepd: \[{job}\.").split()
        for process in (daemon, *descendants(int(step) for step in steps)):
            os.kill(process, signal.SIGKILL)
        until(f"{node} to be missed", lambda: "down" in call("sinfo", "--noheader", "--node", node, "--format=%T"))
        self.again(job, "gate", "stage2", before, "node lost", f"{node} at step {before} of gate")
        if nodes_of(job) == node:
            raise CaseError(f"the job runs on {node}, which is down")
        call("slurmd", "-f", str(configuration), "-N", node)
        until(f"{node} to be back", lambda: "down" not in call("sinfo", "--noheader", "--node", node, "--format=%T"))

    def array_killed(self, job: str) -> None:
        """All tasks of the array end early: by SIGKILL, and by scancel."""
        shards = self.folder / "slurm" / "synthetic.shards"
        until("two shards", lambda: len(list(shards.glob("shard-*.h5"))) >= 2)
        made = len(list(shards.glob("shard-*.h5")))
        subprocess.run(["scancel", "--full", "--signal=KILL", f"{job}_0"], check=False)
        subprocess.run(["scancel", job], check=False)
        until("the array to end", lambda: not set(states(job)) & {"RUNNING", "PENDING", "COMPLETING"})
        found = ", ".join(sorted(states(job)))
        self.row("array's tasks killed", f"with {made} of 8 shards made", found)

    def compare(self, run: str, reference: str, names: Sequence[str]) -> None:
        """Every artifact holds and is the undisturbed one."""
        for name in names:
            made, expected = self.folder / run / name, self.folder / reference / name
            problems = verify(made) if made.suffix == ".h5" else []
            equal = file_hash(made) == file_hash(expected)
            self.failed |= bool(problems) or not equal
            held = "; ".join(problems) or ("holds" if made.suffix == ".h5" else "loads")
            self.row(f"{run}/{name}", held, f"equal to {reference}'s" if equal else f"DIFFERS from {reference}'s")

    def same_figures(self, run: str, reference: str) -> None:
        """All that the report measures is the same; names, times and what names files are not."""
        paths = (self.folder / name / "report" / "metrics.json" for name in (run, reference))
        made, expected = (json.loads(path.read_text()) for path in paths)
        named = {"run", "stages"}
        different = sorted(k for k in (made.keys() | expected.keys()) - named if made.get(k) != expected.get(k))
        self.failed |= bool(different)
        seen = f"{len(made.keys() - named)} sections"
        result = f"{', '.join(different)} DIFFER" if different else f"equal to {reference}'s"
        self.row(f"{run}/report/metrics.json", seen, result)

    # -- two nodes -------------------------------------------------------------------------------------------

    def two_nodes(self) -> None:
        """A training over two nodes reaches its time limit; its equal is two processes of torchrun."""
        torchrun = f"{Path(sys.executable).with_name('torchrun')} --nproc-per-node 2 --no-python"
        beside = self.plain("beside", "stage1", "--devices", "2", "--launcher", torchrun)
        options = [*SMALL, *self.logs, "--nodes=2", "--job-name=sfvd-wide"]
        environment = self.environment | {"RUN": "wide"}
        job = call("sbatch", "--parsable", *options, "stages/slurm/stage1.sbatch", **environment)
        before, where = self.held(job, "scene", "wide"), nodes_of(job)
        self.near_its_limit(job)
        self.again(job, "scene", "wide", before, "two nodes, time limit near", f"at step {before} of scene, on {where}")
        until("stage1 on two nodes", lambda: ended_well(job))
        if beside.wait(PATIENCE):
            raise CaseError(f"the run of two processes failed: {(self.folder / 'beside.log').read_text()[-2000:]}")
        self.compare("wide", "beside", ["source.h5", "scene/model.ckpt", "scenes.h5"])

    def table(self) -> None:
        """All rows."""
        widths = [max(len(row[column]) for row in self.rows) for column in range(2)] if self.rows else [0, 0]
        for case, seen, result in self.rows:
            print(f"| {case:<{widths[0]}} | {seen:<{widths[1]}} | {result}")


def main() -> int:
    """Run the cases that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("case", nargs="*", help="chain, two_nodes; both without")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cases = Cases(chosen.folder)
    for name in chosen.case or ("chain", "two_nodes"):
        try:
            getattr(cases, name)()
        except CaseError as error:
            cases.failed = True
            cases.row(name, "did not end as it must", str(error))
            print("\n".join(f"-- {p.name}\n{p.read_text()[-3000:]}" for p in sorted(cases.folder.glob("*.log"))))
        finally:
            cases.end()
    cases.table()
    return int(cases.failed)


if __name__ == "__main__":
    sys.exit(main())
