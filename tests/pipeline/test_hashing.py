import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import rewritten

from sfvd_pl.pipeline import hashing
from sfvd_pl.pipeline.hashing import code_hash, file_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a few files in place of the real one."""
    for name in ("modules/scene.py", "cli/main.py", "report/html.py", "pipeline/run.py", "pipeline/augment.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x = 1\n")
    monkeypatch.setattr(hashing, "PACKAGE", tmp_path)
    code_hash.cache_clear()
    yield tmp_path
    code_hash.cache_clear()


def _hashes() -> tuple[str, str]:
    code_hash.cache_clear()
    return code_hash(), code_hash(presentation=True)


@pytest.mark.parametrize("name", ["modules/scene.py", "pipeline/augment.py"])
def test_a_change_of_what_computes_changes_both(package: Path, name: str) -> None:
    before = _hashes()
    (package / name).write_text("x = 2\n")
    after = _hashes()
    assert before[0] != after[0]
    assert before[1] != after[1]


@pytest.mark.parametrize("name", ["cli/main.py", "report/html.py", "pipeline/run.py"])
def test_a_change_of_what_presents_changes_the_presenting_steps_only(package: Path, name: str) -> None:
    before = _hashes()
    (package / name).write_text("x = 2\n")
    after = _hashes()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_renamed_file_is_a_change(package: Path) -> None:
    before = _hashes()
    (package / "modules" / "scene.py").rename(package / "modules" / "motion.py")
    assert before[0] != _hashes()[0]


def test_a_file_by_its_bytes_and_an_artifact_by_its_content(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"weights")
    assert file_hash(path) == hashlib.sha256(b"weights").hexdigest()
    again = rewritten(source, tmp_path / "again.h5")
    assert again.read_bytes() != source.read_bytes()
    assert file_hash(again) == file_hash(source)
