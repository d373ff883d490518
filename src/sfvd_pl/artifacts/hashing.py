"""The content hash of an artifact: SHA-256 over all that must not change unnoticed.

Each column has its own SHA-256 over its bytes (little-endian, C order; a text is preceded by its length in
UTF-8 bytes as a 64-bit integer; a mask's bytes hold eight columns each), kept beside the column. The content
hash is the SHA-256 of one canonical JSON that lists the hashed attributes and, in key order, every column's
key, dtype, shape, axes, unit, range and digest. So opening an artifact can check its attributes without
reading its pictures, and a deep check reads each byte once.

Equal content has equal content hashes, so the hash leaves out when a file was written and how it describes
its columns in words. A second digest, the seal, covers these as well: every attribute of the file.
"""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfvd_pl.artifacts.provenance import canonical_json

UNHASHED_ATTRIBUTES = frozenset({"content_hash", "created", "seal"})
"""Root attributes outside the hash: the two digests, and the time, so that equal content has equal hashes."""

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class ColumnFacts:
    """What the content hash says of one column, as it lies in the file.

    Attributes:
        key: Path inside the file.
        dtype: Name of the dtype on disk, "str" for text.
        shape: Length of each axis.
        axes: Names of the axes, separated by spaces.
        unit: Unit of the values.
        range: Range of the values as text, "" where unbounded.
        sha256: Digest of the values in hexadecimal.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    axes: str
    unit: str
    range: str
    sha256: str


class ColumnDigest:
    """Running SHA-256 of one column, fed with consecutive rows."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def update(self, rows: np.ndarray[Any, Any]) -> None:
        """Take in the next rows. Frees the interpreter lock while it hashes large blocks."""
        if rows.dtype == object:
            for text in rows.tolist():
                data = text.encode()
                self._sha.update(len(data).to_bytes(8, "little") + data)
        else:
            self._sha.update(_little_endian(np.ascontiguousarray(rows)).reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        """Digest of everything taken in so far."""
        return self._sha.hexdigest()


def _little_endian(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    order = values.dtype.byteorder
    if order == ">" or (order == "=" and sys.byteorder == "big"):
        return values.astype(values.dtype.newbyteorder("<"))
    return values


def column_digest(values: np.ndarray[Any, Any]) -> str:
    """Digest of a whole column."""
    digest = ColumnDigest()
    digest.update(values)
    return digest.hexdigest()


def combine(attributes: Mapping[str, object], columns: Iterable[ColumnFacts]) -> str:
    """The content hash, from all root attributes and the facts of all columns."""
    listed = sorted(columns, key=lambda facts: facts.key)
    body = {
        "attributes": {name: value for name, value in attributes.items() if name not in UNHASHED_ATTRIBUTES},
        "columns": [[c.key, c.dtype, list(c.shape), c.axes, c.unit, c.range, c.sha256] for c in listed],
    }
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def seal(attributes: Mapping[str, Attributes]) -> str:
    """Digest of every attribute in a file, by the name of the object that carries it ("" is the root).

    Objects without attributes count too, so that one that was added is noticed. The seal itself is left out.
    """
    body = {name: dict(carried) for name, carried in attributes.items()}
    body[""] = {name: value for name, value in body[""].items() if name != "seal"}
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()
