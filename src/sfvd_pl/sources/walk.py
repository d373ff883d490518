"""Find the recordings in a file or a folder tree, of any kind and mixed, and whose they are."""

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sfvd_pl.errors import SfvdError, SourceError
from sfvd_pl.sources.frames import LAYOUT, scan_run
from sfvd_pl.sources.pictures import SUFFIXES as PICTURES
from sfvd_pl.sources.pictures import natural_key
from sfvd_pl.sources.recording import Recording, Scan
from sfvd_pl.sources.stacks import scan_nifti, scan_npy, stem
from sfvd_pl.sources.video import SUFFIXES as VIDEOS
from sfvd_pl.sources.video import scan_video

MAX_DEPTH = 32
"""Folders below one another that are searched; links can make a tree endless."""
Problem = Callable[[str, SfvdError], None]
"""Told the name of a recording that can't be imported, and why."""


@dataclass(frozen=True)
class Patients:
    """Whose a recording is: the first folder below the root, unless the user says otherwise.

    Args:
        table: Path below the root (of a file, a run's folder or a folder of runs), without a file's suffix or
            with it, to the patient.
        pattern: Regular expression with a group ``patient``, matched from the beginning of the path below the
            root without a file's suffix, as ``p01/run-2``. The empty one is none.
        anyone: A recording directly below the root belongs to a patient of its own name. Only where it doesn't
            matter who it is, as in a prediction.
    """

    table: dict[str, str] = field(default_factory=dict)
    pattern: str = ""
    anyone: bool = False

    def __post_init__(self) -> None:
        """Check the pattern."""
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise SourceError(
                "not a regular expression", key="patient_pattern", found=self.pattern, expected=str(error)
            ) from error
        if self.pattern and "patient" not in groups:
            raise SourceError(
                "the pattern doesn't say which part is the patient",
                key="patient_pattern",
                expected="a group (?P<patient>...)",
                found=self.pattern,
                remedy="for p01_run2.mp4, for example: (?P<patient>[^_/]+)_",
            )

    def name(self, where: PurePosixPath, file: Path, used: set[str]) -> tuple[str, str]:
        """Name and patient of a recording.

        Args:
            where: Path below the root, a file's without its suffix.
            file: The recording, for the error, and for a table that gives the suffix.
            used: Keys of the table that were needed; added to.

        Raises:
            SourceError: Whose it is can't be told.
        """
        listed = self.listed(where, file, used)
        if listed is not None:
            return f"{listed}/{_run_name(where, listed)}", listed
        if self.pattern:
            match = re.match(self.pattern, str(where))
            patient = (match.group("patient") or "") if match else ""
            if not patient or "/" in patient:
                raise SourceError(
                    "the pattern finds no patient in this name",
                    file=file,
                    key="patient_pattern",
                    expected=f"a match of {self.pattern} that gives a name",
                    found=str(where),
                    remedy="correct the pattern, or list the recordings with --patients FILE",
                )
            return f"{patient}/{_run_name(where, patient)}", patient
        if len(where.parts) > 1:
            return str(where), where.parts[0]
        if self.anyone:
            return f"{where}/{where.name}", str(where)
        raise SourceError(
            "whose recording is this?",
            file=file,
            expected="a folder for each patient below the folder that is imported, his or her recordings in it",
            found=f"{file.name} directly below it, and a name alone doesn't say who is who",
            remedy="move it into a folder of its patient, or say who it is with --patients FILE (a CSV file with "
            "the columns path and patient) or --patient_pattern",
        )

    def listed(self, where: PurePosixPath, file: Path, used: set[str]) -> str | None:
        """The patient that the table names for a recording, or for the nearest folder above it."""
        for key in (str(where.with_name(file.name)), *map(str, (where, *where.parents))):
            if key in self.table:
                used.add(key)
                return self.table[key]
        return None


def _run_name(where: PurePosixPath, patient: str) -> str:
    """The rest of the path; a first folder that is the patient's own isn't repeated."""
    parts = where.parts[1:] if len(where.parts) > 1 and where.parts[0] == patient else where.parts
    return "/".join(parts)


def read_patients(path: Path) -> dict[str, str]:
    """A CSV file with the columns ``path`` and ``patient``.

    Raises:
        SourceError: Unreadable, other columns, an empty or unsafe cell, or a path twice.
    """
    table: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError("the list of patients can't be read", file=path, expected="CSV", found=str(error)) from error
    for number, row in enumerate(rows, 2):
        where, patient = (row.get("path") or "").strip(), (row.get("patient") or "").strip()
        key = str(PurePosixPath(where.replace("\\", "/")))
        if not where or not patient or "/" in patient or patient in (".", "..") or key in table:
            raise SourceError(
                "a line of the list of patients says nothing, or something twice",
                file=path,
                key=f"line {number}",
                expected="path,patient: each path once, a patient without slashes",
                found=dict(list(row.items())[:4]),
                remedy="correct the line; the first one must be: path,patient",
            )
        table[key] = patient
    return table


@dataclass(frozen=True)
class Found:
    """Something that looks like a recording: where it is below the root, and how to read its header."""

    where: PurePosixPath
    path: Path
    scan: Callable[[Path, str, str], Recording]


