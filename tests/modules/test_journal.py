"""The journal of what was logged: whole lines, over all attempts, each thing once and steps that only grow."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from sfvd_pl.modules.journal import JOURNAL, Journal, parsed, read_lines, run_of

ABOUT = {"project": "test", "entity": None, "name": "a/b"}


def _rows(folder: Path) -> list[tuple[int | None, dict[str, Any]]]:
    rows = [parsed(line) for line in read_lines(folder / JOURNAL)[1:]]
    return [(row["step"], row["content"]) for row in rows]


def test_a_folder_keeps_its_run_over_attempts_and_another_folder_has_another(tmp_path: Path) -> None:
    ids = []
    for name, project in (("a", "test"), ("a", "other"), ("b", "test")):
        (tmp_path / name).mkdir(exist_ok=True)
        journal = Journal(tmp_path / name, ABOUT | {"project": project})
        assert journal.append("metrics", {"loss": 1.0}, len(ids))
        journal.close()
        run = run_of(read_lines(journal.path))
        assert run is not None
        assert run == ABOUT | {"id": run["id"], "project": "test"}
        ids.append(run["id"])
    assert ids[0] == ids[1] != ids[2]


def test_nothing_is_touched_before_the_first_line(tmp_path: Path) -> None:
    """Another process may be at work in the folder, and this one refused."""
    Journal(tmp_path, ABOUT).close()
    assert list(tmp_path.iterdir()) == []


def test_steps_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    """An attempt is cut off behind step 30, before its validation; the next one starts behind step 15."""
    first = Journal(tmp_path, ABOUT)
    for step in (10, 20, 30):
        assert first.append("metrics", {"loss": float(step), "epoch": 0}, step)
        assert first.append("metrics", {"rate": 1.0}, step)
        assert not first.append("metrics", {"loss": 9.0, "epoch": 0}, step)
    assert not first.append("metrics", {"new": 1.0}, 20)
    first.close()
    second = Journal(tmp_path, ABOUT)
    for step in (20, 30):
        assert not second.append("metrics", {"loss": 9.0, "epoch": 0}, step)
        assert not second.append("metrics", {"rate": 9.0}, step)
    assert second.append("metrics", {"val": 3.0, "epoch": 0}, 30)
    assert second.append("metrics", {"loss": 40.0, "epoch": 0}, 40)
    second.close()
    assert [step for step, _ in _rows(tmp_path)] == [10, 10, 20, 20, 30, 30, 30, 40]
    assert _rows(tmp_path)[-2:] == [(30, {"val": 3.0, "epoch": 0}), (40, {"loss": 40.0, "epoch": 0})]


def test_what_has_no_step_is_always_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ABOUT)
    assert all(journal.append("metrics", {"dice": 0.5}) for _ in range(3))


def test_settings_are_written_where_they_have_changed(tmp_path: Path) -> None:
    for rate, new in ((1.0, True), (1.0, False), (2.0, True)):
        journal = Journal(tmp_path, ABOUT)
        assert journal.append("config", {"rate": rate, "folder": Path("a")}) is new
        journal.close()
    assert [content["rate"] for _, content in _rows(tmp_path)] == [1.0, 2.0]


def test_half_a_line_of_a_killed_process_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ABOUT)
    journal.append("metrics", {"loss": 1.0}, 1)
    journal.close()
    with journal.path.open("a") as file:
        file.write('{"kind": "metrics", "step": 2, "ti')
    assert len(_rows(tmp_path)) == 1
    again = Journal(tmp_path, ABOUT)
    assert again.append("metrics", {"loss": 2.0}, 2)
    again.close()
    assert _rows(tmp_path) == [(1, {"loss": 1.0}), (2, {"loss": 2.0})]


def test_a_line_that_a_disk_has_damaged_keeps_its_number(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ABOUT)
    for step in (1, 2, 3):
        journal.append("metrics", {"loss": 1.0}, step)
    journal.close()
    lines = read_lines(journal.path)
    journal.path.write_bytes(b"".join([*lines[:2], b"\0" * 20 + b"\n", lines[3]]))
    again = Journal(tmp_path, ABOUT)
    assert not again.append("metrics", {"loss": 1.0}, 3)
    assert again.append("metrics", {"loss": 1.0}, 4)
    assert [bool(parsed(line)) for line in read_lines(journal.path)] == [True, True, False, True, True]


@pytest.mark.parametrize("content", ["", "{", "[1]\n", '{"run": {}}\n'])
def test_a_file_that_does_not_say_whose_it_is_is_kept_and_a_new_one_begun(tmp_path: Path, content: str) -> None:
    (tmp_path / JOURNAL).write_text(content)
    journal = Journal(tmp_path, ABOUT)
    assert journal.append("metrics", {"loss": 1.0}, 1)
    assert run_of(read_lines(journal.path))
    assert (tmp_path / f"{JOURNAL}.damaged").read_text() == content


@pytest.mark.parametrize("fails", ["partly", "at once"])
def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    journal = Journal(tmp_path, ABOUT)
    journal.append("metrics", {"loss": 1.0}, 1)
    before = journal.path.read_bytes()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if fails == "partly":
            return write(descriptor, data[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            journal.append("metrics", {"loss": 2.0}, 2)
    assert journal.path.read_bytes() == before
    assert journal.append("metrics", {"loss": 2.0}, 2)
    assert [step for step, _ in _rows(tmp_path)] == [1, 2]


def test_one_that_is_set_aside_is_kept_and_the_next_line_begins_a_new_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path, ABOUT)
    assert journal.set_aside() is None
    found = []
    for _ in range(3):
        assert journal.append("metrics", {"loss": 1.0}, 1)
        found.append(json.loads(read_lines(journal.path)[0])["run"]["id"])
        aside = journal.set_aside()
        assert aside is not None
    assert len(set(found)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"wandb.previous-{n}.jsonl" for n in (1, 2, 3)]


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Journal(tmp_path, ABOUT).append("metrics", {"loss": object()}, 1)
