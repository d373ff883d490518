"""Leases: one of many gets it, the dead lose it, and no clock is trusted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from sfvd_pl.artifacts import leases as module
from sfvd_pl.artifacts.leases import Leases


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def mine(tmp_path: Path, watch: Watch) -> Iterator[Leases]:
    with Leases(tmp_path, seconds=60, clock=watch) as leases:
        yield leases


def elsewhere(folder: Path, worker: str = "far", dots: int = 0) -> Path:
    """The card of a worker on another machine whose process number is one of this machine, too."""
    card = folder / f"worker-{worker}"
    facts = {"host": "far", "place": "another boot/1", "pid": os.getpid(), "started": "1"}
    card.write_text(json.dumps(facts) + "\n" + "." * dots)
    return card


def test_of_many_that_try_at_once_one_gets_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(Leases(tmp_path)) for _ in range(8)]
        for name in ("a", "b", "c"):
            with ThreadPoolExecutor(8) as pool:
                assert sum(pool.map(lambda worker, name=name: worker.claim(name), workers)) == 1
    assert list(tmp_path.iterdir()) == [], "leaving gives everything back"


def test_a_released_lease_is_free(mine: Leases, tmp_path: Path) -> None:
    with Leases(tmp_path) as other:
        assert other.claim("a") and not mine.claim("a")
        other.release("a")
        assert mine.claim("a") and not other.claim("a")


def test_a_worker_that_left_without_giving_back_has_nothing(mine: Leases, tmp_path: Path) -> None:
    (tmp_path / "a.0").write_text("somebody without a card")
    assert mine.claim("a")


def test_a_killed_process_of_this_machine_is_dead_at_once(mine: Leases, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sfvd_pl.artifacts.leases import Leases\n"
        "leases = Leases(Path(sys.argv[1])).__enter__(); leases.claim('a'); print('has it', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    assert not mine.claim("a")
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie, for nobody has asked for its status
    assert mine.claim("a")
    assert (tmp_path / "a.1").read_text() == mine.worker
    process.wait()
    mine.release("a")
    assert not list(tmp_path.glob("a.*"))


def test_a_number_that_another_process_has_by_now_is_not_the_worker(mine: Leases, tmp_path: Path) -> None:
    card = tmp_path / "worker-old"
    card.write_text(json.dumps({"host": "here", "place": module.place(), "pid": os.getpid(), "started": "1"}))
    assert mine.dead("old")


def test_elsewhere_silence_is_death_and_a_dot_is_life(mine: Leases, tmp_path: Path, watch: Watch) -> None:
    card = elsewhere(tmp_path)
    (tmp_path / "a.0").write_text("far")
    assert not mine.claim("a"), "its number runs here, but numbers of another machine say nothing"
    watch.now += 59
    assert not mine.claim("a")
    with card.open("a") as file:
        file.write(".")
    watch.now += 59
    assert not mine.claim("a"), "it has given a sign of life"
    assert mine.alive("far") is False, "none since the last look"
    watch.now += 61
    assert mine.claim("a")


def test_wrong_clocks_change_nothing(mine: Leases, tmp_path: Path, watch: Watch) -> None:
    card = elsewhere(tmp_path)
    (tmp_path / "a.0").write_text("far")
    for year in (0, 4_000_000_000):  # the file server's clock: 1970, 2096
        os.utime(card, (year, year))
        os.utime(tmp_path / "a.0", (year, year))
        assert not mine.claim("a")
    watch.now += 61
    os.utime(card)
    assert mine.claim("a"), "only growth is a sign of life"


def test_a_lease_without_a_number_is_free_after_a_while(mine: Leases, tmp_path: Path, watch: Watch) -> None:
    (tmp_path / "a.0").touch()  # its worker was killed between making and writing it
    assert not mine.claim("a")
    watch.now += 61
    assert mine.claim("a")


def test_of_many_that_find_it_dead_one_takes_it_over(tmp_path: Path) -> None:
    (tmp_path / "a.0").write_text("gone")
    (tmp_path / "a.1").write_text("gone, too")
    with ExitStack() as stack:
        workers = [stack.enter_context(Leases(tmp_path)) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda worker: worker.claim("a"), workers)) == 1
        assert (tmp_path / "a.2").exists() and not (tmp_path / "a.3").exists()


def test_whoever_was_taken_for_dead_does_not_free_what_its_successor_holds(mine: Leases, tmp_path: Path) -> None:
    assert mine.claim("a")
    with Leases(tmp_path) as successor:
        (tmp_path / "a.1").write_text(successor.worker)
        mine.release("a")
        assert not mine.claim("a")


def test_a_card_grows_by_itself_and_is_not_made_anew(tmp_path: Path) -> None:
    with Leases(tmp_path, seconds=0.08) as leases:
        card = tmp_path / f"worker-{leases.worker}"
        first = card.stat().st_size
        for _ in range(100):
            if card.stat().st_size > first:
                break
            leases.pause()
        assert card.stat().st_size > first
        card.unlink()
        leases.pause()
        leases.pause()
        assert not card.exists()


def test_others_are_those_not_known_to_be_dead(mine: Leases, tmp_path: Path, watch: Watch) -> None:
    elsewhere(tmp_path)
    with Leases(tmp_path) as other:
        assert set(mine.others()) == {"far", other.worker}
        assert mine.alive(other.worker) and not mine.alive("far")
        assert mine.describe("far") == f"process {os.getpid()} on far"
        assert mine.describe("nobody") == "worker nobody"
    watch.now += 61
    assert mine.others() == []
