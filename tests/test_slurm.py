"""The job scripts: their syntax, what they ask of SLURM, and every command that they start.

SLURM itself is stood in for by scripts that write down how they were called; tests/cluster/run has a real one.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sfvd_pl.cli.chain import _run_parser
from sfvd_pl.pipeline.presets import parse_overrides
from sfvd_pl.pipeline.settings import STAGES, STEPS

ROOT = Path(__file__).resolve().parent.parent
SLURM = ROOT / "stages" / "slurm"
JOBS = sorted(SLURM.glob("*.sbatch"))
SCRIPTS = [*JOBS, SLURM / "chain", SLURM / "launch", SLURM / "settings.sh", ROOT / "tests" / "cluster" / "run"]
OPTIONS = {
    "job-name": r"sfvd-[a-z0-9]+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "gpus-per-node": r"\d+",
    "cpus-per-task": r"\d+",
    "time": r"\d\d:00:00",
    "requeue": "",
    "signal": r"B:USR1@\d+",
    "open-mode": "append",
    "output": r"%x-(%j|%A_%a)\.log",
    "array": r"0-\d+",
}
"""Options of sbatch that the scripts may use (sbatch --help of 22.05), and their values."""
EXPECTED = {"stage1": ["stage1"], "stage2": ["stage2", "guides"], "augment": ["clips"]}
EXPECTED["segment"] = ["clips", "segment"]


def stand_in(folder: Path, name: str, then: str = "") -> Path:
    """A command that appends its arguments, as one line of JSON, to ``calls``; returns that file."""
    folder.mkdir(exist_ok=True)
    script = f"#!{sys.executable} -IS\nimport json, sys\n"
    script += f"open({str(folder / 'calls')!r}, 'a').write(json.dumps(sys.argv) + '\\n')\n{then}\n"
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)
    return folder / "calls"


def shell(script: Path, *args: str, cwd: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
    return subprocess.run(
        ["bash", str(script), *args], cwd=cwd, env=clean | environment, capture_output=True, text=True, check=False
    )


def calls(path: Path) -> list[list[str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_syntax(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if script.suffix not in (".sbatch", ".sh"):
        assert os.access(script, os.X_OK)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script: Path) -> None:
    done = subprocess.run(["shellcheck", "-x", str(script)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_what_a_job_asks_of_slurm(job: Path) -> None:
    lines = job.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    first = next(number for number, line in enumerate(lines) if number and not line.startswith("#SBATCH"))
    asked = dict(re.fullmatch(r"#SBATCH --([a-z-]+)=?(.*)", line).groups() for line in lines[1:first])  # type: ignore[union-attr, misc]
    assert not any("#SBATCH" in line for line in lines[first:])  # sbatch reads none behind the first command
    for option, value in asked.items():
        assert re.fullmatch(OPTIONS[option], value), option
    assert asked["job-name"] == f"sfvd-{job.stem}"
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]  # a process for each device
    # Without these three a job isn't put back, doesn't save before its limit, or loses the log of its first attempt.
    assert {"requeue", "signal", "open-mode"} <= asked.keys()
    assert ("%A_%a" in asked["output"]) == ("array" in asked)


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_the_command_of_a_job_parses(job: Path, tmp_path: Path) -> None:
    made = stand_in(tmp_path / "bin", "sfvd")
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_ID": "7"}
    run = {"RUN": "mine", "PRESET": "tiny", "SEED": "5", "DATA": "/clips of mine", "ROOT": str(tmp_path)}
    settings = {"SFVD": str(tmp_path / "bin" / "sfvd"), "ARGS": "--scene.trainer.max_steps 9"}
    done = shell(job, **slurm, **run, **settings)
    assert done.returncode == 0, done.stderr
    assert "attempt 1" in done.stdout
    ((_, command, *arguments),) = calls(made)
    assert command == "run"
    known, rest = _run_parser().parse_known_args(arguments)
    assert parse_overrides(rest, STEPS) == {"scene": {"trainer": {"max_steps": 9}}}
    assert known.stage == EXPECTED[job.stem]
    assert set(known.stage) <= set(STAGES)
    assert (known.run, known.preset, known.seed, str(known.data)) == ("mine", "tiny", 5, "/clips of mine")
    assert (known.devices, known.nodes, known.launcher) == ("4", 2, ["stages/slurm/launch"])


def test_a_site_adds_what_it_needs(tmp_path: Path) -> None:
    told = "import os; print(os.environ['CONTAINER'], os.environ['SRUN_CPUS_PER_TASK'])"
    made = stand_in(tmp_path / "bin", "sfvd", told)
    (tmp_path / "site.sh").write_text(f"SFVD={tmp_path / 'bin' / 'sfvd'}\nCONTAINER='apptainer exec x.sif'\n")
    done = shell(SLURM / "stage1.sbatch", SITE=str(tmp_path / "site.sh"), SLURM_CPUS_PER_TASK="8")
    assert done.returncode == 0, done.stderr
    assert "apptainer exec x.sif 8" in done.stdout
    assert "--data" not in calls(made)[0]


@pytest.mark.parametrize(
    ("command", "wait"), [("scene fit --config x", "60"), ("scene predict --out a", "0"), ("augment --config x", "0")]
)
def test_launch_starts_the_command_by_srun(command: str, wait: str, tmp_path: Path) -> None:
    """Those that train need one another; of those that generate the last one may need long to merge."""
    made = stand_in(tmp_path / "bin", "srun")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    words = ["/venv/bin/python", "-m", "sfvd_pl", *command.split(), "a b"]
    assert shell(SLURM / "launch", *words, PATH=path, CONTAINER="", SRUN_OPTIONS="--mpi=none").returncode == 0
    assert shell(SLURM / "launch", *words, PATH=path, CONTAINER="apptainer exec x.sif").returncode == 0
    plain, contained = calls(made)
    assert f"--wait={wait}" in plain
    assert plain[plain.index("--mpi=none") + 1 :] == words
    assert contained[contained.index("apptainer") :] == ["apptainer", "exec", "x.sif", "python3", *words[1:]]


def _submitted(tmp_path: Path, *args: str, **environment: str) -> tuple[str, dict[str, list[str]]]:
    """What the chain submits; its jobs are numbered from 11, as by a federation (``11;cluster``)."""
    count = "print(f'{10 + sum(1 for _ in open(sys.argv[0].replace(\"sbatch\", \"calls\")))};here')"
    made = stand_in(tmp_path / "bin", "sbatch", count)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = shell(SLURM / "chain", *args, cwd=tmp_path, PATH=path, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, {Path(call[-1]).stem: call[1:-1] for call in calls(made)}


def test_the_chain_submits_each_stage_behind_the_one_before_it(tmp_path: Path) -> None:
    told, jobs = _submitted(tmp_path, "--partition=gpu", AUGMENT="--array=0-31 --time=1:00:00", STAGE1="--nodes=8")
    assert told == "stage1 11  stage2 12  augment 13  segment 14\n"
    assert list(jobs) == ["stage1", "stage2", "augment", "segment"]
    waits = {name: [word for word in words if word.startswith("--dependency")] for name, words in jobs.items()}
    assert waits == {
        "stage1": [],
        "stage2": ["--dependency=afterok:11"],
        "augment": ["--dependency=afterok:12"],
        "segment": ["--dependency=afterok:12,afterany:13"],
    }
    assert all("--partition=gpu" in words for words in jobs.values())
    assert jobs["augment"][-2:] == ["--array=0-31", "--time=1:00:00"]
    assert [name for name, words in jobs.items() if "--nodes=8" in words] == ["stage1"]
    assert all((SLURM / f"{name}.sbatch").exists() for name in jobs)


def test_a_chain_that_cannot_be_submitted_stops_there(tmp_path: Path) -> None:
    made = stand_in(tmp_path / "bin", "sbatch", "sys.exit('sbatch: error: invalid partition')")
    done = shell(SLURM / "chain", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode != 0
    assert "invalid partition" in done.stderr
    assert len(calls(made)) == 1
