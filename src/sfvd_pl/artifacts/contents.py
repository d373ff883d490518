"""Opening an artifact's file: what it holds, checked against the schema without reading the pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from sfvd_pl.artifacts.columns import DTYPES, Column
from sfvd_pl.artifacts.hashing import Attributes, ColumnFacts, combine, seal
from sfvd_pl.artifacts.layout import layout_problem, logical_shape, read_attributes
from sfvd_pl.artifacts.schema import SCHEMA_VERSION, SCHEMAS, Kind, Schema
from sfvd_pl.errors import ArtifactError

DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, EOFError, MemoryError)
"""What HDF5 and its binding raise when they stumble over damaged bytes."""

REMAKE = "make the artifact again with the stage that writes it"
"""What to do about a broken artifact."""


@dataclass(frozen=True)
class Contents:
    """Everything that opening reads: the root attributes and the facts of each column."""

    kind: Kind
    attrs: dict[str, str | int | float | bool]
    columns: dict[str, ColumnFacts]
    dims: dict[str, int]


def open_hdf5(path: Path) -> Any:
    """Open a file for reading, with an error that says what to do."""
    if not path.is_file():
        raise ArtifactError(
            "there is no artifact of this name",
            file=path,
            found="a folder" if path.is_dir() else "nothing",
            remedy="run the stage that writes it, or correct the path",
        )
    try:
        return h5py.File(path, "r", driver="sec2")
    except DAMAGE as error:
        whole = h5py.is_hdf5(path)
        raise ArtifactError(
            "the file is truncated or damaged" if whole else "the file isn't an HDF5 file",
            file=path,
            expected="an artifact of this package",
            found=error,
            remedy=REMAKE
            if whole
            else "correct the path, or make the artifact with the stage that writes it",
        ) from error


def read_contents(path: Path, kind: Kind | None, *, shard: bool) -> Contents:
    """Read and check everything but the values; see ``Artifact.open``."""
    with open_hdf5(path) as file:
        try:
            attrs = _root_attributes(path, file)
            found = _check_root(path, attrs, kind, shard=shard)
            columns, odd = _columns(SCHEMAS[found], file, path.stat().st_size)
            sealed = seal(all_attributes(file))
        except DAMAGE as error:
            raise ArtifactError(
                "the file is damaged: its structure can't be read", file=path, found=error, remedy=REMAKE
            ) from error
    dims = _check_columns(path, SCHEMAS[found], columns, shard=shard)
    for key, problem in odd.items():
        raise ArtifactError(
            "the content doesn't lie in the file as an artifact's does",
            file=path,
            key=key,
            found=problem,
            remedy=REMAKE,
        )
    expected = combine(attrs, columns.values())
    if attrs.get("content_hash") != expected:
        raise ArtifactError(
            "an attribute or a column's digest was changed after the artifact was written",
            file=path,
            key="content_hash",
            expected=expected,
            found=attrs.get("content_hash", "nothing"),
            remedy=REMAKE,
        )
    if attrs.get("seal") != sealed:
        raise ArtifactError(
            "an attribute was changed after the artifact was written",
            file=path,
            key="the time of writing, or a column's or group's description",
            expected=f"seal {sealed}",
            found=attrs.get("seal", "no seal"),
            remedy=REMAKE,
        )
    return Contents(found, attrs, columns, dims)


def _root_attributes(path: Path, file: Any) -> dict[str, str | int | float | bool]:
    try:
        return read_attributes(file)
    except ValueError as error:
        raise ArtifactError(
            "this HDF5 file isn't an artifact of this package, or one of an older version, or was changed after "
            "the artifact was written",
            file=path,
            found=error,
            remedy=REMAKE,
        ) from error


def _check_root(path: Path, attrs: dict[str, Any], kind: Kind | None, *, shard: bool) -> Kind:
    if attrs.get("kind") not in set(Kind):
        raise ArtifactError(
            "this HDF5 file isn't an artifact of this package",
            file=path,
            key="kind",
            expected=f"one of {', '.join(Kind)}",
            found=attrs.get("kind", "no such attribute"),
            remedy="correct the path, or import the clips with `sfvd data import`",
        )
    if attrs.get("schema_version") != SCHEMA_VERSION:
        raise ArtifactError(
            "the artifact has another schema version",
            file=path,
            key="schema_version",
            expected=SCHEMA_VERSION,
            found=attrs.get("schema_version", "no such attribute"),
            remedy=f"{REMAKE}, or use the version that wrote it ({attrs.get('producer', 'unknown')})",
        )
    found = Kind(attrs["kind"])
    if kind is not None and found != kind:
        raise ArtifactError(
            "the artifact is of another kind",
            file=path,
            key="kind",
            expected=Kind(kind).value,
            found=found.value,
            remedy=f"pass the path of a {Kind(kind).value} artifact",
        )
    if bool(attrs.get("shard", 0)) != shard:
        raise ArtifactError(
            "this is one shard of an unfinished artifact"
            if not shard
            else "this is a whole artifact, not a shard",
            file=path,
            key="shard",
            remedy="run the stage again: it finishes the missing samples and merges the shards",
        )
    return found


def _datasets(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found


def all_attributes(file: Any) -> dict[str, Attributes]:
    """Every attribute in an open file, by the object that carries it; "" is the root."""
    found: dict[str, Attributes] = {"": read_attributes(file)}

    def visit(name: str, item: Any) -> None:
        found[name] = read_attributes(item)

    file.visititems(visit)
    return found


def _columns(schema: Schema, file: Any, size: int) -> tuple[dict[str, ColumnFacts], dict[str, str]]:
    """Facts of every dataset, and what is wrong with the way it lies in the file. No value is read."""
    datasets = _datasets(file)
    facts = {key: _column_facts(key, dataset, schema.by_key.get(key)) for key, dataset in datasets.items()}
    odd = {"user block": f"{file.userblock_size} bytes before the content"} if file.userblock_size else {}
    for key in sorted(set(datasets) & set(schema.keys)):
        problem = layout_problem(schema.by_key[key], datasets[key], size)
        if problem is not None:
            odd[key] = problem
    return facts, odd


def _column_facts(key: str, dataset: Any, column: Column | None) -> ColumnFacts:
    text = h5py.check_string_dtype(dataset.dtype) is not None
    carried = read_attributes(dataset)
    attrs = {name: str(carried.get(name, "")) for name in ("axes", "unit", "range", "sha256")}
    dtype = "str" if text else str(dataset.dtype.name)
    return ColumnFacts(key, dtype, logical_shape(column, dataset), **attrs)


def range_text(column: Column) -> str:
    """A column's range as it is written into the file, "" where unbounded."""
    if column.range is None:
        return ""
    low, high = column.range
    return f"{low:g}..{high:g}"


