"""Results of measures on disk, found again by a digest of all that decides them."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfvd_pl.artifacts import canonical_json
from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.schema import SCHEMA_VERSION, validate_section


class Cache:
    """A folder with one file for each section, and one for each named array.

    Args:
        folder: Where; made when something is kept.
        code: Digest of the code that measures.
    """

    def __init__(self, folder: Path, code: str) -> None:
        self.folder = folder
        self.code = code

    def key(self, parts: object) -> str:
        """Digest of all that decides a result."""
        return hashlib.sha256(canonical_json([SCHEMA_VERSION, self.code, parts]).encode()).hexdigest()

    def section(self, name: str, parts: object) -> dict[str, Any] | None:
        """What was measured before; None where that is something else, or can't be relied on."""
        try:
            kept = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            if kept["key"] != self.key(parts) or kept["digest"] != _digest(kept["section"]):
                return None
            validate_section(name, kept["section"])
        except (OSError, ValueError, KeyError, TypeError, MetricsError):
            return None
        section: dict[str, Any] = kept["section"]
        return section

    def keep_section(self, name: str, parts: object, section: Mapping[str, Any]) -> None:
        """Keep a section, in JSON's own types, in place of an earlier one."""
        kept = {"key": self.key(parts), "digest": _digest(section), "section": section}
        text = json.dumps(kept, indent=1, allow_nan=False) + "\n"
        self._put(self.folder / f"{name}.json", lambda path: path.write_text(text, encoding="utf-8"))

    def array(self, name: str, depends: Sequence[str], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """An array from disk, or made and kept; see :meth:`EvaluationContext.stored`."""
        stem = "".join(c if c.isalnum() else "-" for c in name)
        path = self.folder / f"{stem}.{self.key(list(depends))[:24]}.npy"
        try:
            kept: NDArray[Any] = np.load(path, allow_pickle=False)
            return kept
        except (OSError, ValueError, EOFError):
            made = make()
        self._put(path, lambda partial: _save(partial, made))
        for other in self.folder.glob(f"{stem}.*.npy"):
            if other != path:
                other.unlink(missing_ok=True)
        return made

    def _put(self, path: Path, write: Callable[[Path], object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        try:
            write(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _save(path: Path, values: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def _digest(section: object) -> str:
    return hashlib.sha256(canonical_json(section).encode()).hexdigest()
