"""One artifact by several processes: nothing missed, nothing doubled, whoever dies."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from artifact_samples import provenance
from test_artifact_shards import batch, shard_set, whole

from sfvd_pl.artifacts import (
    Kind,
    ShardSet,
    SharedWork,
    content_hash,
    leases,
    merge_shards,
    shared_fact,
    verify,
)
from sfvd_pl.errors import ArtifactError, ConfigError

IDS = list(range(10))
FORK = multiprocessing.get_context("fork")


def work_in(folder: Path, ids: list[int] | None = None, size: int = 3, **options: Any) -> SharedWork:
    changes = {key: options.pop(key) for key in ("seed", "config") if key in options}
    work = SharedWork(shard_set(folder, **changes), folder / "out.h5", **options)
    ids = IDS if ids is None else ids
    work.begin(ids, lambda missing: [missing[k : k + size] for k in range(0, len(missing), size)])
    return work


def at_once(folder: Path, ids: list[int]) -> str:
    """Content hash of the artifact written by one process without shards."""
    (folder / "whole").mkdir()
    return whole(folder / "whole", ids)


def do(work: SharedWork, limit: int = 100) -> list[list[int]]:
    """Make pieces, at most so many; returns them."""
    made = []
    for piece in work:
        if len(made) == limit:
            break
        work.write(piece, batch(piece))
        made.append(piece)
    work.close()
    return made


def test_one_process_makes_every_piece_in_order_and_leaves_nothing_behind(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    assert work.first
    assert do(work) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)
    assert not (tmp_path / "shards").exists()
    again = work_in(tmp_path)
    assert again.made() and do(again) == [] and not (tmp_path / "shards").exists()


def test_two_that_take_turns_share_the_pieces(tmp_path: Path) -> None:
    one, two = work_in(tmp_path), work_in(tmp_path, place=0.5)
    assert (one.first, two.first) == (True, False)
    made: dict[str, list[list[int]]] = {"one": [], "two": []}
    for mine, other in zip(one, two, strict=False):
        for name, work, piece in (("one", one, mine), ("two", two, other)):
            work.write(piece, batch(piece))
            made[name].append(piece)
    assert made["one"] + made["two"] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    do(two)
    do(one)
    assert (one.merged, two.merged) in ((True, False), (False, True))
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)


def test_whoever_comes_later_keeps_to_the_pieces_of_the_first(tmp_path: Path) -> None:
    assert do(work_in(tmp_path), limit=1) == [[0, 1, 2]]
    assert do(work_in(tmp_path, size=4)) == [[3, 4, 5], [6, 7, 8], [9]]


@pytest.mark.parametrize("where", ["before its card is there", "behind its card"])
def test_whoever_comes_while_another_merges_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The folder vanishes under the one that has just begun."""
    first = work_in(tmp_path)
    target, name = (leases, "process_started") if where.startswith("before") else (leases.Leases, "__enter__")
    original = getattr(target, name)

    def meanwhile(*args: Any) -> Any:
        monkeypatch.undo()
        found = original(*args) if name == "__enter__" else None
        do(first)
        return found if name == "__enter__" else original(*args)

    monkeypatch.setattr(target, name, meanwhile)
    late = work_in(tmp_path)
    assert do(late) == [] and late.made() and not late.merged
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)
    assert not (tmp_path / "shards").exists()


