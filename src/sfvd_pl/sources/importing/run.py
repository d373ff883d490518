"""Import of clips from anywhere: found, read in parallel, kept part by part, put together as a source artifact."""

import fcntl
import hashlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sfvd_pl.errors import ArtifactError, SfvdError, SourceError
from sfvd_pl.sources.dicom.scan import DicomRun, default_salt
from sfvd_pl.sources.frames import Run
from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.jobs import Job, cannot_write, outcomes
from sfvd_pl.sources.importing.parts import Part, Parts, part_key
from sfvd_pl.sources.labels.attach import Labelled, attach_labels
from sfvd_pl.sources.labels.files import Drawing
from sfvd_pl.sources.labels.match import inner
from sfvd_pl.sources.patients import Patients, read_patients
from sfvd_pl.sources.recording import Recording, Scan
from sfvd_pl.sources.split import ClipMeta, SplitConfig, settle
from sfvd_pl.sources.walk import DICOM_FILE, scan_source
from sfvd_pl.sources.write import Summary, no_masks, write_source


@dataclass(frozen=True)
class Skipped:
    """A recording that was left out.

    Args:
        name: ``<patient>/<run>``; of a DICOM file its path.
        error: Why.
    """

    name: str
    error: SfvdError

    def recorded(self, patients: Collection[str] | None) -> dict[str, str]:
        """What the artifact says of it; what may be the name of DICOM's patient stays on the terminal.

        Args:
            patients: Those whose names are in the artifact anyway; None where no DICOM files lie in the tree.
        """
        told = patients is None or self.name.split("/")[0] in patients
        name = "a DICOM file" if self.name.startswith(DICOM_FILE) else self.name if told else "a folder or file"
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
        ArtifactError: The artifact exists, or can't be written.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise ArtifactError(
            "the artifact exists already", file=out, remedy="choose another name, or pass --overwrite true"
        )
    bad: list[Skipped] = []
    try:
        return _import(source, out, config, bad, split=split, seed=seed, overwrite=overwrite, progress=progress)
    except SfvdError as error:
        if bad:  # what was left out is often why the rest won't do
            said = [] if error.found is None else [str(error.found)]
            error.found = "\n    ".join([*said, *(f"left out {skipped}" for skipped in bad)])
        raise


def _import(
    source: Path,
    out: Path,
    config: ImportConfig,
    bad: list[Skipped],
    *,
    split: SplitConfig,
    seed: int,
    overwrite: bool,
    progress: bool,
) -> Summary:
    scan = find(source, config, bad)
    _check_worth(scan, out, split, seed)
    folder = out.with_name(f".{out.name}.import")
    with _claimed(folder):
        read = _read_all(scan.recordings, folder, config, bad, progress=progress)
        parts = [part for _, part in read]
        if not parts:
            raise SourceError("no recording could be imported", file=source)
        dicom = any(isinstance(inner(recording), DicomRun) for recording in scan.recordings)
        dicom = dicom or any(skipped.name.startswith(DICOM_FILE) for skipped in bad)
        known = {recording.patient for recording, _ in read} if dicom else None
        recorded = {
            **config.recorded(),
            "recordings": {origin: [p.origin for p in parts].count(origin) for origin in {p.origin for p in parts}},
            "skipped": [skipped.recorded(known) for skipped in bad],
        }
        summary = write_source(
            out, Parts(parts), split=split, seed=seed, config={"import": recorded}, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
        for path in folder.glob("*.npz"):
            path.unlink()
    warnings = (*summary.warnings, *_notes(read, scan, config))
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
        raise SourceError("no recording could be imported", file=source, found=None if bad else "nothing")
    return scan


def _check_worth(scan: Scan, out: Path, split: SplitConfig, seed: int) -> None:
    """What must fail in the end fails before hours of reading."""
    clips = [ClipMeta(recording.name, recording.patient, "", has_labels(recording)) for recording in scan.recordings]
    if not any(clip.annotated for clip in clips):
        raise no_masks(out, len(scan))
    settle(clips, split, seed)


def has_labels(recording: Recording) -> bool:
    """Whether labels were found for a recording, be they empty."""
    if isinstance(recording, Labelled) and (recording.shapes or recording.volume is not None):
        return True
    found = inner(recording)
    return isinstance(found, Run) and any(mask is not None for mask in found.masks)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder of parts, for this process alone; one without parts is removed in the end.

    Raises:
        SourceError: Another import writes the same artifact.
        ArtifactError: Nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SourceError(
                "another import is writing this artifact", file=folder, remedy="wait for it, or choose another name"
            ) from error
        try:
            yield
        finally:
            if not any(folder.glob("*.npz")):
                shutil.rmtree(folder, ignore_errors=True)


def _read_all(
    recordings: Sequence[Recording], folder: Path, config: ImportConfig, bad: list[Skipped], *, progress: bool
) -> list[tuple[Recording, Part]]:
    """All recordings that can be read, in order, with their parts, those from an earlier attempt as they are."""
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
        for job, outcome in outcomes(todo, min(config.processes, len(todo))):
            bar.update()
            if isinstance(outcome, SfvdError):
                if not config.keep_going or isinstance(outcome, ArtifactError):
                    raise outcome
                bad.append(Skipped(job.recording.name, outcome))
            else:
                done[job.path] = outcome
    return [(job.recording, done[job.path]) for job in jobs if job.path in done]


def _notes(read: Sequence[tuple[Recording, Part]], scan: Scan, config: ImportConfig) -> Iterator[str]:
    """What a user should know beside the numbers."""
    recordings, parts = [recording for recording, _ in read], [part for _, part in read]
    bare = [recording.name for recording, part in read if not part.annotated]
    if bare and config.polarity == "check":
        yield f"{_listed(bare)}: no labels, so whether the wire is dark can't be checked"
    notes: dict[str, list[str]] = {}
    for recording in recordings:
        for note in getattr(inner(recording), "notes", ()):
            notes.setdefault(note, []).append(recording.name)
    for note, names in notes.items():
        yield f"{_listed(names)}: {note}"
    areas = [part.frame_shape[0] * part.frame_shape[1] for part in parts]
    height, width = Parts(parts).frame_shape
    padded, own = height * width * len(parts), sum(areas)
    if padded > PADDING * own:
        name = recordings[int(np.argmax(areas))].name
        yield (
            f"frames of several sizes: all are padded to the largest, as {name!r} has, which makes the artifact "
            f"{padded / own:.1f} times as large; import clips of such different sizes apart"
        )
    strange = [path for path in scan.ignored if path.suffix.lower() not in _EXPECTED]
    if strange:
        yield f"{_listed([path.name for path in strange], 'file')} passed over: no recording in them"


PADDING = 3.0
"""Size of an artifact with its padding, in sizes without, from which a word is said."""
_EXPECTED = (".json", ".txt", ".md", ".csv", ".xml", ".yaml", ".yml", ".html", ".pdf")
"""Suffixes of files that often lie beside recordings and need no word."""


def _listed(names: Sequence[str], unit: str = "clip") -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} {unit}{'s' * (len(names) > 1)} ({shown})"

