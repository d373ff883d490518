"""``sfvd wandb``: hand Weights & Biases what it lacks of runs on the disk."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sfvd_pl.errors import ConfigError, SfvdError
from sfvd_pl.modules.journal import JOURNAL, JOURNALS, read_lines
from sfvd_pl.modules.upload import uploaded


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sfvd wandb",
        description="Hand Weights & Biases what it lacks of the runs below some folders: of those that were trained "
        "offline, of killed ones, and of those that a server or a network has left. Each stage becomes one W&B run, "
        "however many attempts it took. It can be given again at any time; needs `wandb login` or WANDB_API_KEY.",
    )
    parser.add_argument("folder", nargs="+", type=Path, help="a run, one of its steps, or a folder of runs")
    return parser


def wandb(args: Sequence[str]) -> None:
    """Run ``sfvd wandb ARGS``.

    Raises:
        ConfigError: A folder has no journal.
        SfvdError: W&B has not taken everything; the rest can go on.
    """
    chosen = _parser().parse_args(list(args))
    journals: dict[Path, Path] = {}
    for folder in chosen.folder:
        found = sorted(folder.rglob(JOURNALS))
        if not found:
            raise ConfigError(
                "nothing was logged for W&B here",
                file=folder,
                expected=f"a folder with {JOURNAL} in or below it",
                remedy="train with --logging.wandb offline, online or auto, and without WANDB_MODE=disabled",
            )
        journals |= {path.resolve(): path for path in found}
    failed = [journal for journal in journals.values() if not _hand_over(journal)]
    if failed:
        raise SfvdError(
            f"W&B has not taken {len(failed)} of {len(journals)} runs",
            file=failed[0],
            remedy="see what it says above; nothing is lost, and the same command goes on",
        )


def _hand_over(journal: Path) -> bool:
    """One run, in a process of its own; whether W&B has all of it."""
    lines = len(read_lines(journal))
    if lines <= uploaded(journal):
        print(f"{journal.parent}: W&B has it", flush=True)
        return True
    print(f"{journal.parent}: {lines - 1} lines ...", flush=True)
    command = [sys.executable, "-m", "sfvd_pl.modules.upload", str(journal)]
    quiet = subprocess.DEVNULL if "WANDB_SILENT" not in os.environ else None
    return subprocess.run(command, stderr=quiet, check=False).returncode == 0