def test_a_folder_that_vanishes_while_a_shard_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a process that was taken for dead; without an artifact it is an error."""
    slow = work_in(tmp_path)
    piece = next(iter(slow))

    def gone(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(tmp_path / "shards"))

    monkeypatch.setattr(slow.shards, "write", gone)
    with pytest.raises(FileNotFoundError):
        slow.write(piece, batch(piece))
    slow.leases.release("piece-00000000")
    other = work_in(tmp_path)

    def merged_meanwhile(*_: object) -> None:
        do(other)
        gone()

    monkeypatch.setattr(slow.shards, "write", merged_meanwhile)
    slow.write(piece, batch(piece))
    assert slow.made()


def test_a_folder_that_vanishes_before_anything_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = leases.Leases.__enter__

    def meanwhile(self: Any) -> Any:
        monkeypatch.undo()
        found = original(self)
        shutil.rmtree(tmp_path / "shards")
        return found

    monkeypatch.setattr(leases.Leases, "__enter__", meanwhile)
    assert do(work_in(tmp_path)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_more_samples_keep_the_shards_that_are_there(tmp_path: Path) -> None:
    assert do(work_in(tmp_path, ids=IDS[:4]), limit=1) == [[0, 1, 2]]
    assert do(work_in(tmp_path)) == [[3, 4, 5], [6, 7, 8], [9]]
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)


def test_fewer_samples_leave_out_what_nobody_asked_for(tmp_path: Path) -> None:
    assert do(work_in(tmp_path), limit=2) == [[0, 1, 2], [3, 4, 5]]
    assert do(work_in(tmp_path, ids=[0, 4])) == []
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, [0, 4])


def test_without_merging_the_shards_stay_for_the_separate_command(tmp_path: Path) -> None:
    do(work_in(tmp_path, merge=False), limit=3)
    with pytest.raises(ArtifactError, match="samples are missing"):
        merge_shards(tmp_path / "shards", tmp_path / "out.h5")
    do(work_in(tmp_path, merge=False))
    assert not (tmp_path / "out.h5").exists()
    assert merge_shards(tmp_path / "shards", tmp_path / "out.h5") == tmp_path / "out.h5"
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)
    assert not (tmp_path / "shards").exists()


def test_the_separate_command_overwrites_nothing(tmp_path: Path) -> None:
    do(work_in(tmp_path, merge=False))
    (tmp_path / "shards.h5").write_text("mine")
    with pytest.raises(ArtifactError, match="the name is taken"):
        merge_shards(tmp_path / "shards")
    assert (tmp_path / "shards.h5").read_text() == "mine"
    assert len(list((tmp_path / "shards").glob("shard-*.h5"))) == 4
    for path in (tmp_path / "shards").glob("shard-*.h5"):
        path.unlink()
    with pytest.raises(ArtifactError, match="there is no shard"):
        merge_shards(tmp_path / "shards", tmp_path / "out.h5")


@pytest.mark.filterwarnings("ignore:.*was set aside")
@pytest.mark.parametrize("damage", ["cut", "bit", "gone"])
def test_a_damaged_shard_is_made_again_before_the_end(tmp_path: Path, damage: str) -> None:
    work = work_in(tmp_path)
    made = []
    for piece in work:
        work.write(piece, batch(piece))
        made.append(piece)
        if len(made) == 4:
            path = work.shards.path(made[1])
            content = bytearray(path.read_bytes())
            place = content.index(batch(made[1])["frames/image"][0].tobytes())
            content[place] ^= 1
            path.write_bytes(content if damage == "bit" else content[:-50])
            if damage == "gone":
                path.unlink()
    work.close()
    assert made == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9], [3, 4, 5]]
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)


@pytest.mark.filterwarnings("ignore:.*was set aside")
def test_a_disk_that_damages_every_shard_ends_in_an_error(tmp_path: Path) -> None:
    work = work_in(tmp_path, ids=[0, 1])
    rounds = 0
    with pytest.raises(ArtifactError, match="samples are missing"):
        for piece in work:
            work.write(piece, batch(piece))
            path = work.shards.path(piece)
            path.write_bytes(path.read_bytes()[:-50])
            rounds += 1
    work.close()
    assert rounds == 3
    assert not (tmp_path / "out.h5").exists()


def test_a_run_with_other_settings_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    with pytest.raises(ConfigError, match=f"(?s)other settings.*process {os.getpid()}"):
        work_in(tmp_path, seed=8)
    assert not any((tmp_path / "shards").glob("*.rejected"))
    piece = next(iter(work))
    work.write(piece, batch(piece))
    work.close()
    with pytest.warns(UserWarning, match="was set aside"):
        do(work_in(tmp_path, seed=8))  # the first has left: its shards are of no use to this one
    assert verify(tmp_path / "out.h5") == []


def test_a_silent_worker_elsewhere_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    do(work_in(tmp_path), limit=0)
    card = tmp_path / "shards" / "leases" / "worker-far"
    card.parent.mkdir(exist_ok=True)
    card.write_text(json.dumps({"host": "far", "place": "another boot/1", "pid": 1, "started": "1"}))
    assert do(work_in(tmp_path, seed=8, lease_seconds=0.3))
    assert "waiting 0 s to see whether process 1 on far" in caplog.text


def test_an_older_artifact_of_other_settings_does_not_end_the_work(tmp_path: Path) -> None:
    do(work_in(tmp_path, seed=8))
    old = content_hash(tmp_path / "out.h5")
    assert len(do(work_in(tmp_path))) == 4
    assert content_hash(tmp_path / "out.h5") != old


def test_the_folder_removed_under_a_late_process_means_that_all_is_done(tmp_path: Path) -> None:
    late = work_in(tmp_path)
    pieces = iter(late)
    first = next(pieces)
    for piece in IDS[:3], IDS[3:6], IDS[6:9], IDS[9:]:
        late.shards.write(piece, batch(piece))
    merge_shards(tmp_path / "shards", tmp_path / "out.h5")
    before = content_hash(tmp_path / "out.h5")
    late.write(first, batch(first))  # it was slow, and taken for dead
    assert list(pieces) == []
    late.close()
    assert content_hash(tmp_path / "out.h5") == before
    assert not (tmp_path / "shards").exists()


def _work(folder: Path, die_at: int, step: str) -> None:
    """A process that is killed in its n-th piece, or while it merges."""
    if step == "merge":
        ShardSet.merge = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign,assignment]
    work = work_in(folder, lease_seconds=5)
    for number, piece in enumerate(work):
        if number == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        work.write(piece, batch(piece))
    work.close()


@pytest.mark.parametrize(("dying", "step"), [([0, 1, 2], "piece"), ([99, 99, 0], "merge")])
def test_what_killed_processes_leave_the_others_make(tmp_path: Path, dying: list[int], step: str) -> None:
    processes = [FORK.Process(target=_work, args=(tmp_path, die_at, step)) for die_at in dying]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode in (0, -signal.SIGKILL)
    assert any(process.exitcode for process in processes)
    do(work_in(tmp_path))
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "whole"]


def test_a_fact_is_worked_out_once_and_again_for_something_else(tmp_path: Path) -> None:
    counted: list[int] = []

    def make() -> dict[str, Any]:
        counted.append(1)
        return {"value": 0.1 + len(counted)}

    first = shared_fact(tmp_path, "gate", {"of": ["a", 1]}, make)
    assert shared_fact(tmp_path, "gate", {"of": ("a", 1)}, make) == first == {"value": 1.1}
    assert shared_fact(tmp_path, "gate", {"of": ["b", 1]}, make) == {"value": 2.1}
    (tmp_path / "fact-gate.json").write_text("{")
    assert shared_fact(tmp_path, "gate", {"of": ["b", 1]}, make) == {"value": 3.1}
    assert [path.name for path in tmp_path.iterdir()] == ["fact-gate.json"]
    ShardSet(tmp_path, Kind.SYNTHETIC, provenance(), intensity_max=255).remove()
    assert not tmp_path.exists()


def test_of_two_that_work_out_a_fact_at_once_the_first_is_believed(tmp_path: Path) -> None:
    def slow() -> dict[str, Any]:
        shared_fact(tmp_path, "gate", {}, lambda: {"value": 1})
        return {"value": 2}

    assert shared_fact(tmp_path, "gate", {}, slow) == {"value": 1}


def test_one_that_was_overtaken_while_it_merged_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped for longer than its lease, it finds the shards gone and the artifact there."""
    work = work_in(tmp_path)
    merge = work.shards.merge

    def late(*args: Any, **options: Any) -> Path:
        other = shard_set(tmp_path)
        other.merge(tmp_path / "out.h5", IDS)
        other.remove()
        return merge(*args, **options)

    monkeypatch.setattr(work.shards, "merge", late)
    assert len(do(work)) == 4
    assert not work.merged
    assert content_hash(tmp_path / "out.h5") == at_once(tmp_path, IDS)
