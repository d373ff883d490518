"""Digests of files, and of the code that measures."""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from sfvd_pl.artifacts import file_hash

__all__ = ["file_hash", "measuring_hash"]

PACKAGE = Path(__file__).resolve().parent.parent
MEASURING = (
    "artifacts/", "datasets/", "diffusion/", "metrics/", "modules/", "networks/", "pipeline/evaluation/",
    "pipeline/inference.py", "tensors.py",
)  # fmt: skip
"""Code that decides what a measure of given clips is."""


@lru_cache(maxsize=1)
def measuring_hash() -> str:
    """SHA-256 of the code in ``MEASURING`` and of the versions of the libraries that it calculates with."""
    libraries = [f"{name} {version(name)}" for name in ("numpy", "scipy", "scikit-image", "torch", "monai")]
    digest = hashlib.sha256("\n".join(libraries).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(MEASURING):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
