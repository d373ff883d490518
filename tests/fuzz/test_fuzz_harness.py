"""The fuzzing harness sees what it is there to see: every kind of bad end is planted once."""

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from harness import Outcome, Runner, Target
from mutate import ANY, SPECIAL, mutate
from targets import ALL

from sfvd_pl.artifacts import verify
from sfvd_pl.errors import SourceError


def build(folder: Path) -> list[Path]:
    (folder / "a.json").write_text('{"fps": 15, "list": [1, {"x": 0.5}]}')
    return [folder / "a.json"]


def refuses(data: Path, out: Path) -> list[Path]:
    raise SourceError("no")


def fails(data: Path, out: Path) -> list[Path]:
    return [][0]


def hides_memory(data: Path, out: Path) -> list[Path]:
    try:
        np.ones(3 << 30, np.uint8)
    except MemoryError as error:
        raise SourceError("too large") from error
    return []


def hangs(data: Path, out: Path) -> list[Path]:
    time.sleep(60)
    return []


def dies(data: Path, out: Path) -> list[Path]:
    os.abort()


def leaves(data: Path, out: Path) -> list[Path]:
    (out / ".x.partial").write_text("half")
    raise SourceError("no")


def escapes(data: Path, out: Path) -> list[Path]:
    (out / ".." / "stranger").write_text("x")
    return []


def meddles(data: Path, out: Path) -> list[Path]:
    next(data.iterdir()).unlink()
    return []


def lies(data: Path, out: Path) -> list[Path]:
    (out / "a.h5").write_text("not an artifact")
    return [out / "a.h5"]


def succeeds(data: Path, out: Path) -> list[Path]:
    return []


@pytest.mark.parametrize(
    ("read", "end"),
    [
        (refuses, "declared error"),
        (succeeds, "valid"),
        (fails, "undeclared error"),
        (hides_memory, "too much memory"),
        (hangs, "hang"),
        (dies, "crash"),
        (leaves, "left behind"),
        (escapes, "escaped"),
        (meddles, "input changed"),
        (lies, "invalid artifact"),
    ],
)
def test_every_bad_end_is_seen_and_the_next_case_runs(read, end: str) -> None:
    outcomes = list(Runner(Target("toy", build, read), 0, lambda: None, seconds=1.0).run(range(2)))
    assert [o.end for o in outcomes] == [end, end]
    assert [o.case for o in outcomes] == [0, 1] and isinstance(outcomes[0], Outcome)


@pytest.mark.parametrize("kind", ["bin", *SPECIAL])
def test_a_mutation_is_decided_by_its_seed_and_changes_the_file(kind: str) -> None:
    data = b'{"a": [1, 2], "b": "text"}' if kind == "json" else bytes(range(256)) * 8
    spoilt = [mutate(random.Random(seed), data, kind) for seed in range(40)]
    assert spoilt == [mutate(random.Random(seed), data, kind) for seed in range(40)]
    assert sum(s != data for s in spoilt) > 35 and len(set(spoilt)) > 30


@pytest.mark.parametrize("mutation", ANY)
def test_every_mutation_bears_an_empty_file(mutation) -> None:
    assert isinstance(mutation(random.Random(0), b""), bytes)


@pytest.mark.parametrize("target", ALL, ids=lambda target: target.name)
def test_every_corpus_is_valid_before_it_is_spoilt(target: Target, tmp_path: Path) -> None:
    """Else a fuzzed file would be refused for what is wrong with its neighbours."""
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    out.mkdir()
    files = target.build(data)
    assert files and all(path.is_file() for path in files)
    assert all(verify(path) == [] for path in target.read(data, out))
