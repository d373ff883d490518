"""Reading recordings in other processes, in order, whatever becomes of one of them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from sfvd_pl.errors import ArtifactError, SfvdError, SourceError
from sfvd_pl.sources.importing.parts import Part, save_part
from sfvd_pl.sources.importing.polarity import Polarity, narrowed, with_polarity
from sfvd_pl.sources.labels.match import inner
from sfvd_pl.sources.meta import Meta
from sfvd_pl.sources.recording import Recording


@dataclass(frozen=True)
class Job:
    """One recording to read, and where its part goes."""

    recording: Recording
    path: Path
    polarity: Polarity

    def __call__(self) -> Part:
        """Read the recording and write its part.

        Raises:
            SfvdError: It can't be imported.
        """
        meta = getattr(inner(self.recording), "meta", None)
        told = isinstance(meta, Meta) and meta.inverted is not None
        try:
            clip = narrowed(with_polarity(self.recording.read(), self.polarity, told=told))
        except SfvdError:
            raise
        except Exception as error:  # a decoder met what its authors didn't think of
            raise SourceError(
                f"recording {self.recording.name!r} can't be read",
                file=self.recording.files[0],
                found=f"{type(error).__name__}: {str(error)[:200]}",
                remedy="export it again, or pass --keep_going true to leave it out",
            ) from error
        try:
            save_part(self.path, clip)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return Part(self.path, clip.frame_shape, clip.intensity_max, bool(clip.annotated.any()), clip.origin)


def cannot_write(path: Path, error: OSError) -> ArtifactError:
    """The error of a folder or disk that takes nothing more; no recording's fault."""
    return ArtifactError(
        "what was read can't be written",
        file=path,
        expected="room for all clips twice, for a while",
        found=error.strerror or str(error),
        remedy="make room or choose another place, and run the same command again: it goes on",
    )


def _attempt(job: Job) -> Part | SfvdError:
    try:
        return Part.open(job.path) or job()
    except SfvdError as error:
        return error


def outcomes(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Part | SfvdError]]:
    """Each job's part or error, in order; a job that takes its process with it has an error of its own."""
    if processes <= 1:
        for job in jobs:
            yield job, _attempt(job)
        return
    workers = [_Worker() for _ in range(processes)]
    handed, given = 0, 0
    done: dict[int, Part | SfvdError] = {}
    try:
        while given < len(jobs):
            for worker in workers:
                if worker.number is None and handed < len(jobs):
                    worker.give(handed, jobs[handed])
                    handed += 1
            busy = {worker.link: worker for worker in workers if worker.number is not None}
            for link in wait(list(busy)):
                worker = busy[link]  # type: ignore[index]  # wait gives back what it was given
                number = worker.number
                assert number is not None
                done[number] = worker.take(jobs[number])
            while given in done:
                yield jobs[given], done.pop(given)
                given += 1
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process that reads one recording at a time; a new one takes its place when it dies.

    ProcessPoolExecutor can't tell which of its jobs a dead process had, and at times waits for ever for another.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.link, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that the link ends when the process does

    def give(self, number: int, job: Job) -> None:
        """Let it do a job."""
        try:
            self.link.send(job)
        except OSError:  # it died between two jobs
            self.end()
            self._start()
            self.link.send(job)
        self.number = number

    def take(self, job: Job) -> Part | SfvdError:
        """What became of the job."""
        self.number = None
        try:
            outcome: Part | SfvdError = self.link.recv()
        except (EOFError, OSError):
            self.end()
            self._start()
            return SourceError(
                f"the process that read {job.recording.name!r} died",
                file=job.recording.files[0],
                expected="a recording that can be decoded in the memory there is",
                found="out of memory, or a decoder that crashed",
                remedy="export it again, cut it into several runs, or pass --keep_going true to leave it out",
            )
        return outcome

    def end(self) -> None:
        """End the process, whatever it is doing; a part is written whole or not at all."""
        self.link.close()
        self._process.terminate()
        self._process.join()


def _serve(link: Connection) -> None:
    """Do jobs until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the import's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            link.send(_attempt(link.recv()))
        except (EOFError, OSError):
            return


def _end_with_parent() -> None:
    """End at once when the import is killed, also in the middle of a recording."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
