"""Import of clips from anywhere: found, read in parallel, kept part by part, put together as a source artifact."""

import fcntl
import hashlib
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from sfvd_pl.errors import SfvdError, SourceError
from sfvd_pl.sources.dicom import DicomConfig, DicomRun, default_salt
from sfvd_pl.sources.frames import Run
from sfvd_pl.sources.labels import Labelled, attach_labels
from sfvd_pl.sources.labels_files import Drawing
from sfvd_pl.sources.labels_match import inner
from sfvd_pl.sources.meta import Meta
from sfvd_pl.sources.parts import Part, Parts, part_key, save_part
from sfvd_pl.sources.patients import Patients, read_patients
from sfvd_pl.sources.polarity import POLARITIES, Polarity, narrowed, with_polarity
from sfvd_pl.sources.recording import Recording, Scan
from sfvd_pl.sources.walk import DICOM_FILE, scan_source
from sfvd_pl.sources.write import SplitConfig, Summary, assign_splits, no_masks, write_source


@dataclass(frozen=True)
class ImportConfig:
    """How recordings are found and read.

    Args:
        polarity: ``check`` refuses a labelled clip whose wire is clearly brighter than its surroundings; ``keep``
            takes pictures as they are; ``invert`` inverts all whose meta.json doesn't say ``inverted``.
        labels: A file of labels for the whole tree: COCO JSON, CVAT XML, or a point list in JSON or CSV.
        wire_width: Width of curves that have none of their own, px.
        wire_labels: Names of the labels that are wires, where a file of labels has several.
        patients: A CSV file with the columns ``path`` and ``patient``, for recordings whose first folder isn't their
            patient.
        patient_pattern: Regular expression with a group ``patient``, matched from the beginning of a recording's
            path; DICOM files say whose they are.
        workers: Processes that read, or ``auto``, one a core. The result is the same for any number.
        keep_going: Leave out recordings that can't be imported, and say which, instead of stopping at the first.
        dicom: How DICOM files are read.

    Raises:
        SourceError: A value that isn't among these.
    """

    polarity: Polarity = "check"
    labels: Path | None = None
    wire_width: float | None = None
    wire_labels: list[str] = field(default_factory=list)
    patients: Path | None = None
    patient_pattern: str = ""
    workers: int | Literal["auto"] = "auto"
    keep_going: bool = False
    dicom: DicomConfig = field(default_factory=DicomConfig)

    def __post_init__(self) -> None:
        """Check the values."""
        if self.polarity not in POLARITIES:
            raise SourceError("no such choice", key="polarity", expected=POLARITIES, found=self.polarity)
        if self.workers != "auto" and not (isinstance(self.workers, int) and self.workers >= 1):
            raise SourceError("no such number", key="workers", expected="1, 2, ... or auto", found=self.workers)
        if self.wire_width is not None and not 0 < self.wire_width <= 500:
            raise SourceError("no such width", key="wire_width", expected="0..500 px", found=self.wire_width)

    @property
    def processes(self) -> int:
        """Number of processes."""
        return len(os.sched_getaffinity(0)) if self.workers == "auto" else self.workers

    def recorded(self) -> dict[str, Any]:
        """What decides the result, in JSON types; files by name."""
        settings = {key: value for key, value in asdict(self).items() if key not in ("workers", "keep_going")}
        return {key: value.name if isinstance(value, Path) else value for key, value in settings.items()}


@dataclass(frozen=True)
class Skipped:
    """A recording that was left out.

    Args:
        name: ``<patient>/<run>``; of a DICOM file its path.
        error: Why.
    """

    name: str
    error: SfvdError

    @property
    def recorded(self) -> dict[str, str]:
        """What the artifact says of it; a DICOM file's path may hold a patient's name and stays on the terminal."""
        name = "a DICOM file" if self.name.startswith(DICOM_FILE) else self.name
        return {"name": name, "reason": self.error.message}

    def __str__(self) -> str:
        """One line."""
        facts = [f"{key} {value}" for key in ("file", "found") if (value := getattr(self.error, key)) is not None]
        return f"{self.name}: {self.error.message}" + (f" ({', '.join(facts)})" if facts else "")