def _check_columns(
    path: Path, schema: Schema, columns: dict[str, ColumnFacts], *, shard: bool
) -> dict[str, int]:
    """Hold the columns against the schema; return the length of each named axis."""
    missing = [key for key in schema.keys if key not in columns and not (shard and key.startswith("clips/"))]
    unknown = sorted(set(columns) - set(schema.keys))
    for key, message in [
        *((k, "a column is missing") for k in missing),
        *((k, "unknown column") for k in unknown),
    ]:
        raise ArtifactError(
            message, file=path, key=key, expected=f"the columns {', '.join(schema.keys)}", remedy=REMAKE
        )
    dims: dict[str, int] = {}
    for key, facts in columns.items():
        column = schema.by_key[key]
        if facts.dtype not in DTYPES[column.dtype]:
            raise ArtifactError(
                "a column has the wrong dtype",
                file=path,
                key=key,
                expected=" or ".join(DTYPES[column.dtype]),
                found=facts.dtype,
                remedy=REMAKE,
            )
        described = (facts.axes, facts.unit, facts.range)
        if described != (" ".join(column.axes), column.unit, range_text(column)):
            raise ArtifactError(
                "a column's axes, unit or range differ from the schema",
                file=path,
                key=key,
                expected=(" ".join(column.axes), column.unit, range_text(column)),
                found=described,
                remedy=REMAKE,
            )
        check_shape(column, facts.shape, dims, path)
    return dims


def check_shape(column: Column, shape: tuple[int, ...], dims: dict[str, int], path: Path) -> None:
    """Hold a column's shape against its axes and the lengths known so far, and add those that it settles.

    Raises:
        ArtifactError: wrong number of axes, or an axis of another length.
    """
    settled = {**dims, **{axis: int(axis) for axis in column.axes if axis.isdigit()}}
    if len(shape) == len(column.axes):
        pairs = zip(column.axes, shape, strict=True)
        if all(settled.setdefault(axis, length) == length for axis, length in pairs):
            dims.update({axis: settled[axis] for axis in column.axes if not axis.isdigit()})
            return
    named = [f"{axis}={settled[axis]}" if axis in dims else axis for axis in column.axes]
    raise ArtifactError(
        "a column has the wrong shape",
        file=path,
        key=column.key,
        expected=f"({', '.join(named)})",
        found=shape,
        remedy="give every column of a table as many rows as the others, and every frame the same size",
    )
