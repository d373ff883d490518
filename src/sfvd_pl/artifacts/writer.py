"""Writing an artifact: beside its final name, whole, verified, and only then renamed."""

import fcntl
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from sfvd_pl.artifacts.columns import DTYPES, Column
from sfvd_pl.artifacts.contents import all_attributes, check_shape, range_text
from sfvd_pl.artifacts.hashing import ColumnDigest, ColumnFacts, column_digest, combine, seal
from sfvd_pl.artifacts.layout import WIDTH, logical_shape, pack, set_attribute, text_type
from sfvd_pl.artifacts.partial import partial_path
from sfvd_pl.artifacts.provenance import Provenance
from sfvd_pl.artifacts.rules import Array, check_values
from sfvd_pl.artifacts.schema import SCHEMA_VERSION, SCHEMAS, Kind
from sfvd_pl.artifacts.store import Artifact
from sfvd_pl.artifacts.verify import check_artifact
from sfvd_pl.errors import ArtifactError

HDF5_FORMAT = ("v110", "v110")
"""File format: readable since HDF5 1.10 (2016), with checksums over the structure."""


class ArtifactWriter:
    """Context manager that writes one artifact.

    Everything goes to ``.{name}.partial-{pid}-{host}`` beside the final name. On a clean exit the file gets its
    attributes and content hash, is closed, opened again and verified to the last byte, flushed to the disk
    and renamed. After an exception the partial file is removed and the final name is untouched. Columns of
    pictures are written as they come; the small ones are kept in memory until the end.

    Args:
        path: Final name; missing folders are made.
        kind: What the artifact holds; its schema decides which columns are required.
        provenance: Where the content comes from.
        intensity_max: Pixel value of the full intensity, 1 to 65535.
        overwrite: Replace an artifact that has this name already.

    Raises:
        ArtifactError: on entering, when the name is taken; on writing, when values break the schema; on
            leaving, when a column is missing or a rule across columns is broken.
    """

    _shard = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: Kind,
        provenance: Provenance,
        *,
        intensity_max: int = 255,
        overwrite: bool = False,
    ) -> None:
        if not 1 <= intensity_max <= 65535:
            raise ArtifactError(
                "intensity_max doesn't fit the pixel types",
                file=path,
                key="intensity_max",
                expected="1 to 65535",
                found=intensity_max,
                remedy="pass the detector's greatest value",
            )
        self.path = Path(path)
        self.kind = Kind(kind)
        self.provenance = provenance
        self.intensity_max = int(intensity_max)
        self.overwrite = overwrite
        self._schema = SCHEMAS[self.kind]
        self._partial = partial_path(self.path)
        self._owner = os.getpid()
        self._file: Any = None
        self._dims: dict[str, int] = {}
        self._datasets: dict[str, Any] = {}
        self._digests: dict[str, ColumnDigest] = {}
        self._pieces: dict[str, list[Array]] = {}
        self._whole: set[str] = set()

    def __enter__(self) -> Self:
        """Make the partial file."""
        self._refuse_taken_name()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(self._partial)
        self._file = h5py.File(self._partial, "x", libver=HDF5_FORMAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the artifact, or remove every trace of it."""
        if os.getpid() != self._owner:
            return  # a forked child that leaves this block must not touch its parent's file
        try:
            if error is None:
                self._finish()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None
            self._partial.unlink(missing_ok=True)

    def write(self, key: str, values: Array | Sequence[str]) -> None:
        """Write a whole column.

        Args:
            key: Key of the column.
            values: Values shaped as the column's axes say; a sequence of str for text. Numbers are converted
                only where no value changes (a float may be rounded to the column's precision).
        """
        if key in self._pieces or key in self._digests:
            raise self._error(
                "this column was written already", key, remedy="write a column once, or use append only"
            )
        self._add(key, values)
        self._whole.add(key)

    def append(self, key: str, rows: Array | Sequence[str]) -> None:
        """Add rows at the end of a column's first axis; the result equals one ``write`` of all rows."""
        if key in self._whole:
            raise self._error(
                "this column was written already", key, remedy="write a column once, or use append only"
            )
        self._add(key, rows)

    def _add(self, key: str, values: Array | Sequence[str]) -> None:
        if self._file is None:
            raise self._error("the writer isn't open", key, remedy="write inside the `with` block")
        if key not in self._schema.by_key:
            raise self._error(
                "unknown column",
                key,
                expected=f"one of {', '.join(self._schema.keys)}",
                remedy="correct the key",
            )
        column = self._schema.by_key[key]
        rows = self._conform(column, values)
        done = (
            self._datasets[key].shape[0] if key in self._digests else sum(map(len, self._pieces.get(key, [])))
        )
        problems = check_values(column, rows, self.intensity_max, done)
        if problems:
            raise self._error(
                f"values break the schema: {problems[0]}", key, remedy="correct the values before writing"
            )
        if column.streamed:
            self._stream(column, rows)
        else:
            self._pieces.setdefault(key, []).append(rows)

    def _stream(self, column: Column, rows: Array) -> None:
        """Write rows of pictures at once: one chunk a frame, so that a random frame is one read."""
        key, width = column.key, rows.shape[-1]
        rows = pack(column, rows)
        if key not in self._digests:
            self._datasets[key] = self._file.create_dataset(
                key,
                shape=(0, *rows.shape[1:]),
                maxshape=(None, *rows.shape[1:]),
                chunks=(*[1] * (rows.ndim - 2), *rows.shape[-2:]),
                dtype=rows.dtype,
                track_times=False,
            )
            if column.packed:
                set_attribute(self._datasets[key], WIDTH, width)
            self._digests[key] = ColumnDigest()
        dataset = self._datasets[key]
        if dataset.dtype != rows.dtype:
            raise self._error(
                "the pixel type changed within a column", key, expected=dataset.dtype, found=rows.dtype
            )
        start = dataset.shape[0]
        dataset.resize(start + len(rows), axis=0)
        dataset[start:] = rows
        self._digests[key].update(rows)

    def _conform(self, column: Column, values: Array | Sequence[str]) -> Array:
        """Values as an array of the column's dtype, with all axes but the first of the right length."""
        rows = (
            self._text(column, values) if column.dtype == "str" else self._numbers(column, np.asarray(values))
        )
        # the first axis grows, and is held against the others at the end
        settled = {name: length for name, length in self._dims.items() if name in column.axes[1:]}
        if rows.ndim == len(column.axes):
            settled[column.axes[0]] = len(rows)
        if column.streamed and 0 in rows.shape[1:]:
            raise self._error("frames without pixels", column.key, found=rows.shape)
        check_shape(column, rows.shape, settled, self.path)
        self._dims |= {name: settled[name] for name in column.axes[1:] if name in settled}
        return rows

    def _numbers(self, column: Column, values: Array) -> Array:
        allowed = DTYPES[column.dtype]
        if values.dtype.name in allowed:
            return np.ascontiguousarray(values) if values.ndim else values
        if len(allowed) == 1 and values.dtype.kind in "buif":
            with np.errstate(all="ignore"):
                cast = np.ascontiguousarray(values).astype(allowed[0])
            if cast.dtype.kind == "f" and values.dtype.kind != "b":
                return cast
            if values.dtype.kind != "f" and np.array_equal(cast.astype(values.dtype), values):
                return cast
        raise self._error(
            "values of the wrong dtype",
            column.key,
            expected=" or ".join(allowed),
            found=values.dtype,
            remedy="convert them before writing",
        )

    def _text(self, column: Column, values: Array | Sequence[str]) -> Array:
        listed = [] if isinstance(values, str | bytes) else list(values)
        if isinstance(values, str | bytes) or not all(
            isinstance(text, str) and "\0" not in text for text in listed
        ):
            raise self._error(
                "expected texts",
                column.key,
                expected="a sequence of str without NUL",
                found=repr(values)[:80],
            )
        rows = np.empty(len(listed), dtype=object)
        rows[:] = [str(text) for text in listed]
        try:
            "".join(rows).encode()
        except UnicodeEncodeError as error:
            raise self._error("a text can't be written as UTF-8", column.key, found=str(error)) from error
        return rows

    def _finish(self) -> None:
        """Give the file its attributes and hash, verify it and put it under its final name."""
        written = {*self._pieces, *self._digests}
        missing = [
            k for k in self._schema.keys if k not in written and not (self._shard and k.startswith("clips/"))
        ]
        if missing:
            raise self._error(
                "columns are missing", ", ".join(missing), remedy="write every column of the schema"
            )
        facts = [self._describe(key) for key in sorted(written)]
        lengths: dict[str, int] = {}
        for column in facts:
            check_shape(self._schema.by_key[column.key], column.shape, lengths, self.path)
        attributes: dict[str, str | int] = {
            "kind": self.kind.value,
            "schema_version": SCHEMA_VERSION,
            "intensity_max": self.intensity_max,
            **self.provenance.attributes(),
            **({"shard": 1} if self._shard else {}),
        }
        attributes["content_hash"] = combine(attributes, facts)
        attributes["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        for name, value in attributes.items():
            set_attribute(self._file, name, value)
        set_attribute(self._file, "seal", seal(all_attributes(self._file)))
        self._file.close()
        self._file = None
        self._verify()
        _flush(self._partial)
        self._refuse_taken_name()
        os.replace(self._partial, self.path)
        _flush(self.path.parent)

    def _describe(self, key: str) -> ColumnFacts:
        """Write a small column, and the attributes of any column."""
        column = self._schema.by_key[key]
        if key in self._pieces:
            values = np.concatenate(self._pieces[key])
            stored, dtype = values, values.dtype
            if values.dtype == object:
                encoded = [text.encode() for text in values]
                dtype = text_type(max([1, *map(len, encoded)]))
                stored = np.array(encoded, dtype=dtype)
            dataset = self._file.create_dataset(key, data=stored, dtype=dtype, track_times=False)
            digest = column_digest(values)
        else:
            dataset = self._datasets[key]
            digest = self._digests[key].hexdigest()
        facts = ColumnFacts(
            key,
            "str" if column.dtype == "str" else str(dataset.dtype.name),
            logical_shape(column, dataset),
            " ".join(column.axes),
            column.unit,
            range_text(column),
            digest,
        )
        for name in ("axes", "unit", "range", "sha256"):
            set_attribute(dataset, name, getattr(facts, name))
        set_attribute(dataset, "doc", column.doc)
        return facts

    def _verify(self) -> None:
        with (Artifact.open_shard if self._shard else Artifact.open)(self._partial, self.kind) as artifact:
            problems = check_artifact(artifact, deep=True)
        if problems:
            raise self._error(
                "the artifact breaks its rules and wasn't kept: " + "; ".join(problems[:5]),
                None,
                remedy="correct what was written; if the content changed on its way to the disk, check it",
            )

    def _refuse_taken_name(self) -> None:
        if self.path.is_dir() or (self.path.exists() and not self.overwrite):
            raise self._error(
                "the name is taken", None, remedy="remove it, choose another name, or pass overwrite=True"
            )

    def _error(self, message: str, key: str | None, **facts: Any) -> ArtifactError:
        return ArtifactError(message, file=self.path, key=key, **facts)


class ShardWriter(ArtifactWriter):
    """Writes one shard: an artifact marked as unfinished, whose clips table may lack columns."""

    _shard = True


def _remove_stale(partial: Path) -> None:
    """Remove what a killed process with the same number left behind, unless somebody is writing it."""
    try:
        with partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArtifactError(
            "somebody else is writing this artifact",
            file=partial,
            found=error,
            remedy="wait until the other run has ended",
        ) from error
    partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the operating system write a file or a folder to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
