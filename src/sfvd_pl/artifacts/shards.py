"""Making an artifact in shards: what is done survives a stop, and the whole is put together at the end."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts.manifest import (
    MANIFEST,
    PATTERN,
    Manifest,
    foreign,
    identity,
    read_manifest,
    shard_name,
    write_manifest,
)
from sfvd_pl.artifacts.merging import frames_in_order, locate, merge_clips, starts
from sfvd_pl.artifacts.provenance import Provenance
from sfvd_pl.artifacts.rules import Array
from sfvd_pl.artifacts.schema import GENERATED_KINDS, SCHEMAS, Kind
from sfvd_pl.artifacts.store import Artifact
from sfvd_pl.artifacts.verify import check_artifact
from sfvd_pl.artifacts.writer import ArtifactWriter, ShardWriter
from sfvd_pl.errors import ArtifactError

LEASES = "leases"
"""Folder of the leases, within the folder of shards."""
FACTS = "fact-*.json"

_log = logging.getLogger(__name__)


class ShardSet:
    """A folder of shards of one generated artifact.

    Several processes may write into one folder, as long as each makes other samples.

    Args:
        folder: Where the shards lie; made with the first one.
        kind: A kind whose clips carry a sample_id.
        provenance: That of the whole. A shard with another seed, other settings, parents or patients is
            foreign.
        intensity_max: Pixel value of the full intensity.

    Raises:
        ArtifactError: a kind that isn't generated sample by sample.
    """

    def __init__(
        self, folder: str | os.PathLike[str], kind: Kind, provenance: Provenance, *, intensity_max: int
    ) -> None:
        if kind not in GENERATED_KINDS:
            raise ArtifactError(
                "this kind of artifact isn't made in shards",
                file=folder,
                key="kind",
                expected=f"one of {', '.join(sorted(GENERATED_KINDS))}",
                found=str(kind),
                remedy="write it with ArtifactWriter",
            )
        self.folder = Path(folder)
        self.kind = Kind(kind)
        self.provenance = provenance
        self.intensity_max = int(intensity_max)
        self._identity = identity(provenance, self.intensity_max)

    def expect(self, sample_ids: Sequence[int], pieces: Sequence[Sequence[int]] | None = None) -> Path:
        """Write down what the folder is to hold, so that ``verify_shards`` can name a missing shard.

        Args:
            sample_ids: Every sample, in the order of the artifact.
            pieces: The samples of each shard; None is one shard.
        """
        ids = [int(i) for i in sample_ids]
        divided = [ids] if pieces is None else [[int(i) for i in piece] for piece in pieces]
        return write_manifest(self.folder, Manifest(self.kind, self._identity, ids, divided))

    def expected(self) -> Manifest | None:
        """What the folder is to hold; None where it doesn't say, or was begun by another run."""
        try:
            manifest = read_manifest(self.folder)
        except ArtifactError:
            return None
        ours = manifest.kind == self.kind and manifest.identity == self._identity
        return manifest if ours else None

    def holds(self, out: str | os.PathLike[str], sample_ids: Sequence[int]) -> bool:
        """Whether an artifact is what merging these samples would make, as far as can be told without reading it."""
        try:
            with Artifact.open(out, self.kind) as artifact:
                same = not foreign(self._identity, artifact)
                return same and artifact.column("clips/sample_id").tolist() == list(sample_ids)
        except ArtifactError:
            return False

    def path(self, sample_ids: Sequence[int]) -> Path:
        """Where the shard of these samples lies."""
        return self.folder / shard_name([int(i) for i in sample_ids])

    def write(self, sample_ids: Sequence[int], columns: Mapping[str, Array | Sequence[str]]) -> Path:
        """Write one shard, at once or not at all; one that holds the same samples is replaced.

        Args:
            sample_ids: Identity of each clip, in order.
            columns: All columns of the frames table, and those of the clips table that are known by now (the
                rest comes with ``merge``). May be left out: clips/sample_id; clips/start, which follows from
                the lengths; clips/length, when all clips are equally long.

        Returns:
            Path of the shard.

        Raises:
            ArtifactError: values that break the schema, or that contradict ``sample_ids``.
        """
        ids = [int(sample_id) for sample_id in sample_ids]
        path = self.folder / shard_name(ids)
        table = {**columns, "clips/sample_id": np.array(ids, dtype=np.int64)}
        if "clips/sample_id" in columns and list(columns["clips/sample_id"]) != ids:
            raise ArtifactError(
                "the columns belong to other samples",
                file=path,
                key="clips/sample_id",
                expected=ids,
                found=list(columns["clips/sample_id"]),
                remedy="pass the same ids in the same order",
            )
        if "clips/length" not in table:
            table["clips/length"] = self._equal_lengths(len(ids), table, path)
        table.setdefault("clips/start", starts(np.asarray(table["clips/length"])))
        writer = ShardWriter(
            path, self.kind, self.provenance, intensity_max=self.intensity_max, overwrite=True
        )
        with writer:
            for key, values in table.items():
                writer.write(key, values)
        return path

    def done(self) -> set[int]:
        """Ids of the samples that lie in whole shards of this very run.

        A shard that is damaged or foreign is renamed to ``*.rejected``, with a warning; its samples count as
        missing. The pictures aren't read here: ``merge`` checks every byte.
        """
        return {sample_id for piece in self.pieces() for sample_id in piece}

    def pieces(self) -> list[list[int]]:
        """As ``done``, shard by shard."""
        pieces = []
        for shard in self._shards():
            pieces.append(shard.column("clips/sample_id").tolist())
            shard.close()
        return pieces

    def merge(
        self,
        out: str | os.PathLike[str],
        sample_ids: Sequence[int],
        *,
        overwrite: bool = False,
        extra: Mapping[str, Array | Sequence[str]] | None = None,
    ) -> Path:
        """Put the whole artifact together, with its clips in the order of ``sample_ids``.

        Args:
            out: Final name of the artifact.
            sample_ids: Every sample that the artifact must hold, each once. Others in the shards are left
                out.
            overwrite: Replace an artifact that has this name already.
            extra: Columns of the clips table, in the order of ``sample_ids``, added to or in place of the
                shards'.

        Returns:
            Path of the artifact.

        Raises:
            ArtifactError: samples are missing, or lie in two shards; a shard is damaged (it is set aside, and
                its samples are named as missing); a column is missing in the shards and in ``extra``.
        """
        ids = [int(sample_id) for sample_id in sample_ids]
        if len(set(ids)) != len(ids) or not ids:
            raise ArtifactError(
                "sample ids must be given once each",
                file=out,
                key="sample_ids",
                expected="at least one id and no repeats",
                found=f"{len(ids)} ids, {len(set(ids))} different ones",
                remedy="correct the list",
            )
        extra = dict(extra or {})
        self._check_extra(extra, len(ids), Path(out))
        shards = [shard for shard in self._shards() if self._deeply_whole(shard)]
        places = locate(self.folder, shards, ids)
        writer = ArtifactWriter(
            out, self.kind, self.provenance, intensity_max=self.intensity_max, overwrite=overwrite
        )
        with writer:
            merge_clips(writer, shards, places, extra)
            for key in SCHEMAS[self.kind].keys:
                if key.startswith("frames/"):
                    for rows in frames_in_order(key, shards, places):
                        writer.append(key, rows)
        return Path(out)

    def remove(self) -> None:
        """Remove every shard, also rejected and partial ones, and the folder if nothing else lies in it.

        Another process may do the same at the same time.
        """
        made = (PATTERN, f"{PATTERN}.rejected*", f".{PATTERN}.partial-*", FACTS, MANIFEST, f".{MANIFEST}.partial-*")
        for pattern in (*made, f"{LEASES}/*"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        for folder in (self.folder / LEASES, self.folder):
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()

    def _equal_lengths(self, n_clips: int, table: Mapping[str, Array | Sequence[str]], path: Path) -> Array:
        n_frames = len(table["frames/wire_mask"]) if "frames/wire_mask" in table else 0
        if n_clips == 0 or n_frames % n_clips:
            raise ArtifactError(
                "the clips' lengths can't be told from the number of frames",
                file=path,
                key="clips/length",
                expected=f"a multiple of {n_clips} frames",
                found=n_frames,
                remedy="pass the column clips/length",
            )
        return np.full(n_clips, n_frames // n_clips, dtype=np.int64)

    def _shards(self) -> list[Artifact]:
        """Whole shards of this run, in the order of their names; others are set aside."""
        found = []
        for path in sorted(self.folder.glob(PATTERN)):
            try:
                shard = Artifact.open_shard(path, self.kind)
                problems = foreign(self._identity, shard) or check_artifact(shard, deep=False)
                shard.close()
            except ArtifactError as error:
                problems = [str(error)]
            if problems:
                _set_aside(path, problems)
            else:
                found.append(shard)
        return found

    def _deeply_whole(self, shard: Artifact) -> bool:
        try:
            with shard:
                problems = check_artifact(shard, deep=True)
        except ArtifactError as error:
            problems = [str(error)]
        if problems:
            _set_aside(shard.path, problems)
        return not problems

    def _check_extra(self, extra: Mapping[str, Any], n_clips: int, out: Path) -> None:
        allowed = {key for key in SCHEMAS[self.kind].keys if key.startswith("clips/")}
        allowed -= {"clips/sample_id", "clips/start", "clips/length"}
        for key, values in extra.items():
            if key not in allowed or len(values) != n_clips:
                raise ArtifactError(
                    "this column can't be added while merging",
                    file=out,
                    key=key,
                    expected=f"{n_clips} rows of one of {', '.join(sorted(allowed))}",
                    found=f"{len(values)} rows",
                    remedy="pass one row a sample, in the order of sample_ids",
                )


def _set_aside(path: Path, problems: list[str]) -> None:
    """Rename a shard that can't be used, and say so."""
    target, number = path.with_name(f"{path.name}.rejected"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.rejected{number}")
    try:
        path.rename(target)
    except FileNotFoundError:
        return  # another process of this run has set it aside just now
    message = f"{path.name} was set aside as {target.name}, its samples will be made anew: {problems[0]}"
    _log.warning(message)
    warnings.warn(message, UserWarning, stacklevel=3)
