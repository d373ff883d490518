"""What ``sfvd run`` was asked for, left in the run for later commands."""

import json
import os
from typing import Any

from sfvd_pl.pipeline.steps import Run

NOTE = "run.json"


def note_run(run: Run, preset: str, seed: int, wandb: str) -> None:
    """Leave what a later report can't find out otherwise."""
    text = json.dumps({"preset": preset, "seed": seed, "wandb": wandb}, indent=1) + "\n"
    if run.path(NOTE).exists() and run.path(NOTE).read_text() == text:
        return
    partial = run.path(f".{NOTE}.partial-{os.getpid()}")
    partial.write_text(text)
    partial.replace(run.path(NOTE))


def read_note(run: Run) -> dict[str, Any]:
    """What was left; empty where nothing was."""
    try:
        noted = json.loads(run.path(NOTE).read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
