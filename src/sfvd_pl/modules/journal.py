"""What a run logs for Weights & Biases, kept in its folder whatever becomes of the network, the server or the process.

A file of lines of JSON: first whose W&B run it is, then one line for each call of the logger, in the order of the
calls. The number of a line, counted from 0, is W&B's ``_step`` of it, so whoever hands lines to W&B can tell from the
last step that the server has which ones it lacks. An attempt that repeats steps writes only what is not there yet.
"""

import errno
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

JOURNAL = "wandb.jsonl"
"""Name of the file in a run's folder."""
JOURNALS = "wandb*.jsonl"
"""It and those of trainings that were begun anew there."""
HEADER = "run"
ROW = {"kind", "step", "time", "content"}


class Journal:
    """The writing side; one process at a time, and nothing is touched before the first line.

    Args:
        folder: Where it lies, and what paths in it are relative to.
        run: What W&B is to know of the run (``project``, ``name``, ``group``, ...). It is drawn an ``id`` when the
            file begins; from then on all stays as it is in the file.
    """

    def __init__(self, folder: Path, run: Mapping[str, str | None]) -> None:
        self.path = folder / JOURNAL
        self._run = dict(run)
        self._descriptor: int | None = None
        self._forget()

    def _forget(self) -> None:
        """As if there were no line."""
        self._size = 0
        self._step = -1
        self._keys: set[str] = set()
        self._config = ""

    def append(self, kind: str, content: Mapping[str, Any], step: int | None = None) -> bool:
        """Add a line, unless it is there already.

        Args:
            kind: ``metrics``, ``images``, ``videos``, ``table`` or ``config``.
            content: What was logged, by its keys; numbers, texts, lists and mappings of them.
            step: The optimiser step that it belongs to, if any. Steps never go backwards: one that was left behind, by
                this attempt or an earlier one, is not written again, and of the last one only what is new.

        Returns:
            Whether there is a new line.

        Raises:
            OSError: The file can't be written; it ends with a whole line all the same.
            TypeError, ValueError: The content is not of that sort.
        """
        if self._descriptor is None:
            self._open()
        if step is not None and (
            step < self._step or (step == self._step and self._keys.issuperset(content))
        ):
            return False
        text = json.dumps(content, default=str if kind == "config" else float)
        if kind == "config" and text == self._config:
            return False
        self._write(
            json.dumps({"kind": kind, "step": step, "time": time.time()})[:-1] + f', "content": {text}}}\n'
        )
        self._learn(kind, content, step, text)
        return True

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def set_aside(self) -> Path | None:
        """Keep what is there under another name; the next line begins a new run.

        Returns:
            The other name; None where there was nothing.
        """
        self.close()
        self._forget()
        if not self.path.exists():
            return None
        number = 1
        while (aside := self.path.with_name(f"wandb.previous-{number}.jsonl")).exists():
            number += 1
        return self.path.rename(aside)

    def _write(self, line: str) -> None:
        """As a whole or not at all."""
        assert self._descriptor is not None
        data = line.encode()
        try:
            if os.write(self._descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)

    def _open(self) -> None:
        """Go on behind the last whole line, in a new file where there is none or it doesn't say whose it is."""
        lines = read_lines(self.path)
        if run_of(lines) is None:
            if self.path.exists():
                self.path.replace(self.path.with_name(f"{JOURNAL}.damaged"))
            self._begin()
            lines = read_lines(self.path)
        for row in filter(None, map(parsed, lines[1:])):
            self._learn(row["kind"], row["content"], row["step"], json.dumps(row["content"]))
        self._size = sum(len(line) for line in lines)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.ftruncate(self._descriptor, self._size)  # what a process that was killed may have left of a line

    def _begin(self) -> None:
        """A file with its first line, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{JOURNAL}.partial-{os.getpid()}")
        try:
            partial.write_text(json.dumps({HEADER: {"id": uuid4().hex[:12], **self._run}}) + "\n")
            partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)

    def _learn(self, kind: str, content: Mapping[str, Any], step: int | None, text: str) -> None:
        """What is there now."""
        if kind == "config":
            self._config = text
        if step is not None and step >= self._step:
            self._keys = set() if step > self._step else self._keys
            self._keys |= set(content)
            self._step = step


def read_lines(path: Path) -> list[bytes]:
    """The whole lines of a journal; none where there is no file."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def run_of(lines: list[bytes]) -> dict[str, Any] | None:
    """What the first line says of the W&B run; None where it says nothing."""
    run = parsed(lines[0]).get(HEADER) if lines else None
    return run if isinstance(run, dict) and run.get("id") else None


def parsed(line: bytes) -> dict[str, Any]:
    """A line's content; nothing of one that a disk has damaged."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) and (HEADER in content or ROW <= set(content)) else {}
