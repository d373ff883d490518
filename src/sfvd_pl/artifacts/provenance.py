"""Where an artifact came from: seed, settings, parents, patients, and the code that made it."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sfvd_pl import __version__
from sfvd_pl.errors import ArtifactError


def canonical_json(value: object) -> str:
    """One text for one value: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        ArtifactError: the value can't be written as JSON.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            "a value can't be written as JSON",
            expected="dicts with text keys, lists, texts, finite numbers, booleans and None",
            found=str(error),
            remedy="turn paths and enumerations into text, and leave out numbers that aren't finite",
        ) from error


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 of the settings' canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(dict(config)).encode()).hexdigest()


@lru_cache(maxsize=8)
def git_commit(file: Path = Path(__file__)) -> str:
    """Commit of the checkout that tracks ``file``, with "-dirty" added when tracked files were changed.

    Returns "unknown" where there is no git, no commit, or the checkout around the file doesn't track it: the
    file is then installed inside somebody else's repository, whose commit says nothing about this code.
    """
    folder = file.resolve().parent
    if _git(folder, "ls-files", "--error-unmatch", file.name) is None:
        return "unknown"
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or "unknown"


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, None when it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _producer() -> str:
    return f"sfvd-pl {__version__}"


@dataclass(frozen=True)
class Provenance:
    """Where an artifact came from.

    Attributes:
        seed: Seed of the run that made it.
        config: Resolved settings of that run; only what JSON can hold. Kept as read back from JSON.
        parents: Content hash of every artifact and checkpoint it was made from, by name.
        patients: Everybody that anything in it was learned from. Kept sorted, without repeats.
        producer: Program and version.
        git_commit: Commit of the package's checkout, "unknown" where there is none.

    Raises:
        ArtifactError: settings that JSON can't hold, or a parent without a hash.
    """

    seed: int
    config: dict[str, Any]
    parents: dict[str, str]
    patients: tuple[str, ...]
    producer: str = field(default_factory=_producer)
    git_commit: str = field(default_factory=git_commit)

    def __post_init__(self) -> None:
        """Normalise, so that what is compared later is what was written."""
        for name, digest in self.parents.items():
            if not isinstance(digest, str) or not digest:
                raise ArtifactError(
                    "a parent of an artifact has no content hash",
                    key=f"parents[{name!r}]",
                    expected="the parent's content hash, a text",
                    found=repr(digest),
                    remedy="pass content_hash(path of the parent)",
                )
        if isinstance(self.patients, str):
            raise ArtifactError(
                "patients must be several names",
                key="patients",
                expected="a tuple of texts",
                found=repr(self.patients),
            )
        if not -(1 << 63) <= int(self.seed) < 1 << 63:
            raise ArtifactError(
                "the seed doesn't fit 64 bits", key="seed", expected="-2**63 to 2**63 - 1", found=self.seed
            )
        object.__setattr__(self, "seed", int(self.seed))
        object.__setattr__(self, "config", json.loads(canonical_json(dict(self.config))))
        object.__setattr__(self, "parents", dict(sorted(self.parents.items())))
        object.__setattr__(self, "patients", tuple(sorted({str(patient) for patient in self.patients})))

    def attributes(self) -> dict[str, str | int]:
        """The root attributes that carry the provenance, as they lie in the file."""
        return {
            "seed": self.seed,
            "producer": self.producer,
            "git_commit": self.git_commit,
            "config": canonical_json(self.config),
            "config_hash": config_hash(self.config),
            "parents": canonical_json(self.parents),
            "patients": canonical_json(list(self.patients)),
        }
