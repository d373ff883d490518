"""Digests of files and of the code itself."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from sfvd_pl.artifacts import file_hash

__all__ = ["code_hash", "file_hash"]

PACKAGE = Path(__file__).resolve().parent.parent


PRESENTATION = (
    "cli", "export/", "report", "metrics/quality", "sources/check", "pipeline/check.py", "pipeline/report",
    "pipeline/note.py", "pipeline/run.py", "pipeline/settings.py", "pipeline/source.py", "pipeline/steps.py",
    "pipeline/study.py", "pipeline/summary.py", "pipeline/presets.py",
)  # fmt: skip
"""Code that decides how things are asked for, judged and shown, not what comes out of a model."""


MEASURING = (
    "artifacts/", "datasets/", "diffusion/", "metrics/", "modules/", "networks/", "pipeline/evaluation/",
    "pipeline/inference.py", "tensors.py",
)  # fmt: skip
"""Code that decides what a measure of given clips is."""


@lru_cache(maxsize=2)
def code_hash(*, presentation: bool = False) -> str:
    """SHA-256 of the package's Python files.

    Args:
        presentation: Include the code in ``PRESENTATION``, a change of which need not train anything anew.
    """
    return _digest(lambda name: presentation or not name.startswith(PRESENTATION))


@lru_cache(maxsize=1)
def measuring_hash() -> str:
    """SHA-256 of the code in ``MEASURING`` and of the versions of the libraries that it calculates with."""
    libraries = [f"{name} {version(name)}" for name in ("numpy", "scipy", "scikit-image", "torch", "monai")]
    code = _digest(lambda name: name.startswith(MEASURING))
    return hashlib.sha256("\n".join([code, *libraries]).encode()).hexdigest()


def _digest(included: Callable[[str], bool]) -> str:
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if included(name):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
