"""Runs spoilt files through the program, each in a process that may die, and says how each ended.

A case is decided by (seed, number): which valid file is spoilt, and how. It ends well if what reads it raises a
declared error (``SfvdError``) or succeeds with an artifact that verifies. Anything else is a finding: another
exception, a dead process, more than ten seconds, more than 2 GiB asked for, a file left under a final or partial name
after an error, a file outside of the output folder, a changed input.
"""

import contextlib
import hashlib
import multiprocessing as mp
import os
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mutate import mutate

SECONDS = 10.0
BYTES = 2 << 30
GOOD = ("declared error", "valid")


@dataclass(frozen=True)
class Target:
    """One way in.

    Args:
        name: Of the kind of file.
        build: Writes valid input into a folder; returns the files that may be spoilt.
        read: Reads the folder and writes into another; returns artifacts that must verify. Raises ``SfvdError`` for
            what it refuses.
    """

    name: str
    build: Callable[[Path], list[Path]]
    read: Callable[[Path, Path], list[Path]]


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    target: str
    case: int
    end: str
    detail: str = ""


def one_case(target: Target, corpus: Path, seed: int, case: int, room: Path) -> Outcome:
    """Spoil one file of a copy of the corpus, read it, and look around."""
    digest = hashlib.sha256(f"{seed}/{target.name}/{case}".encode()).digest()
    rng = random.Random(digest)
    shutil.rmtree(room, ignore_errors=True)
    data, out = room / "data", room / "out"
    shutil.copytree(corpus / "data", data)
    out.mkdir(parents=True)
    files = [data / line for line in (corpus / "files.txt").read_text().splitlines()]
    path = rng.choice(files)
    path.write_bytes(mutate(rng, path.read_bytes(), path.suffix.lstrip(".")))
    before = _listing(data)
    try:
        made = target.read(data, out)
    except Exception as error:
        end, detail = _judge_error(error)
        # What an import has read is kept on purpose, so that it can go on.
        left = [p for p in out.rglob("*") if p.is_file() and p.parent.suffix != ".import"]
        if end == "declared error" and left:
            end, detail = "left behind", str(left[0])
    else:
        end, detail = _judge_artifacts(made)
    if _listing(data) != before:
        end, detail = "input changed", str(path)
    strangers = [p for p in room.iterdir() if p.name not in ("data", "out")]
    if strangers:
        end, detail = "escaped", str(strangers[0])
    return Outcome(target.name, case, end, detail if end in GOOD else f"{path.name}: {detail}")


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.stat().st_size) for p in folder.rglob("*") if p.is_file())


def _judge_error(error: BaseException) -> tuple[str, str]:
    from sfvd_pl.errors import SfvdError

    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(link, MemoryError) or type(link).__name__ == "_ArrayMemoryError" for link in chain):
        return "too much memory", "".join(traceback.format_exception(error))[-1500:]
    if isinstance(error, SfvdError):
        return "declared error", type(error).__name__
    return "undeclared error", "".join(traceback.format_exception(error))[-2500:]


def _judge_artifacts(made: list[Path]) -> tuple[str, str]:
    from sfvd_pl.artifacts import verify

    problems = [problem for path in made for problem in verify(path)]
    return ("invalid artifact", problems[0]) if problems else ("valid", "")


def _limit_memory() -> None:
    """From now on the process may ask for ``BYTES`` more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _worker(link: Connection, target: Target, corpus: Path, seed: int, room: Path, warm: Callable[[], None]) -> None:
    warnings.simplefilter("ignore")
    # What decoders written in C have to say of damaged files goes nowhere.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    warm()
    _limit_memory()
    link.send(None)
    while (case := link.recv()) is not None:
        link.send(one_case(target, corpus, seed, case, room))


class Runner:
    """Feeds cases of one target to a process, and starts another when it dies.

    Args:
        target: What is tried.
        seed: With the case's number decides the case.
        warm: Imports what a case needs, before memory is limited.
        seconds: Longest time of a case.
    """

    def __init__(self, target: Target, seed: int, warm: Callable[[], None], seconds: float = SECONDS) -> None:
        self.target, self.seed, self.warm, self.seconds = target, seed, warm, seconds
        self.folder = Path(tempfile.mkdtemp(prefix="sfvd-fuzz-"))
        self.corpus = self.folder / "corpus"
        (self.corpus / "data").mkdir(parents=True)
        files = target.build(self.corpus / "data")
        names = [str(path.relative_to(self.corpus / "data")) for path in files]
        (self.corpus / "files.txt").write_text("\n".join(names))
        self._process: Any = None
        self._link: Any = None

    def run(self, cases: range) -> Iterator[Outcome]:
        """The cases' outcomes, in order."""
        try:
            for case in cases:
                yield self._one(case)
        finally:
            self._end()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _one(self, case: int) -> Outcome:
        if self._process is None:
            self._start()
        self._link.send(case)
        if not self._link.poll(self.seconds):
            self._end()
            return Outcome(self.target.name, case, "hang", f"more than {self.seconds:g} s")
        try:
            outcome: Outcome = self._link.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._end()
            return Outcome(self.target.name, case, "crash", f"the process ended with {code}")
        return outcome

    def _start(self) -> None:
        context = mp.get_context("fork")
        self._link, theirs = context.Pipe()
        arguments = (theirs, self.target, self.corpus, self.seed, self.folder / "room", self.warm)
        self._process = context.Process(target=_worker, args=arguments, daemon=False)
        self._process.start()
        theirs.close()
        if not self._link.poll(120):
            raise RuntimeError("the fuzzing process did not start")
        self._link.recv()

    def _end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._link.close()
            self._process.kill()
            self._process.join()
        self._process = self._link = None
