"""How pictures lie in the file, and reading them there without going through HDF5.

Every column of pictures is stored in one way: a chunk for each frame, unfiltered, in the machine's byte order. So a
frame is one stretch of bytes at an address that HDF5's index tells, and reading it is one system call, which several
threads and processes can do at once. A mask holds one bit a pixel: eight columns share a byte, the leftmost its
highest bit, and the dataset's attribute ``width`` says how many columns there are.
"""

import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sfvd_pl.artifacts.columns import Column
from sfvd_pl.errors import ArtifactError

Array = np.ndarray[Any, Any]

WIDTH = "width"
"""Attribute of a mask's dataset: columns of the picture before they were packed."""


def pack(column: Column, rows: Array) -> Array:
    """Rows as they lie in the file: masks with eight columns a byte, all else unchanged."""
    return np.packbits(rows, axis=-1) if column.packed else rows


def unpack(column: Column, stored: Array, width: int) -> Array:
    """The inverse of :func:`pack`."""
    if not column.packed:
        return stored
    if width % 8 == 0:  # several times as fast as with an axis
        return np.unpackbits(stored.reshape(-1)).reshape(*stored.shape[:-1], width)
    return np.unpackbits(stored, axis=-1, count=width)


def logical_shape(column: Column | None, dataset: Any) -> tuple[int, ...]:
    """Length of each axis of a column, in pixels for pictures.

    Raises:
        ValueError: a mask whose attribute ``width`` contradicts its bytes.
    """
    shape = tuple(int(length) for length in dataset.shape)
    if column is None or not column.packed or len(shape) != len(column.axes):
        return shape
    width = int(read_attributes(dataset)[WIDTH])
    if width < 1 or -(-width // 8) != shape[-1]:
        raise ValueError(f"{column.key}: {WIDTH} {width} doesn't fit {shape[-1]} bytes a row")
    return (*shape[:-1], width)


def text_type(length: int) -> Any:
    """Dtype of a text of at most ``length`` bytes in UTF-8."""
    return h5py.string_dtype("utf-8", max(1, length))


def set_attribute(item: Any, name: str, value: str | int) -> None:
    """Give an object of an open file an attribute; a text gets a fixed length.

    HDF5 keeps texts of variable length in a heap without checksums, where one flipped bit can send it round in circles.
    """
    if isinstance(value, str):
        data = value.encode()
        item.attrs.create(name, np.array(data, dtype=text_type(len(data))))
    else:
        item.attrs.create(name, value)


def read_attributes(item: Any) -> dict[str, str | int | float | bool]:
    """All attributes of an object of an open file as plain values.

    Raises:
        ValueError: one is of a type that an artifact doesn't have; nothing of it was read.
    """
    found = {}
    for index in range(h5py.h5a.get_num_attrs(item.id)):
        attribute = h5py.h5a.open(item.id, index=index)
        kind, name = attribute.get_type(), attribute.name.decode(errors="replace")
        text = kind.get_class() == h5py.h5t.STRING
        number = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM)
        if not (number or text) or (text and kind.is_variable_str()) or attribute.shape != ():
            raise ValueError(f"attribute {name!r}: expected a number or a text of fixed length; found another type")
        found[name] = plain(item.attrs[name])
    return found


