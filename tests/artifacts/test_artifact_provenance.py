"""Where an artifact came from."""

import json
import subprocess
from pathlib import Path

import pytest
from artifact_samples import provenance

from sfvd_pl.artifacts import canonical_json, config_hash
from sfvd_pl.artifacts.provenance import git_commit
from sfvd_pl.errors import ArtifactError


def test_it_is_normalised() -> None:
    made = provenance(
        config={"b": (1, 2), "a": {"x": None}}, patients=["p2", "p1", "p2"], parents={"z": "1", "a": "2"}
    )
    assert made.config == {"a": {"x": None}, "b": [1, 2]}
    assert made.patients == ("p1", "p2")
    assert list(made.parents) == ["a", "z"]
    assert made.producer.startswith("sfvd-pl ")


def test_equal_settings_have_equal_hashes_whatever_their_order() -> None:
    assert config_hash({"a": 1, "b": [2.5]}) == config_hash({"b": [2.5], "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})
    assert json.loads(canonical_json({"é": 1.0})) == {"é": 1.0}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Path("x"), {1, 2}, object()])
def test_settings_that_json_cannot_hold_are_refused(value: object) -> None:
    with pytest.raises(ArtifactError, match="JSON") as caught:
        provenance(config={"a": value})
    assert caught.value.remedy


@pytest.mark.parametrize("digest", ["", None, 5])
def test_a_parent_without_a_hash_is_refused(digest: object) -> None:
    with pytest.raises(ArtifactError, match="no content hash"):
        provenance(parents={"source": digest})


def test_one_text_is_not_a_list_of_patients() -> None:
    with pytest.raises(ArtifactError, match="several names"):
        provenance(patients="p1")


@pytest.mark.parametrize("seed", [-1 << 63, (1 << 63) - 1])
def test_a_seed_of_64_bits_is_kept(seed: int) -> None:
    assert provenance(seed=seed).seed == seed


@pytest.mark.parametrize("seed", [1 << 63, (-1 << 63) - 1])
def test_a_larger_seed_is_refused(seed: int) -> None:
    with pytest.raises(ArtifactError, match="seed"):
        provenance(seed=seed)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_checkout_which_tracks_the_code(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    code, installed = repository / "code.py", repository / "installed.py"
    for file in (code, installed):
        file.write_text("x = 1\n")
    git_commit.cache_clear()
    assert git_commit(code) == "unknown", "no repository"
    git(repository, "init", "-q")
    git(repository, "add", "code.py")
    git_commit.cache_clear()
    assert git_commit(code) == "unknown", "no commit yet"
    git(repository, "commit", "-q", "-m", "first")
    head = git(repository, "rev-parse", "HEAD")
    git_commit.cache_clear()
    assert git_commit(code) == head
    assert git_commit(installed) == "unknown", "not tracked: somebody else's repository"
    code.write_text("x = 2\n")
    git_commit.cache_clear()
    assert git_commit(code) == f"{head}-dirty"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    git_commit.cache_clear()
    try:
        assert git_commit(Path(__file__)) == "unknown"
    finally:
        git_commit.cache_clear()