def import_source(
    source: Path,
    out: Path,
    config: ImportConfig,
    *,
    split: SplitConfig,
    seed: int,
    overwrite: bool = False,
    progress: bool = True,
) -> Summary:
    """Make a source artifact of every recording in a file or folder tree.

    What is read is kept in ``.<name>.import`` beside the artifact until that is whole: after a stop the same command
    goes on. A recording that changed since, or other settings, are read anew.

    Args:
        source: File or folder.
        out: The artifact.
        config: How recordings are found and read.
        split, seed, overwrite, progress: See ``write_source``.

    Returns:
        What was written, what was left out and why, and what to look at.

    Raises:
        SourceError: A recording can't be imported (unless ``keep_going``), none can, there are no labels at all, or
            too few patients.
        ArtifactError: The artifact exists.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise SourceError(
            "the artifact exists already", file=out, remedy="choose another name, or pass --overwrite true"
        )
    bad: list[Skipped] = []
    scan = find(source, config, bad)
    _check_worth(scan, out, split, seed)
    folder = out.with_name(f".{out.name}.import")
    with _claimed(folder):
        parts = _read_all(scan.recordings, folder, config, bad, progress=progress)
        if not parts:
            raise SourceError("no recording could be imported", file=source, found=str(bad[0]))
        recorded = {
            "source": source.resolve().name,
            **config.recorded(),
            "skipped": [skipped.recorded for skipped in bad],
        }
        summary = write_source(
            out, Parts(parts), split=split, seed=seed, config={"import": recorded}, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
    left_out = {skipped.name for skipped in bad}
    kept = [recording for recording in scan.recordings if recording.name not in left_out]
    warnings = (*summary.warnings, *_notes(kept, parts, scan, config))
    return replace(summary, warnings=warnings, skipped=tuple(map(str, bad)))


def find(source: Path, config: ImportConfig, bad: list[Skipped]) -> Scan:
    """Recordings with the labels that lie beside them; those that can't be imported are added to ``bad``.

    Raises:
        SourceError: As ``scan_source`` and ``attach_labels``.
    """
    patients = Patients(read_patients(config.patients) if config.patients else {}, config.patient_pattern)

    def problem(name: str, error: SfvdError) -> None:
        bad.append(Skipped(name, error))

    told = problem if config.keep_going else None
    scan = scan_source(source, patients=patients, dicom=config.dicom, problem=told)
    drawing = Drawing(config.wire_width, tuple(config.wire_labels))
    left_out = [skipped.name for skipped in bad]
    scan = attach_labels(scan, labels=config.labels, drawing=drawing, problem=told, skipped=left_out)
    if not scan.recordings:
        found = str(bad[0]) if bad else "nothing"
        raise SourceError("no recording could be imported", file=source, found=found)
    return scan


def _check_worth(scan: Scan, out: Path, split: SplitConfig, seed: int) -> None:
    """What must fail in the end fails before hours of reading."""
    assign_splits({recording.patient for recording in scan.recordings}, split, seed)
    if not any(has_labels(recording) for recording in scan.recordings):
        raise no_masks(out, len(scan))


def has_labels(recording: Recording) -> bool:
    """Whether labels were found for a recording, be they empty."""
    if isinstance(recording, Labelled) and (recording.shapes or recording.volume is not None):
        return True
    found = inner(recording)
    return isinstance(found, Run) and any(mask is not None for mask in found.masks)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder of parts, for this process alone.

    Raises:
        SourceError: Another import writes the same artifact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SourceError(
                "another import is writing this artifact", file=folder, remedy="wait for it, or choose another name"
            ) from error
        yield


def _read_all(
    recordings: Sequence[Recording], folder: Path, config: ImportConfig, bad: list[Skipped], *, progress: bool
) -> list[Part]:
    """Parts of all recordings in order, those from an earlier attempt as they are."""
    salt = default_salt() if any(isinstance(inner(recording), DicomRun) for recording in recordings) else ""
    settings = {**config.recorded(), "salt": hashlib.sha256(salt.encode()).hexdigest()}
    keys = [part_key(recording, settings) for recording in recordings]
    jobs = [Job(r, folder / f"{key}.npz", config.polarity) for r, key in zip(recordings, keys, strict=True)]
    wanted = {job.path for job in jobs}
    for path in folder.glob("*.npz"):
        if path not in wanted:  # of other settings, or of a recording that changed
            path.unlink()
    done = {job.path: part for job in jobs if (part := Part.open(job.path)) is not None}
    todo = [job for job in jobs if job.path not in done]
    with tqdm(total=len(jobs), initial=len(done), desc="import", unit="clip", disable=not progress) as bar:
        for job, outcome in _outcomes(todo, min(config.processes, len(todo))):
            bar.update()
            if isinstance(outcome, SfvdError):
                if not config.keep_going:
                    raise outcome
                bad.append(Skipped(job.recording.name, outcome))
            else:
                done[job.path] = outcome
    return [done[job.path] for job in jobs if job.path in done]


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
        save_part(self.path, clip)
        return Part(self.path, clip.frame_shape, clip.intensity_max, bool(clip.annotated.any()))


def _attempt(job: Job) -> Part | SfvdError:
    try:
        return Part.open(job.path) or job()
    except SfvdError as error:
        return error


def _outcomes(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, Part | SfvdError]]:
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


def _notes(
    recordings: Sequence[Recording], parts: Sequence[Part], scan: Scan, config: ImportConfig
) -> Iterator[str]:
    """What a user should know beside the numbers."""
    bare = [recording.name for recording, part in zip(recordings, parts, strict=True) if not part.annotated]
    if bare and config.polarity == "check":
        yield f"{_listed(bare)}: no labels, so whether the wire is dark can't be checked"
    notes: dict[str, list[str]] = {}
    for recording in recordings:
        for note in getattr(inner(recording), "notes", ()):
            notes.setdefault(note, []).append(recording.name)
    for note, names in notes.items():
        yield f"{_listed(names)}: {note}"
    strange = [path for path in scan.ignored if path.suffix.lower() not in _EXPECTED]
    if strange:
        yield f"{_listed([path.name for path in strange], 'file')} passed over: no recording in them"


_EXPECTED = (".json", ".txt", ".md", ".csv", ".xml", ".yaml", ".yml", ".html", ".pdf")
"""Suffixes of files that often lie beside recordings and need no word."""


def _listed(names: Sequence[str], unit: str = "clip") -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} {unit}{'s' * (len(names) > 1)} ({shown})"

