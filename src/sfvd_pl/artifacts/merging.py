"""Reading the clips of many shards in the order of one artifact."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts.rules import Array
from sfvd_pl.artifacts.schema import SCHEMAS
from sfvd_pl.artifacts.store import BLOCK_BYTES, Artifact
from sfvd_pl.artifacts.writer import ArtifactWriter
from sfvd_pl.errors import ArtifactError


def locate(folder: Path, shards: list[Artifact], ids: list[int]) -> list[tuple[int, int]]:
    """Shard and row in its clips table, for every id.

    Raises:
        ArtifactError: Samples are missing, or lie in two shards.
    """
    place: dict[int, tuple[int, int]] = {}
    for number, shard in enumerate(shards):
        for row, sample_id in enumerate(shard.column("clips/sample_id").tolist()):
            if sample_id in place:
                raise ArtifactError(
                    "a sample lies in two shards",
                    file=folder,
                    key=f"sample_id {sample_id}",
                    expected="one shard",
                    found=f"{shards[place[sample_id][0]].path.name} and {shard.path.name}",
                    remedy="remove one of the two shards",
                )
            place[sample_id] = (number, row)
        shard.close()
    missing = [sample_id for sample_id in ids if sample_id not in place]
    if missing:
        shown = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        raise ArtifactError(
            "samples are missing",
            file=folder,
            key="sample_id",
            expected=f"{len(ids)} samples",
            found=f"{len(missing)} missing: {shown}",
            remedy="run the stage again: it makes the missing samples only",
        )
    return [place[sample_id] for sample_id in ids]


def merge_clips(
    writer: ArtifactWriter,
    shards: list[Artifact],
    places: list[tuple[int, int]],
    extra: Mapping[str, Any],
) -> None:
    """Write the clips table; the pictures in it go row by row, the rest at once.

    Raises:
        ArtifactError: A column is missing in the shards and in ``extra``.
    """
    for key in SCHEMAS[writer.kind].keys:
        if not key.startswith("clips/") or key == "clips/start":
            continue
        if key in extra:
            writer.write(key, extra[key])
            continue
        lacking = next((shards[number] for number, _ in places if key not in shards[number].keys), None)
        if lacking is not None:
            raise ArtifactError(
                "a column is missing",
                file=lacking.path,
                key=key,
                remedy="write it into every shard, or pass it as extra",
            )
        if SCHEMAS[writer.kind].by_key[key].streamed:
            for number, row in places:
                writer.append(key, shards[number].rows(key, row, row + 1))
                shards[number].close()
            continue
        writer.write(key, _gather(key, shards, places))
        if key == "clips/length":
            writer.write("clips/start", starts(_gather(key, shards, places)))


def _gather(key: str, shards: list[Artifact], places: list[tuple[int, int]]) -> Array:
    """A small column in merged order."""
    used = sorted({number for number, _ in places})
    columns = {}
    for number in used:
        columns[number] = shards[number].column(key)
        shards[number].close()
    first = np.cumsum([0, *(len(columns[number]) for number in used)])
    offset = dict(zip(used, first.tolist(), strict=False))
    whole = np.concatenate([columns[number] for number in used])
    merged: Array = whole[np.array([offset[number] + row for number, row in places])]
    return merged


def frames_in_order(key: str, shards: list[Artifact], places: list[tuple[int, int]]) -> Iterator[Array]:
    """A frames column in merged order, in blocks: frames that lie together are read together."""
    for number, start, stop in _runs(shards, places):
        shard = shards[number]
        facts = shard.facts[key]
        row_bytes = int(np.prod(facts.shape[1:], dtype=np.int64)) * np.dtype(facts.dtype).itemsize
        step = max(1, BLOCK_BYTES // row_bytes)
        for first in range(start, stop, step):
            yield shard.rows(key, first, min(first + step, stop))
        shard.close()


def _runs(shards: list[Artifact], places: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Shard, first frame and end of each stretch of frames; clips that lie together make one stretch."""
    current: tuple[int, int, int] | None = None
    for number, row in places:
        start = int(shards[number].column("clips/start")[row])
        stop = start + int(shards[number].column("clips/length")[row])
        shards[number].close()
        if current is not None and current[0] == number and current[2] == start:
            current = (number, current[1], stop)
            continue
        if current is not None:
            yield current
        current = (number, start, stop)
    if current is not None:
        yield current


def starts(lengths: Array) -> Array:
    """First row of each clip when the clips follow one another."""
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
