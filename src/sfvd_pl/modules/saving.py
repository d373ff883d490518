"""Checkpoint files: whole or not at all, the newest good one, no more of them than asked for."""

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from sfvd_pl.errors import CheckpointError, ConfigError
from sfvd_pl.modules.checkpoint import RECORD_KEY, damage
from sfvd_pl.signals import global_rank

CHECKPOINT_NAME = re.compile(r"step-(\d{8,})\.ckpt")
BEST = "best.ckpt"
PARTIAL = re.compile(r"\..*\.partial-\d+")


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its name, flushes it to the disk and renames it; reads weights and plain data only.

    Lightning's own way passes through the folder for temporary files, which may be another disk, and flushes nothing.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write it.

        Raises:
            CheckpointError: The disk is full or can't be written; what was there before still is.
        """
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
        except (OSError, RuntimeError) as error:  # PyTorch's writer reports a full disk as a RuntimeError
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise CheckpointError(
                "the checkpoint can't be written; the one before it is untouched",
                file=path,
                found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
                remedy="make room on the disk (or correct the folder's rights), then give the same command again",
            ) from error
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read it; nothing in it is executed."""
        return super().load_checkpoint(path, map_location, weights_only=True)


def write_model(checkpoint: dict[str, Any], path: Path) -> None:
    """The finished model without what only a training needs: the same bytes however often the training was cut off."""
    record = json.loads(json.dumps(checkpoint[RECORD_KEY]))
    model: dict[str, Any] = {RECORD_KEY: record, "pytorch-lightning_version": checkpoint["pytorch-lightning_version"]}
    model |= {key: int(checkpoint[key]) for key in ("epoch", "global_step")}
    for part in ("state_dict", "current_model_state"):
        if part in checkpoint:
            # New strings: pickle writes one that it has met before, by identity, as a reference.
            model[part] = {key.encode().decode(): value.clone() for key, value in checkpoint[part].items()}
    WholeFiles().save_checkpoint(model, path)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def step_of(path: Path) -> int:
    """Optimiser step that a checkpoint file is named after; -1 for other files."""
    match = CHECKPOINT_NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def checkpoint_path(folder: Path, step: int) -> Path:
    """Name of the checkpoint of a step."""
    return folder / f"step-{step:08d}.ckpt"


def saved_checkpoints(folder: Path) -> list[Path]:
    """A training's checkpoints, the newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if step_of(path) >= 0), key=step_of, reverse=True)


def newest_good(folder: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is whole; None where there is none at all.

    A damaged one is named, and kept under another name so that it is neither counted nor found again.

    Args:
        folder: Where they lie.
        warn: Told of each damaged one.

    Raises:
        CheckpointError: There are some, and all are damaged.
    """
    found = saved_checkpoints(folder)
    for path in found:
        broken = damage(path)
        if broken is None:
            return path
        aside = path.with_name(f"{path.name}.damaged")
        warn(f"the checkpoint {path} is damaged ({broken}); it is kept as {aside.name}, and the one before it is used")
        if global_rank() == 0:
            with suppress(OSError):
                path.rename(aside)
    if found:
        raise CheckpointError(
            "none of the training's checkpoints is whole",
            file=folder,
            expected="at least one whole checkpoint",
            found=f"{len(found)} damaged",
            remedy="restore one of them from a backup; or give the same command again, which starts from the beginning",
        )
    return None


def link_or_copy(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, in place of what bore it: no second writing where the disk knows links."""
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(source, partial)
    partial.replace(target)
    partial.unlink(missing_ok=True)  # still there where both were names of one file: then nothing is renamed
    sync_folder(target.parent)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process had begun to write."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def keep_newest(folder: Path, count: int) -> None:
    """Delete all but the newest checkpoints."""
    for path in saved_checkpoints(folder)[count:]:
        path.unlink(missing_ok=True)


def set_aside_later(folder: Path, step: int) -> Path | None:
    """Move checkpoints of later steps out of the way of a training that starts again before them; says where to."""
    later = [path for path in saved_checkpoints(folder) if step_of(path) > step]
    if not later:
        return None
    if step == 0 and (folder / BEST).exists():
        later.append(folder / BEST)
    number = 1
    while (target := folder.with_name(f"{folder.name}.previous-{number}")).exists():
        number += 1
    target.mkdir()
    for path in later:
        path.rename(target / path.name)
    return target


@contextmanager
def training_lock(run_dir: Path) -> Iterator[None]:
    """One training at a time in a folder; held by its first process, and gone with it however it ends.

    Raises:
        ConfigError: Another one is at work there.
    """
    if global_rank() != 0:
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".training.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                "another process is training in this folder",
                file=run_dir,
                remedy="wait for it, or choose another --run_dir",
            ) from error
        except OSError:
            pass  # a network disk without locks
        yield
