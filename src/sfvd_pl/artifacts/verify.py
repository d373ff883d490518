"""Checking that an artifact is what it says: structure, provenance, values, and every byte."""

import json
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
from tqdm import tqdm

from sfvd_pl.artifacts.columns import Column
from sfvd_pl.artifacts.hashing import ColumnDigest
from sfvd_pl.artifacts.layout import unpack
from sfvd_pl.artifacts.parents import check_parents
from sfvd_pl.artifacts.provenance import config_hash
from sfvd_pl.artifacts.rules import Array, check_table, check_values
from sfvd_pl.artifacts.schema import Kind
from sfvd_pl.artifacts.store import Artifact
from sfvd_pl.errors import ArtifactError


def verify(
    path: str | os.PathLike[str],
    *,
    deep: bool = True,
    parents: Mapping[str, Path] | None = None,
    progress: bool = False,
) -> list[str]:
    """Check an artifact.

    Args:
        path: The file.
        deep: Read all of it, hash every byte anew and check every pixel; else check the structure, the
            provenance and the tables only.
        parents: Files it should have been made from, by name; their content hashes are compared with those
            that it recorded.
        progress: Show a progress bar.

    Returns:
        The problems found, one text each; empty when the artifact holds.
    """
    try:
        with Artifact.open(path) as artifact:
            return [
                *check_artifact(artifact, deep=deep, progress=progress),
                *check_parents(artifact, parents or {}),
            ]
    except ArtifactError as error:
        return [str(error)]


def require_whole(path: str | os.PathLike[str], *, progress: bool = False) -> None:
    """Read all of an artifact before anything is made from it.

    Raises:
        ArtifactError: It doesn't hold; the error names the first problems.
    """
    problems = verify(path, progress=progress)
    if problems:
        raise ArtifactError(
            "an artifact does not hold",
            file=path,
            found="; ".join(problems[:3]),
            remedy="remove it and run the stage that makes it again",
        )


def check_artifact(artifact: Artifact, *, deep: bool, progress: bool = False) -> list[str]:
    """Problems of an opened artifact or shard; see ``verify``.

    Raises:
        ArtifactError: a column can't be read.
    """
    problems = _check_attributes(artifact)
    if problems:
        return problems
    schema = artifact.schema
    tables = {key: artifact.column(key) for key in artifact.keys if not schema.by_key[key].streamed}
    for key, values in tables.items():
        problems += check_values(schema.by_key[key], values, artifact.intensity_max)
        problems += _check_digest(artifact, key, ColumnDigest(), values)
    problems += check_table(artifact.kind, tables, artifact.dims)
    shown = set(tables.get("clips/background_patient", ())) - {"", *artifact.patients}
    if shown:
        problems.append(
            f"clips/background_patient: expected patients that the artifact names among its own; found {min(shown)}"
        )
    if deep:
        problems += _check_all_pictures(artifact, tables, progress)
    return problems


def _check_all_pictures(artifact: Artifact, tables: Mapping[str, Array], progress: bool) -> list[str]:
    """Read every column of pictures, side by side."""
    columns = [artifact.schema.by_key[key] for key in artifact.keys if artifact.schema.by_key[key].streamed]
    size, lock = sum(_stored_bytes(artifact, column) for column in columns), Lock()
    title = f"verify {artifact.path.name}"
    with tqdm(total=size, unit="B", unit_scale=True, desc=title, disable=not progress) as bar:

        def report(count: int) -> None:
            with lock:
                bar.update(count)

        with ThreadPoolExecutor(max(1, len(columns))) as pool:
            found = pool.map(lambda column: _check_pictures(artifact, column, tables, report), columns)
            return [problem for problems in found for problem in problems]


