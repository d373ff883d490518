"""Reading an artifact: checked cheaply, opened lazily in each process, no handle shared across a fork."""

import json
import math
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sfvd_pl.artifacts.contents import DAMAGE, REMAKE, Contents, open_hdf5, read_contents
from sfvd_pl.artifacts.hashing import ColumnFacts
from sfvd_pl.artifacts.layout import Descriptor, FrameMap, read_attributes, unpack
from sfvd_pl.artifacts.schema import SCHEMAS, Kind, Schema
from sfvd_pl.errors import ArtifactError

Array = np.ndarray[Any, Any]

CACHE_BYTES = 4 << 20
"""Columns up to this size are kept in memory once read."""

BLOCK_BYTES = 8 << 20
"""Size of the blocks in which long columns are walked through."""

_lock = threading.RLock()
_open_artifacts: "weakref.WeakSet[Artifact]" = weakref.WeakSet()


def _before_fork() -> None:
    """Close every handle, so that the child inherits none; both sides open again when they next read."""
    _lock.acquire()
    for artifact in list(_open_artifacts):
        artifact.close()


os.register_at_fork(before=_before_fork, after_in_parent=_lock.release, after_in_child=_lock.release)


class Artifact:
    """One artifact, opened for reading with ``Artifact.open``.

    It holds no handle until the first read. It can be pickled, and used in processes that were forked or
    spawned: each opens the file for itself, and refuses one that was replaced meanwhile. Threads take turns.

    Attributes:
        path: The file.
        attrs: All root attributes, as they lie in the file.
        dims: Length of each named axis (N frames, M clips, A arms, H rows, W columns).
    """

    def __init__(self, path: Path, contents: Contents) -> None:
        """Use ``Artifact.open``."""
        self.path = path
        self.attrs = contents.attrs
        self.dims = contents.dims
        self._contents = contents
        self._file: Any = None
        self._descriptor: Descriptor | None = None
        self._maps: dict[str, FrameMap] = {}
        self._cache: dict[str, Array] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str], kind: Kind | None = None) -> Self:
        """Open an artifact after cheap checks.

        It exists, is HDF5, and has the right kind, schema version and columns.
        Also checks the attributes and the columns' digests against the content hash, but doesn't read the
        pictures: that is ``verify``.

        Args:
            path: The file.
            kind: What it must be, or None for any kind.

        Raises:
            ArtifactError: a check failed; the error says what to do.
        """
        return cls(Path(path), _contents(Path(path), kind, shard=False))

    @classmethod
    def open_shard(cls, path: str | os.PathLike[str], kind: Kind | None = None) -> Self:
        """Open one shard of an artifact in the making, whose clips table may still lack columns."""
        return cls(Path(path), _contents(Path(path), kind, shard=True))

    @property
    def kind(self) -> Kind:
        """What the artifact holds."""
        return self._contents.kind

    @property
    def schema(self) -> Schema:
        """The schema of its kind."""
        return SCHEMAS[self.kind]

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of its columns, sorted."""
        return tuple(sorted(self._contents.columns))

    @property
    def facts(self) -> dict[str, ColumnFacts]:
        """Dtype, shape and digest of each column."""
        return self._contents.columns

    @property
    def schema_version(self) -> int:
        """Version of the schema it was written by."""
        return int(self.attrs["schema_version"])

    @property
    def seed(self) -> int:
        """Seed of the run that made it."""
        return int(self.attrs["seed"])

    @property
    def config(self) -> dict[str, Any]:
        """Resolved settings of the run that made it."""
        return dict(json.loads(str(self.attrs["config"])))

    @property
    def parents(self) -> dict[str, str]:
        """Content hash of every artifact and checkpoint it was made from, by name."""
        return dict(json.loads(str(self.attrs["parents"])))

    @property
    def patients(self) -> tuple[str, ...]:
        """Everybody that anything in it was learned from."""
        return tuple(json.loads(str(self.attrs["patients"])))

    @property
    def content_hash(self) -> str:
        """SHA-256 of its content, in hexadecimal."""
        return str(self.attrs["content_hash"])

    @property
    def intensity_max(self) -> int:
        """Pixel value of the full intensity."""
        return int(self.attrs["intensity_max"])

    @property
    def n_frames(self) -> int:
        """Rows of the frames table."""
        return self.dims["N"]

    @property
    def n_clips(self) -> int:
        """Rows of the clips table."""
        return self.dims["M"]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Height and width of every frame in pixels."""
        return self.dims["H"], self.dims["W"]

    def column(self, key: str) -> Array:
        """A whole column, shaped as its axes say.

        Text comes as an object array of str. Columns of up to 4 MiB are kept in memory and returned
        read-only: copy before changing one.
        """
        with _lock:
            if key in self._cache:
                return self._cache[key]
            values = self.rows(key, 0, self._facts(key).shape[0])
            if values.nbytes <= CACHE_BYTES:
                values.setflags(write=False)
                self._cache[key] = values
            return values

    def rows(self, key: str, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop`` (exclusive) of a column's first axis, in one read, as a fresh array."""
        shape = self._facts(key).shape
        self._check_span(key, start, stop, shape[0])
        if not self.schema.by_key[key].streamed:
            return self._read(key, slice(start, stop))
        frames = math.prod(shape[1:-2])
        return self._pictures(key, [start * frames], (stop - start) * frames).reshape(stop - start, *shape[1:])

    def clip_rows(self, key: str, clip: int, offset: int = 0, length: int | None = None) -> Array:
        """Rows of a frames column that belong to one clip, in one read, as a fresh array.

        Args:
            key: A column with the axis N.
            clip: Row of the clip in the clips table.
            offset: First frame, counted from the clip's start.
            length: Number of frames, or None for all up to the clip's end.

        Returns:
            ``length`` rows along the axis N; the other axes are whole.
        """
        axes = self._facts(key).axes.split()
        if "N" not in axes:
            raise ArtifactError(
                "this column has no frames",
                file=self.path,
                key=key,
                expected="a column with the axis N",
                found=f"axes {' '.join(axes)}",
                remedy="read it with column() or rows()",
            )
        self._check_span("clip", clip, clip + 1, self.n_clips)
        first = int(self.column("clips/start")[clip])
        total = int(self.column("clips/length")[clip])
        stop = total if length is None else offset + length
        self._check_span(f"{key} of clip {clip}", offset, stop, total)
        if not self.schema.by_key[key].streamed:
            return self._read(key, (*[slice(None)] * axes.index("N"), slice(first + offset, first + stop)))
        *outer, frames, height, width = self._facts(key).shape
        starts = [row * frames + first + offset for row in range(math.prod(outer))]
        return self._pictures(key, starts, stop - offset).reshape(*outer, stop - offset, height, width)

    def blocks(self, key: str) -> Iterator[tuple[int, Array]]:
        """A column in consecutive blocks of bounded size, in C order.

        Yields:
            Index of the block's first row along the last axis but two (for pictures: the frame), and the
            block. A column (A, N, H, W) is walked arm after arm.
        """
        if not self.schema.by_key[key].streamed:
            yield 0, self.column(key)
            return
        for first, stored in self.stored_blocks(key):
            yield first, unpack(self.schema.by_key[key], stored, self._facts(key).shape[-1]).copy()

    def stored_blocks(self, key: str, buffers: int = 1) -> Iterator[tuple[int, Array]]:
        """A column of pictures in consecutive blocks as they lie in the file: masks with eight columns a byte.

        Args:
            key: A column with the axes H and W.
            buffers: Blocks that stay as they are while the next ones are read; then their memory is used again.

        Yields:
            As ``blocks``.
        """
        *outer, n_rows, _, _ = self._facts(key).shape
        places, descriptor = self._places(key)
        step = max(1, BLOCK_BYTES // max(1, places.frame_bytes))
        memory = [np.empty((step, *places.frame_shape), places.dtype) for _ in range(buffers)]
        turn = 0
        for row in range(math.prod(outer)):
            for start in range(0, n_rows, step):
                block = memory[turn % buffers][: min(step, n_rows - start)]
                try:
                    places.read(descriptor, row * n_rows + start, block)
                except DAMAGE as error:
                    raise self._damaged(key, error) from error
                yield start, block
                turn += 1

    def close(self) -> None:
        """Close the handle, if one is open; the next read opens it again."""
        with _lock:
            if self._file is not None:
                self._maps.clear()  # a file of the same content may replace this one, with other addresses
                self._descriptor = None
                self._file.close()
                self._file = None
                _open_artifacts.discard(self)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the handle."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the handle and what was cached from it."""
        return {"path": self.path, "contents": self._contents}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start without a handle."""
        self.__init__(state["path"], state["contents"])  # type: ignore[misc]

    def __repr__(self) -> str:
        """Kind, path and size."""
        sizes = ", ".join(f"{name}={length}" for name, length in sorted(self.dims.items()))
        return f"Artifact({self.kind.value}, {str(self.path)!r}, {sizes})"

    def _facts(self, key: str) -> ColumnFacts:
        try:
            return self._contents.columns[key]
        except KeyError:
            raise ArtifactError(
                "this artifact has no such column",
                file=self.path,
                key=key,
                expected=f"one of {', '.join(self.keys)}",
                remedy="correct the key",
            ) from None

    def _check_span(self, what: str, start: int, stop: int, length: int) -> None:
        if not 0 <= start <= stop <= length:
            raise ArtifactError(
                "these rows don't exist",
                file=self.path,
                key=what,
                expected=f"0 <= start <= stop <= {length}",
                found=f"start {start}, stop {stop}",
                remedy="ask for rows within the table",
            )

    def _read(self, key: str, where: Any) -> Array:
        """Values of a column that doesn't hold pictures, through HDF5."""
        text = self._facts(key).dtype == "str"
        with _lock:
            if self._file is None:
                self._reopen()
            try:
                dataset = self._file[key]
                values: Array = dataset.asstr()[where] if text else dataset[where]
            except DAMAGE as error:
                raise self._damaged(key, error) from error
        return np.asarray(values, dtype=object) if text else values

    def _pictures(self, key: str, starts: list[int], count: int) -> Array:
        """``count`` frames from each of the starts, numbered in C order over all axes but H and W."""
        places, descriptor = self._places(key)
        stored = np.empty((len(starts) * count, *places.frame_shape), places.dtype)
        try:  # outside the lock: threads read side by side
            for number, start in enumerate(starts):
                places.read(descriptor, start, stored[number * count : (number + 1) * count])
        except DAMAGE as error:
            raise self._damaged(key, error) from error
        return unpack(self.schema.by_key[key], stored, self._facts(key).shape[-1])

    def _places(self, key: str) -> tuple[FrameMap, Descriptor]:
        """Addresses of a column's frames, and the open file that they belong to."""
        with _lock:
            if self._file is None:
                self._reopen()
            if key not in self._maps:
                try:
                    self._maps[key] = FrameMap(self.path, key, self._file[key])
                except DAMAGE as error:
                    raise self._damaged(key, error) from error
            assert self._descriptor is not None
            return self._maps[key], self._descriptor

    def _damaged(self, key: str, error: BaseException) -> ArtifactError:
        return ArtifactError(
            "a column can't be read: the file is damaged", file=self.path, key=key, found=error, remedy=REMAKE
        )

    def _reopen(self) -> None:
        """Open the handle, and make sure that the file is still the one whose attributes are known."""
        file = open_hdf5(self.path)
        try:
            found = read_attributes(file).get("content_hash")
        except DAMAGE as error:
            raise self._damaged("content_hash", error) from error
        if found != self.content_hash:
            file.close()
            raise ArtifactError(
                "the artifact was replaced by another while it was in use",
                file=self.path,
                key="content_hash",
                expected=self.content_hash,
                found=found,
                remedy="start again, so that the whole run reads one and the same artifact",
            )
        self._file, self._descriptor = file, Descriptor(file)
        _open_artifacts.add(self)


def content_hash(path: str | os.PathLike[str]) -> str:
    """Content hash of an artifact as recorded, after the cheap checks of ``Artifact.open``."""
    return Artifact.open(path).content_hash


def _contents(path: Path, kind: Kind | None, *, shard: bool) -> Contents:
    with _lock:
        return read_contents(path, kind, shard=shard)
