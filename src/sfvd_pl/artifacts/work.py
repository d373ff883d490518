"""One artifact made by any number of processes, of which any may die, come late, or start again."""

import json
import logging
import os
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfvd_pl.artifacts.leases import LEASE_SECONDS, Leases
from sfvd_pl.artifacts.manifest import PATTERN, foreign, read_manifest
from sfvd_pl.artifacts.provenance import Provenance
from sfvd_pl.artifacts.rules import Array
from sfvd_pl.artifacts.shards import LEASES, ShardSet
from sfvd_pl.artifacts.store import Artifact
from sfvd_pl.errors import ArtifactError, ConfigError

ROUNDS = 3
"""Attempts at merging: each sets damaged shards aside and has them made anew."""
MERGE = "merge"
BEGIN = "begin"

_log = logging.getLogger(__name__)


class SharedWork:
    """The pieces that an artifact is made in, dealt out over all processes that work in its folder of shards.

    Iterating yields the samples of one piece after the other, which the caller makes and hands to ``write``. A piece
    that another process has a lease of is passed over, and comes back when that process is dead (``Leases``). When
    all are there, one process merges them. The pieces are decided once, by whoever comes first, and stay as they are
    in later attempts: making a piece twice makes the same shard twice, so that nothing depends on the leases but how
    much work is done.

    Args:
        shards: The folder of shards.
        out: Final name of the artifact.
        place: Where among the pieces to begin, 0 up to 1, so that processes of one launch don't try for the same.
        merge: Whether to put the artifact together at the end.
        wait: Wait until another process has merged instead of leaving it to that.
        lease_seconds: See ``Leases``.
    """

    def __init__(
        self,
        shards: ShardSet,
        out: Path,
        *,
        place: float = 0.0,
        merge: bool = True,
        wait: bool = False,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.shards = shards
        self.out = Path(out)
        self.place = place
        self.merge = merge
        self.wait = wait
        self.leases = Leases(shards.folder / LEASES, seconds=lease_seconds)
        self.sample_ids: list[int] = []
        self.pieces: list[list[int]] = []
        self.first = False
        self.merged = False
        self.begun = False
        self.current: list[int] = []
        self._entered = self._made = False
        self._mark: object = None

    def begin(self, sample_ids: Sequence[int], plan: Callable[[list[int]], list[list[int]]]) -> None:
        """Find out what there is to do; a second call does nothing.

        Args:
            sample_ids: Every sample of the artifact, in its order.
            plan: Divides samples into pieces, without dropping or doubling one.

        Raises:
            ConfigError: Processes with other settings are at work in the folder.
        """
        if self.begun:
            return
        self.begun = True
        self.sample_ids = [int(i) for i in sample_ids]
        self._made = self.shards.holds(self.out, self.sample_ids)
        self._mark = _mark(self.out)
        if self._made:
            self.shards.remove()  # what a process that died after merging left
            return
        for last in (*[False] * (ROUNDS - 1), True):
            try:
                self._join(plan)
                break
            except FileNotFoundError:  # the folder is gone: another process has merged, or a person tidied up
                self.close()
                if self.made():
                    break
                if last:
                    raise
            except BaseException:
                self.close()
                raise
        if not self.pieces and self.made():
            self.close()
            self.shards.remove()  # what this process has laid there again

    def _join(self, plan: Callable[[list[int]], list[list[int]]]) -> None:
        """Lay a card down and learn the pieces, or decide on them."""
        self.leases.__enter__()
        self._entered = True
        self.pieces = self._agreed() or []
        if not self.pieces:
            with self.leases.hold(BEGIN):
                self.pieces = self._agreed() or ([] if self.made() else self._agree(plan))

    def _agreed(self) -> list[list[int]] | None:
        """The pieces that another process has decided on."""
        manifest = self.shards.expected()
        return manifest.pieces if manifest is not None and manifest.sample_ids == self.sample_ids else None

    def _agree(self, plan: Callable[[list[int]], list[list[int]]]) -> list[list[int]]:
        """Decide which pieces all processes make: the shards that are there, and what they lack."""
        self._refuse_strangers()
        wanted = set(self.sample_ids)
        kept = [piece for piece in self.shards.pieces() if wanted.intersection(piece)]
        wanted.difference_update(*kept)
        pieces = [*kept, *plan([i for i in self.sample_ids if i in wanted])]
        self.shards.expect(self.sample_ids, pieces)
        self.first = True
        return pieces

    def _refuse_strangers(self) -> None:
        """Two runs with other settings would set one another's shards aside for ever."""
        if self.shards.expected() is not None or not any(self.shards.folder.glob("manifest.json")):
            return
        told = False
        while others := self.leases.others():
            if any(self.leases.alive(worker) for worker in others):
                raise ConfigError(
                    "another run with other settings is making this artifact",
                    file=self.out,
                    found=self.leases.describe(others[0]),
                    remedy="wait for it, or write to another file",
                )
            if not told:
                _log.warning(
                    "%s: waiting %.0f s to see whether %s is still at work with other settings",
                    self.shards.folder, self.leases.seconds, self.leases.describe(others[0]),
                )  # fmt: skip
                told = True
            self.leases.pause()

    def made(self) -> bool:
        """Whether the artifact is there, made by this or another process."""
        mark = _mark(self.out)
        if not self._made and mark != self._mark:
            self._mark = mark
            self._made = self.shards.holds(self.out, self.sample_ids)
        return self._made

    def open_pieces(self) -> list[list[int]]:
        """Pieces without a shard."""
        if self.made():
            return []
        return [piece for piece in self.pieces if not self.shards.path(piece).exists()]

    def __iter__(self) -> Iterator[list[int]]:
        """Pieces to make, until the artifact is there or left to another process.

        Raises:
            ArtifactError: Shards are damaged again and again.
        """
        for last in (*[False] * (ROUNDS - 1), True):
            yield from self._pieces()
            if self._finish(last):
                return

    def _pieces(self) -> Iterator[list[int]]:
        """Pieces to make, until each has its shard."""
        first = int(self.place * len(self.pieces))
        left = deque([*range(first, len(self.pieces)), *range(first)])
        passed = 0
        while left and not self.made():
            number = left.popleft()
            piece = self.pieces[number]
            path, name = self.shards.path(piece), f"piece-{number:08d}"
            if path.exists():
                continue
            if not self._claim(name):
                left.append(number)
                passed += 1
                if passed >= len(left):
                    self.leases.pause()
                    passed = 0
                continue
            passed = 0
            try:
                # Another process may have made it, or merged and removed everything, since the look at the path.
                if not path.exists() and not self.made():
                    self.current = piece
                    yield piece
            finally:
                self.leases.release(name)

    def _claim(self, name: str) -> bool:
        try:
            return self.leases.claim(name)
        except FileNotFoundError:  # merged and removed by another process, which `made` tells; or by a person
            if not self.made():
                self.leases.folder.mkdir(parents=True, exist_ok=True)
            return False

    def write(self, sample_ids: Sequence[int], columns: Mapping[str, Array | Sequence[str]]) -> None:
        """Keep a piece that was made."""
        if not self.made():
            try:
                self.shards.write(sample_ids, columns)
            except FileNotFoundError:  # a process that took this one for dead has made the rest and merged
                if not self.made():
                    raise

    def _finish(self, last: bool) -> bool:
        """Merge, once; False when there is something to make again."""
        while self.merge and not self.made():
            if not self._claim(MERGE):
                if not self.wait:
                    _log.info("%s is put together by another process", self.out)
                    return True
                self.leases.pause()
                continue
            try:
                if not self.made():
                    self.shards.merge(self.out, self.sample_ids, overwrite=True)
                    self.merged = True
            except ArtifactError:
                if self.made():  # by one that took this process for dead; it has removed the shards
                    return True
                if last:
                    raise
                return False
            finally:
                self.leases.release(MERGE)
        return True

    def close(self) -> None:
        """Give back what this process has; remove the shards if it has merged them."""
        if self._entered:
            self._entered = False
            self.leases.__exit__()
        if self.merged:
            self.shards.remove()


def merge_shards(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Put together what a folder of shards holds, without what it was made by.

    Args:
        folder: ``NAME.shards``.
        out: The artifact; None is ``NAME.h5`` beside the folder. One of the same making is left as it is.

    Raises:
        ArtifactError: Samples are missing, or the name is taken by something else.
    """
    folder = Path(folder)
    out = folder.with_name(f"{folder.name.removesuffix('.shards')}.h5") if out is None else Path(out)
    manifest = read_manifest(folder)
    for path in sorted(folder.glob(PATTERN)):
        with suppress(ArtifactError), Artifact.open_shard(path, manifest.kind) as shard:
            if not foreign(manifest.identity, shard):
                provenance = Provenance(shard.seed, shard.config, shard.parents, shard.patients)
                break
    else:
        raise ArtifactError("there is no shard of this artifact", file=folder, remedy="run the stage that makes it")
    shards = ShardSet(folder, manifest.kind, provenance, intensity_max=manifest.identity["intensity_max"])
    with Leases(folder / LEASES) as leases, leases.hold(MERGE):
        if not shards.holds(out, manifest.sample_ids):
            shards.merge(out, manifest.sample_ids)
    shards.remove()
    return out


def shared_fact(folder: Path, name: str, key: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Something that all processes must agree on: worked out by the first, read by the others.

    Two kinds of hardware can differ in the last bit of a measured number, and then each process would hold the
    other's shards for those of another run.

    Args:
        folder: The folder of shards.
        name: What it is.
        key: What it is made from; a file made from something else is replaced.
        make: Works it out, as plain JSON.
    """
    path = folder / f"fact-{name}.json"
    while (found := _read_fact(path, key)) is None:
        folder.mkdir(parents=True, exist_ok=True)
        stale = path.exists()
        partial = folder / f".fact-{uuid.uuid4().hex}"
        partial.write_text(json.dumps({"key": dict(key), "value": make()}), encoding="utf-8")
        if stale:
            partial.replace(path)
        else:
            try:
                os.link(partial, path)  # the first one stays
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                partial.replace(path)
            partial.unlink(missing_ok=True)
    return found


def _read_fact(path: Path, key: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["value"]) if content["key"] == json.loads(json.dumps(dict(key))) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _mark(path: Path) -> object:
    """Changes whenever another file has this name."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
