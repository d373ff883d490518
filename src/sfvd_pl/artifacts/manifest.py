"""What a folder of shards is to hold, kept beside the shards, and checking the folder against it."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvd_pl.artifacts.partial import partial_path
from sfvd_pl.artifacts.provenance import Provenance, canonical_json, config_hash
from sfvd_pl.artifacts.schema import Kind
from sfvd_pl.artifacts.store import Artifact
from sfvd_pl.artifacts.verify import check_artifact
from sfvd_pl.errors import ArtifactError

PATTERN = "shard-*.h5"
MANIFEST = "manifest.json"


def shard_name(ids: list[int]) -> str:
    """Name from the first and last id; other than consecutive ids are told apart by a digest of the list."""
    if not ids or min(ids) < 0:
        raise ArtifactError(
            "a shard needs sample ids", key="sample_ids", expected="at least one id, none negative", found=ids
        )
    name = f"shard-{ids[0]:08d}-{ids[-1]:08d}"
    if ids != list(range(ids[0], ids[0] + len(ids))):
        name += f"-{hashlib.sha256(str(ids).encode()).hexdigest()[:8]}"
    return f"{name}.h5"


def identity(provenance: Provenance, intensity_max: int) -> dict[str, Any]:
    """What all shards of one artifact have in common."""
    return {
        "config_hash": config_hash(provenance.config),
        "seed": provenance.seed,
        "parents": dict(provenance.parents),
        "patients": list(provenance.patients),
        "intensity_max": intensity_max,
    }


def foreign(expected: dict[str, Any], shard: Artifact) -> list[str]:
    """How a shard's identity differs from that of a run, one text each."""
    found = {
        "config_hash": shard.attrs.get("config_hash"),
        "seed": shard.attrs.get("seed"),
        "parents": shard.parents,
        "patients": list(shard.patients),
        "intensity_max": shard.attrs.get("intensity_max"),
    }
    return [
        f"{name}: this run has {value}; the shard has {found[name]}"
        for name, value in expected.items()
        if value != found[name]
    ]


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards is to hold.

    Attributes:
        kind: Kind of the artifact.
        identity: What all its shards have in common; see ``identity``.
        sample_ids: Every sample, in the order of the artifact.
        pieces: The samples of each shard. They are generated together, and what comes of a sample may depend in its
            last bits on those beside it: with fixed pieces a shard is the same whoever makes it.
    """

    kind: Kind
    identity: dict[str, Any]
    sample_ids: list[int]
    pieces: list[list[int]]


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Say what a folder of shards is to hold; replaces what was said before."""
    body = {**vars(manifest), "kind": manifest.kind.value}
    digest = hashlib.sha256(canonical_json(body).encode()).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    partial = partial_path(folder / MANIFEST)
    partial.write_text(json.dumps({**body, "sha256": digest}), encoding="utf-8")
    partial.replace(folder / MANIFEST)
    return folder / MANIFEST


def read_manifest(folder: Path) -> Manifest:
    """What a folder of shards is to hold.

    Raises:
        ArtifactError: It is missing, or was changed.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        digest = content.pop("sha256")
        if digest == hashlib.sha256(canonical_json(content).encode()).hexdigest():
            pieces = [[int(i) for i in piece] for piece in content["pieces"]]
            ids = [int(i) for i in content["sample_ids"]]
            return Manifest(Kind(content["kind"]), dict(content["identity"]), ids, pieces)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArtifactError, RecursionError) as error:
        found: object = error
    else:
        found = "content that doesn't fit its digest"
    raise ArtifactError(
        "the folder doesn't say which shards it is to hold",
        file=path,
        expected="the list of samples that the stage left",
        found=found,
        remedy="run the stage again: it goes on with the samples that are missing",
    )


def verify_shards(folder: str | os.PathLike[str], *, deep: bool = True, progress: bool = False) -> list[str]:
    """Check a folder of shards: each of them, that all belong together, and that none is missing.

    Args:
        folder: ``<artifact>.shards``.
        deep: As for ``verify``.
        progress: Show a progress bar for each shard.

    Returns:
        The problems found, one text each; empty when every sample is there.
    """
    folder = Path(folder)
    try:
        manifest = read_manifest(folder)
    except ArtifactError as error:
        return [str(error)]
    problems: list[str] = []
    holder: dict[int, str] = {}
    for path in sorted(folder.glob(PATTERN)):
        try:
            with Artifact.open_shard(path, manifest.kind) as shard:
                found = [*foreign(manifest.identity, shard), *check_artifact(shard, deep=deep, progress=progress)]
                ids = shard.column("clips/sample_id").tolist()
        except ArtifactError as error:
            problems.append(f"{path.name}: {error}")
            continue
        if path.name != shard_name(ids):
            found.append(f"expected the samples of its name; found those of {shard_name(ids)}")
        found += [f"sample {i}: lies in {holder[i]} as well" for i in ids if i in holder]
        holder |= dict.fromkeys(ids, path.name)
        problems += [f"{path.name}: {problem}" for problem in found]
    missing = [i for i in manifest.sample_ids if i not in holder]
    if missing:
        problems.append(f"samples: expected {len(manifest.sample_ids)}; missing {len(missing)}: {_spans(missing)}")
    return problems


def _spans(ids: Iterable[int]) -> str:
    """Consecutive numbers as spans: ``0 to 7, 12``."""
    spans: list[list[int]] = []
    for i in sorted(ids):
        if spans and i == spans[-1][1] + 1:
            spans[-1][1] = i
        else:
            spans.append([i, i])
    shown = [str(a) if a == b else f"{a} to {b}" for a, b in spans[:20]]
    return ", ".join(shown) + (", ..." if len(spans) > 20 else "")
