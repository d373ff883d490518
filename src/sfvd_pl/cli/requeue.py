"""The end of a command that was asked to stop: its exit status, and its return to SLURM's queue."""

import os
import signal
import subprocess
import sys

from sfvd_pl.signals import EXIT_STOPPED, STEP_VARIABLE, WORKER, global_rank, has_met

SWITCH = "SFVD_REQUEUE"
"""Set to 0, a job isn't requeued; whoever submitted it does so, or nobody."""


def left() -> int:
    """Exit status of a command that left in good order.

    Lightning kills a training at once if a process that it started itself ends with another status than 0, so those
    leave with 0 and the first process speaks for them. One that leaves before it has met the others must not: they
    would wait for it.
    """
    external = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    helper = os.environ.get("LOCAL_RANK", "0") not in ("", "0") and not external
    return 0 if helper and (has_met() or WORKER in os.environ) else EXIT_STOPPED


def leave(signum: int) -> int:
    """Put the job back where that is to be done; returns the exit status of a command that a signal stopped."""
    requeue(signum)
    return left()


def requeue(signum: int) -> bool:
    """Put this process's SLURM job back into the queue where SIGUSR1 announced its time limit; returns whether it did.

    ``#SBATCH --signal=USR1@SECONDS`` sends that signal. SIGTERM comes from ``scancel``, or from a preemption after
    which SLURM requeues the job by itself; neither must be answered with another requeueing.
    """
    job = os.environ.get("SLURM_JOB_ID")
    switched_off = os.environ.get(SWITCH) == "0"
    if signum != signal.SIGUSR1 or not job or switched_off or global_rank() != 0 or STEP_VARIABLE in os.environ:
        return False
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False, timeout=60)
        problem = (done.stderr.strip() or f"scontrol left with {done.returncode}") if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    said = f"could not be requeued ({problem}): submit it again" if problem else "was requeued"
    print(f"sfvd: the job {job} {said}", file=sys.stderr, flush=True)
    return not problem
