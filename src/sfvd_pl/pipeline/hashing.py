"""Digests of files and of the code itself."""

import hashlib
from functools import lru_cache
from pathlib import Path

from sfvd_pl.artifacts import Artifact

PACKAGE = Path(__file__).resolve().parent.parent


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's bytes; of an artifact its content hash, which a rewrite with the same content keeps."""
    path = Path(path)
    if path.suffix == ".h5":
        return Artifact.open(path).content_hash
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PRESENTATION = ("cli", "report", "pipeline/report.py", "pipeline/run.py", "pipeline/steps.py", "pipeline/presets.py")
"""Code that decides how things are asked for and shown, not what comes out of a model."""


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