def scan_source(root: str | Path, *, patients: Patients | None = None, problem: Problem | None = None) -> Scan:
    """Find every recording under a folder, or the one that a file is, and check what can be checked undecoded.

    Hidden entries are passed over. A folder that holds ``images/`` is one run, whatever else lies in it.

    Args:
        root: A recording's file, or a folder.
        patients: How to tell whose a recording is.
        problem: Called with each recording that can't be imported, which is then left out; without it the first
            one is raised.

    Raises:
        SourceError: Nothing found, or whose a recording is can't be told, or a recording that can't be imported.
    """
    root, patients = Path(root), patients or Patients()
    if not root.exists():
        raise SourceError(
            "no such file or folder",
            file=root,
            expected="a folder of patients, or a recording",
            found="nothing",
            remedy="give the folder that holds the patients",
        )
    walk = _Walk(root)
    used: set[str] = set()
    recordings: dict[str, Recording] = {}
    for found in walk.found:
        name, patient = patients.name(found.where, found.path, used)
        if name in recordings:
            raise SourceError(
                "two recordings of one name", file=found.path, key="name", expected="another name", found=name,
                remedy="rename one, or remove it if both are the same run",
            )  # fmt: skip
        try:
            recordings[name] = found.scan(found.path, name, patient)
        except SfvdError as error:
            if problem is None:
                raise
            problem(name, error)
    _check_used(patients, used)
    if not recordings and problem is None:
        raise _nothing(root, walk)
    return Scan(root, tuple(recordings[name] for name in sorted(recordings, key=name_key)), tuple(walk.ignored))


def name_key(name: str) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    """Natural order of clip names, part by part."""
    return tuple(natural_key(Path(part)) for part in name.split("/"))


def _check_used(patients: Patients, used: set[str]) -> None:
    unused = sorted(set(patients.table) - used)
    if unused:
        raise SourceError(
            "the list of patients names what isn't there",
            key="patients",
            expected="paths of recordings or of folders that hold some, below the folder that is imported",
            found=", ".join(unused[:10]) + (", ..." if len(unused) > 10 else ""),
            remedy="correct the paths",
        )


class _Walk:
    """One pass over a tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.found: list[Found] = []
        self.ignored: list[Path] = []
        if root.is_dir():
            self._folder(root, PurePosixPath(), (os.path.realpath(root),))
            if not any(found.path == root for found in self.found):  # the folder isn't itself a run
                self._check_patients()
        else:
            self._file(root, PurePosixPath(stem(root)))

    def _folder(self, folder: Path, where: PurePosixPath, above: tuple[str, ...]) -> None:
        if (folder / "images").is_dir():
            inside = where if where.parts else PurePosixPath(folder.resolve().name or "run")
            self.found.append(Found(inside, folder, scan_run))
            return
        folders: list[Path] = []
        files: list[Path] = []
        for path in sorted(folder.iterdir(), key=natural_key):
            if not path.name.startswith("."):
                (folders if path.is_dir() else files).append(path)
        for path in files:
            self._file(path, where / stem(path))
        if len(where.parts) >= 2 and any(path.suffix.lower() in PICTURES for path in files):
            raise SourceError(
                "pictures that belong to no run",
                file=folder,
                expected="a folder images/ that holds the run's pictures",
                found=f"no folder images/, but {files[0].name} and others",
                remedy=LAYOUT,
            )
        for path in folders:
            real = os.path.realpath(path)
            if real not in above and len(above) < MAX_DEPTH:
                self._folder(path, where / path.name, (*above, real))

    def _file(self, path: Path, where: PurePosixPath) -> None:
        kind = _kind(path)
        if kind is not None:
            self.found.append(Found(where, path, kind))
        else:
            self.ignored.append(path)

    def _check_patients(self) -> None:
        """A patient's folder without any recording is a mistake, not an empty patient."""
        seen = {found.where.parts[0] for found in self.found}
        for folder in _folders(self.root):
            if self.found and folder.name not in seen:
                below = [path for path in self.ignored if folder in path.parents]
                raise SourceError(
                    "the patient has no runs",
                    file=folder,
                    expected="<run>/images/*.png, or a DICOM, video, NIfTI or .npy file",
                    found=_described(below) or "nothing",
                    remedy=LAYOUT,
                )


def _folders(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=natural_key):
        if path.is_dir() and not path.name.startswith("."):
            yield path


def _kind(path: Path) -> Callable[[Path, str, str], Recording] | None:
    """How to read a file's header, None where it isn't a recording."""
    name = path.name.lower()
    if ".labels." in name or name.startswith("labels."):
        return None
    if name.endswith(".npy"):
        return scan_npy
    if name.endswith((".nii", ".nii.gz")):
        return scan_nifti
    if name.endswith(VIDEOS):
        return scan_video
    return None


def _nothing(root: Path, walk: _Walk) -> SourceError:
    return SourceError(
        "there are no recordings" if root.is_dir() else "the file isn't a recording",
        file=root,
        expected="<patient>/<run>/images/*.png, or DICOM, video, NIfTI or .npy files in patients' folders",
        found=_described(walk.ignored) or "nothing",
        remedy=LAYOUT,
    )


def _described(files: list[Path]) -> str:
    """So many files of which suffixes."""
    count: dict[str, int] = {}
    for path in files:
        suffix = path.suffix.lower() or "no suffix"
        count[suffix] = count.get(suffix, 0) + 1
    return ", ".join(f"{number} x {suffix}" for suffix, number in sorted(count.items())[:12])
