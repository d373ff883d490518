"""What lies in each kind of artifact: every column with its dtype, axes, unit, range and meaning.

Two tables make up most artifacts: ``frames/*`` with one row a frame (axis ``N``) and ``clips/*`` with one row
a clip (axis ``M``). ``clips/start`` and ``clips/length`` say which rows of the frames table belong to a clip.
A segmentation artifact has a third one, ``arms/*`` (axis ``A``), one row for each way a segmenter was
trained.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from sfvd_pl.artifacts.columns import (
    CLIP_TABLE,
    FILMED,
    GENERATED,
    SCENES_ONLY,
    SEGMENTATION,
    SOURCE_ONLY,
    SYNTHETIC_ONLY,
    Column,
)

SCHEMA_VERSION: int = 3
"""Raised whenever a column changes its name, dtype, axes, unit or meaning."""


class Kind(StrEnum):
    """The kinds of artifact, named after what they hold."""

    SOURCE = "source"
    SCENES = "scenes"
    MOTIONS = "motions"
    SYNTHETIC = "synthetic"
    SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class Schema:
    """All columns of one kind of artifact, every one of them required."""

    kind: Kind
    doc: str
    columns: tuple[Column, ...]
    by_key: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the columns by key, in key order."""
        ordered = sorted(self.columns, key=lambda column: column.key)
        object.__setattr__(self, "by_key", {column.key: column for column in ordered})

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the columns, sorted."""
        return tuple(self.by_key)


def _schemas(schemas: Iterable[Schema]) -> dict[Kind, Schema]:
    return {schema.kind: schema for schema in schemas}


SCHEMAS: dict[Kind, Schema] = _schemas(
    [
        Schema(
            Kind.SOURCE, "Clips as they were filmed or simulated, with wire masks.", (*FILMED, *SOURCE_ONLY)
        ),
        Schema(
            Kind.SCENES,
            "Generated first frames, and the mask sequence that each is to follow.",
            (*SCENES_ONLY, *CLIP_TABLE, *GENERATED),
        ),
        Schema(Kind.MOTIONS, "Clips rolled out from generated first frames.", (*FILMED, *GENERATED)),
        Schema(
            Kind.SYNTHETIC,
            "Labelled synthetic clips, with what was asked, what was measured and the gate's verdict.",
            (*FILMED, *GENERATED, *SYNTHETIC_ONLY),
        ),
        Schema(
            Kind.SEGMENTATION, "Predictions of every arm of the comparison on held-out clips.", SEGMENTATION
        ),
    ]
)
"""The schema of each kind of artifact."""

GENERATED_KINDS: frozenset[Kind] = frozenset(k for k, s in SCHEMAS.items() if "clips/sample_id" in s.by_key)
"""Kinds whose clips carry a sample_id, and so can be made shard by shard."""
