"""Digests of files and of the code itself."""

import hashlib
from functools import lru_cache
from pathlib import Path

from sfvd_pl.artifacts import file_hash

__all__ = ["code_hash", "file_hash"]

PACKAGE = Path(__file__).resolve().parent.parent


PRESENTATION = (
    "cli", "export/", "report", "metrics/quality", "sources/check", "pipeline/check.py", "pipeline/report.py",
    "pipeline/run.py", "pipeline/steps.py", "pipeline/presets.py",
)  # fmt: skip
"""Code that decides how things are asked for, judged and shown, not what comes out of a model."""


@lru_cache(maxsize=2)
def code_hash(*, presentation: bool = False) -> str:
    """SHA-256 of the package's Python files.

    Args:
        presentation: Include the code in ``PRESENTATION``, a change of which need not train anything anew.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if presentation or not name.startswith(PRESENTATION):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