def plain(value: object) -> str | int | float | bool:
    """An HDF5 attribute as a plain Python value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float | bool) else str(value)


def layout_problem(column: Column, dataset: Any, file_bytes: int) -> str | None:
    """What is wrong with the way a column lies in the file; None where nothing is.

    An artifact holds every byte that its shape promises. So a file can't make its reader allocate more than a small
    multiple of its own size, nor have HDF5 load a filter or read another file.
    """
    created = dataset.id.get_create_plist()
    if created.get_nfilters():
        return f"filters: expected none; found {created.get_nfilters()}"
    if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count():
        return "storage: expected in this file; found in another one"
    if dataset.dtype.kind in "iufb" and not dataset.dtype.isnative:
        return f"byte order: expected this machine's; found {dataset.dtype.str}"
    text = h5py.check_string_dtype(dataset.dtype)
    if h5py.check_vlen_dtype(dataset.dtype) is not None or (text is not None and text.length is None):
        return "dtype: expected values of a fixed length; found variable ones"
    expected = math.prod(dataset.shape) * dataset.dtype.itemsize
    found = dataset.id.get_storage_size()
    if found != expected or expected > file_bytes:
        return f"storage: expected {expected} bytes within the file; found {found} of its {file_bytes}"
    wanted = (*[1] * (len(dataset.shape) - 2), *dataset.shape[-2:]) if column.streamed else None
    if dataset.chunks != wanted:
        return f"chunks: expected {wanted}; found {dataset.chunks}"
    return None


class Descriptor:
    """An open file, closed when nobody holds it any more: a thread that reads outlives whoever closes the artifact.

    Args:
        file: The open HDF5 file whose bytes are to be read.
    """

    def __init__(self, file: Any) -> None:
        self.number = os.dup(file.id.get_vfd_handle())  # the very file that HDF5 has checked, whatever its name is now

    def __del__(self) -> None:
        """Close it."""
        os.close(self.number)


class FrameMap:
    """Where each frame of a column of pictures lies.

    Args:
        path: The file, for messages.
        key: The column.
        dataset: Its open dataset.

    Raises:
        ArtifactError: HDF5's index of the frames isn't whole, or two frames share bytes.
    """

    def __init__(self, path: Path, key: str, dataset: Any) -> None:
        self.path, self.key = path, key
        self.frame_shape: tuple[int, ...] = tuple(dataset.shape[-2:])
        self.dtype = dataset.dtype
        self.frame_bytes = math.prod(self.frame_shape) * self.dtype.itemsize
        outer = dataset.shape[:-2]
        strides = [math.prod(outer[axis + 1 :]) for axis in range(len(outer))]
        places = np.full(math.prod(outer), -1, dtype=np.int64)
        odd: list[Any] = []

        def note(chunk: Any) -> None:
            if chunk.size != self.frame_bytes or chunk.filter_mask:
                odd.append(chunk)
            row = sum(position * stride for position, stride in zip(chunk.chunk_offset, strides, strict=False))
            places[row] = chunk.byte_offset

        if len(places):
            dataset.id.chunk_iter(note)
        ordered = np.sort(places)
        if odd or (places < 0).any() or (np.diff(ordered) < self.frame_bytes).any():
            raise ArtifactError(
                "the index of the frames is damaged",
                file=path,
                key=key,
                expected=f"{len(places)} frames of {self.frame_bytes} bytes, each in a place of its own",
                found=f"{int((places >= 0).sum())} places, {len(odd)} of another size",
                remedy="make the artifact again with the stage that writes it",
            )
        self.places = places

    def read(self, descriptor: Descriptor, first: int, out: Array) -> None:
        """Read consecutive frames, numbered in C order, into an array ``(frames, H, bytes or pixels of a row)``.

        Raises:
            OSError: the file ends too early, or can't be read.
        """
        places, size = self.places[first : first + len(out)], self.frame_bytes
        view = out.reshape(-1).view(np.uint8).data
        breaks = (np.flatnonzero(np.diff(places) != size) + 1).tolist() if len(places) > 1 else []
        for start, stop in zip([0, *breaks], [*breaks, len(places)], strict=True):
            _fill(descriptor.number, view[start * size : stop * size], int(places[start]) if len(places) else 0)


def _fill(number: int, view: memoryview, place: int) -> None:
    """Read until the view is full."""
    while len(view):
        count = os.preadv(number, [view], place)
        if count == 0:
            raise OSError(f"the file ends at byte {place}, within a frame")
        view, place = view[count:], place + count
