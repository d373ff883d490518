"""An artifact's parents: where they usually lie, and whether they are still what it was made from."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from sfvd_pl.artifacts.schema import GENERATED_KINDS, Kind
from sfvd_pl.artifacts.store import Artifact, content_hash
from sfvd_pl.errors import ArtifactError

MODEL = "model.ckpt"
"""A finished model in a folder of a run."""


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes; of an artifact its content hash, which a rewrite with the same content keeps."""
    path = Path(path)
    if path.suffix == ".h5":
        return content_hash(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_parents(artifact: Artifact) -> dict[str, Path]:
    """Parents that lie where a run keeps them: artifacts beside the file, models in ``<stage>/model.ckpt``."""
    folder, found = artifact.path.absolute().parent, {}
    arms = {str(name) for name in artifact.column("arms/name")} if artifact.kind == Kind.SEGMENTATION else set()
    seed = artifact.path.stem.removeprefix("segmentation")
    for name in artifact.parents:
        stage = name.removesuffix("_ckpt").removesuffix(".ckpt")
        # an arm may be called as an artifact is: the arm "synthetic" is a segmenter
        places = [f"segment/{name}{seed}/{MODEL}"] if name in arms else [f"{name}.h5", f"{stage}/{MODEL}"]
        for place in places if Path(name).name == name else []:  # a name never leads out of the folder
            if (folder / place).is_file() and not (folder / place).samefile(artifact.path):
                found[name] = folder / place
                break
    return found


def check_parents(artifact: Artifact, parents: Mapping[str, Path]) -> list[str]:
    """Problems with an artifact's parents, one text each.

    Each must have the content hash that the artifact recorded. Where two of its parents have a parent of one name (the
    source), it must be one and the same; and whatever a generated parent was learned from, the artifact was too.

    Args:
        artifact: The artifact.
        parents: Their files by name, as far as they are at hand.
    """
    problems = []
    for name, path in parents.items():
        try:
            found = file_hash(path)
        except (ArtifactError, OSError) as error:
            problems.append(f"parents[{name!r}]: {error}")
            continue
        recorded = artifact.parents.get(name, "no parent of this name")
        if recorded != found:
            problems.append(f"parents[{name!r}]: made from {recorded}; {path} now holds {found}")
        elif path.suffix == ".h5":
            problems += _check_ancestry(artifact, name, Artifact.open(path))
    return problems


def _check_ancestry(artifact: Artifact, name: str, parent: Artifact) -> list[str]:
    problems = []
    for grandparent, digest in parent.parents.items():
        ours = artifact.parents.get(grandparent, digest)
        if ours != digest and grandparent != name:  # a parent's own parent may be called as it is
            problems.append(
                f"parents[{name!r}]: {parent.path} was made from the {grandparent} {digest}; "
                f"this artifact from {ours}"
            )
    forgotten = sorted(set(parent.patients) - set(artifact.patients)) if parent.kind in GENERATED_KINDS else []
    if forgotten:
        problems.append(
            f"patients: {parent.path} was learned from {', '.join(forgotten)}; this artifact doesn't say so"
        )
    return problems