def _stored_bytes(artifact: Artifact, column: Column) -> int:
    facts = artifact.facts[column.key]
    *outer, width = facts.shape
    row = -(-width // 8) if column.packed else width * np.dtype(facts.dtype).itemsize
    return math.prod(outer) * row


def _check_attributes(artifact: Artifact) -> list[str]:
    """The provenance must be readable and agree with itself."""
    try:
        digest = config_hash(artifact.config)
        texts = [*artifact.parents.items(), *((name,) for name in artifact.patients)]
        maximum, _ = artifact.intensity_max, artifact.seed
    except (KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        return [f"attributes: expected seed, intensity_max, config, parents and patients; found {error!r}"]
    problems = []
    if artifact.attrs.get("config_hash") != digest:
        problems.append(f"config_hash: expected {digest}; found {artifact.attrs.get('config_hash')}")
    if not all(isinstance(text, str) for group in texts for text in group):
        problems.append("parents, patients: expected texts; found other values")
    if not 1 <= maximum <= 65535:
        problems.append(f"intensity_max: expected 1 to 65535; found {maximum}")
    return problems


def _check_digest(artifact: Artifact, key: str, digest: ColumnDigest, values: Array) -> list[str]:
    digest.update(values)
    return _compare_digest(artifact, key, digest)


def _compare_digest(artifact: Artifact, key: str, digest: ColumnDigest) -> list[str]:
    expected, found = artifact.facts[key].sha256, digest.hexdigest()
    if found == expected:
        return []
    return [f"{key}: the content was changed: expected SHA-256 {expected}; found {found}"]


def _check_pictures(
    artifact: Artifact, column: Column, tables: Mapping[str, Array], report: Callable[[int], None]
) -> list[str]:
    """Walk through a column of pictures once; a second thread hashes a block while the next one is read."""
    digest = ColumnDigest()
    problems: list[str] = []
    hashed: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as pool:
        for first, block in artifact.stored_blocks(column.key, buffers=2):
            if hashed is not None:
                hashed.result()
            hashed = pool.submit(digest.update, block)
            if not problems and column.packed:
                problems += _check_packed(column, block, artifact.facts[column.key].shape[-1], first)
                if column.key == "frames/wire_mask" and "frames/annotated" in tables:
                    problems += _check_annotated(block, tables["frames/annotated"][first : first + len(block)], first)
                if column.key == "frames/ignore":
                    problems += _check_ignore(artifact, block, tables, first)
            elif not problems:
                problems += check_values(column, block, artifact.intensity_max, first)
            report(block.nbytes)
    return [*problems, *_compare_digest(artifact, column.key, digest)]


def _check_packed(column: Column, masks: Array, width: int, first: int) -> list[str]:
    """Bits behind the last column of a row must be 0."""
    spare = (1 << (-width % 8)) - 1
    if not spare or not (masks[..., -1] & spare).any():
        return []
    row = first + int(np.argmax((masks[..., -1] & spare).any(axis=-1)))
    return [f"{column.key}: expected {width} columns; found pixels beyond them in row {row}"]


def _check_annotated(masks: Array, annotated: Array, first: int) -> list[str]:
    """Where a frame isn't annotated, its mask must be empty."""
    bare = np.flatnonzero(~annotated)
    drawn = bare[masks[bare].any(axis=(1, 2))]
    if len(drawn) == 0:
        return []
    row = first + int(drawn[0])
    return [f"frames/wire_mask: expected an empty mask where annotated is false; found pixels in row {row}"]


def _check_ignore(artifact: Artifact, stored: Array, tables: Mapping[str, Array], first: int) -> list[str]:
    """A wire pixel is never ignored; what lies beyond a synthetic clip's own size always is."""
    ignore = unpack(artifact.schema.by_key["frames/ignore"], stored, artifact.frame_shape[1])
    both = (ignore & artifact.rows("frames/wire_mask", first, first + len(ignore))).any(axis=(1, 2))
    if both.any():
        row = first + int(np.argmax(both))
        return [f"frames/ignore: expected 0 on the wire; found wire pixels that are ignored in row {row}"]
    sizes = ("clips/start", "clips/length", "clips/height", "clips/width")
    if artifact.kind != Kind.SYNTHETIC or not all(key in tables for key in sizes):
        return []
    for start, length, height, width in zip(*(tables[key] for key in sizes), strict=True):
        rows = slice(max(start - first, 0), max(start + length - first, 0))
        if not (ignore[rows, height:].all() and ignore[rows, :, width:].all()):
            return [f"frames/ignore: expected 1 beyond {height} rows and {width} columns in the clip of row {start}"]
    return []
