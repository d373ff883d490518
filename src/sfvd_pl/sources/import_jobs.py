"""Reading recordings in other processes, in order, whatever becomes of one of them."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from sfvd_pl.errors import ArtifactError, SfvdError, SourceError
from sfvd_pl.sources.labels_match import inner
from sfvd_pl.sources.meta import Meta
from sfvd_pl.sources.parts import Part, save_part
from sfvd_pl.sources.polarity import Polarity, narrowed, with_polarity
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
    """Each job's part or error, in order."""
    if processes <= 1:
        for job in jobs:
            yield job, _attempt(job)
        return
    rest = list(jobs)
    while rest:
        broken = None
        executor = _pool(processes)
        try:
            futures: list[Future[Part | SfvdError]] = [executor.submit(_attempt, job) for job in rest]
            for number, future in enumerate(futures):
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    broken = number
                    break
                yield rest[number], outcome
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
        if broken is None:
            return
        # some job took its process with it: alone, this one shows whether it was, and the others go on without it
        yield rest[broken], _alone(rest[broken])
        rest = rest[broken + 1 :]


def _alone(job: Job) -> Part | SfvdError:
    with _pool(1) as executor:
        try:
            return executor.submit(_attempt, job).result()
        except BrokenProcessPool:
            return SourceError(
                f"the process that read {job.recording.name!r} died",
                file=job.recording.files[0],
                expected="a recording that can be decoded in the memory there is",
                found="out of memory, or a decoder that crashed",
                remedy="export it again, cut it into several runs, or pass --keep_going true to leave it out",
            )


def _pool(processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Let a worker end when the import is killed; by itself it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()
