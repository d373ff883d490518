"""Find the recordings in a file or a folder tree, of any kind and mixed, and whose they are."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sfvd_pl.errors import SfvdError, SourceError
from sfvd_pl.sources.dicom.scan import DicomConfig, DicomRun, default_salt, is_dicom, scan_dicom
from sfvd_pl.sources.frames import LAYOUT, scan_run
from sfvd_pl.sources.patients import Patients
from sfvd_pl.sources.pictures import SUFFIXES as PICTURES
from sfvd_pl.sources.pictures import natural_key
from sfvd_pl.sources.recording import Recording, Renamed, Scan
from sfvd_pl.sources.stacks import scan_nifti, scan_npy, stem
from sfvd_pl.sources.video import SUFFIXES as VIDEOS
from sfvd_pl.sources.video import scan_video

MAX_DEPTH = 32
"""Folders below one another that are searched; links can make a tree endless."""
DICOM_FILE = "DICOM "
"""Before the path of a DICOM file that can't be imported, which has no name yet."""
Problem = Callable[[str, SfvdError], None]
"""Told the name of a recording that can't be imported, and why."""


@dataclass(frozen=True)
class Found:
    """Something that looks like a recording: where it is below the root, and how to read its header."""

    where: PurePosixPath
    path: Path
    scan: Callable[[Path, str, str], Recording]


def scan_source(
    root: str | Path,
    *,
    patients: Patients | None = None,
    dicom: DicomConfig | None = None,
    salt: str | None = None,
    problem: Problem | None = None,
) -> Scan:
    """Find every recording under a folder, or the one that a file is, and check what can be checked undecoded.

    Hidden entries are passed over. A folder that holds ``images/`` is one run, whatever else lies in it.

    Args:
        root: A recording's file, or a folder.
        patients: How to tell whose a recording is.
        dicom: How DICOM files are read.
        salt: Secret behind the pseudonyms of DICOM's patients, see ``default_salt``.
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
    told = problem or _raise
    walk = _Walk(root, told)
    used: set[str] = set()
    recordings: dict[str, Recording] = {}
    for found in walk.found:
        try:
            name, patient = patients.name(found.where, found.path, used)
            _check_text(name, found.path)
            _add(recordings, found.scan(found.path, name, patient), name)
        except SfvdError as error:
            told(_printable(found.where), error)
        except OSError as error:
            told(_printable(found.where), _unreadable(found.path, error))
    if walk.dicom:
        _add_dicom(recordings, walk, patients, used, dicom or DicomConfig(), salt or default_salt(), problem)
    _check_used(patients, used)
    if not recordings and problem is None:
        raise _nothing(root, walk)
    return Scan(root, tuple(recordings[name] for name in sorted(recordings, key=name_key)), tuple(walk.ignored))


def _raise(name: str, error: SfvdError) -> None:
    raise error


def _unreadable(path: Path, error: OSError) -> SourceError:
    where = error.filename or path
    return SourceError("it can't be read", file=where, expected="a file or folder", found=error.strerror or str(error))


def _printable(where: PurePosixPath) -> str:
    return str(where).encode("utf-8", "replace").decode()


def _check_text(name: str, path: Path) -> None:
    """A name that isn't Unicode can neither be written to an artifact nor be printed."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SourceError(
            "a name that isn't text",
            file=str(path).encode("utf-8", "replace").decode(),
            expected="UTF-8",
            found=ascii(name),
            remedy="rename the file or folder",
        ) from error


def _add(recordings: dict[str, Recording], recording: Recording, name: str) -> None:
    if name in recordings:
        raise SourceError(
            "two recordings of one name",
            file=recording.files[0],
            key="name",
            expected="another name",
            found=name,
            remedy="rename one, or remove it if both are the same run",
        )
    recordings[name] = recording


def _add_dicom(
    recordings: dict[str, Recording],
    walk: "_Walk",
    patients: Patients,
    used: set[str],
    config: DicomConfig,
    salt: str,
    problem: Problem | None,
) -> None:
    """DICOM runs; their headers say whose they are, unless the user's list does."""

    def refused(error: SfvdError) -> None:
        path = Path(error.file or walk.root)
        assert problem is not None
        problem(f"{DICOM_FILE}{path.relative_to(walk.root) if path.is_relative_to(walk.root) else path}", error)

    runs = scan_dicom(walk.dicom, config, salt, on_error=None if problem is None else refused)
    others: dict[str, list[Found]] = {}
    for found in walk.found:
        if len(found.where.parts) > 1 and patients.listed(found.where, found.path, used) is None:
            others.setdefault(found.where.parts[0], []).append(found)
    said: dict[str, dict[str | None, Path]] = {}
    for run in runs:
        path = run.files[0]
        where = PurePosixPath(*path.relative_to(walk.root).parts) if path != walk.root else PurePosixPath(path.name)
        listed = patients.listed(where.with_name(stem(path)), path, used)
        beside = others.get(where.parts[0]) if listed is None and len(where.parts) > 1 else None
        if beside and not patients.anyone:
            raise SourceError(
                "a patient's folder holds DICOM files and others, and only the former say whose they are",
                file=path,
                expected="DICOM files apart from other recordings, or all of the folder in the list of patients",
                found=f"{beside[0].path.name} in {where.parts[0]} as well",
                remedy=f"say who it is with --patients FILE, a CSV file with a line {where.parts[0]},PATIENT",
            )
        said.setdefault(run.patient, {}).setdefault(listed, path)
        recording: Recording = run if listed is None else _renamed(run, listed)
        try:
            _add(recordings, recording, recording.name)
        except SfvdError as error:
            if problem is None:
                raise
            refused(error)
    _check_listed(said)


def _check_listed(said: dict[str, dict[str | None, Path]]) -> None:
    """Refuse a list with some of a patient's files: the others would be another patient's, perhaps of another split."""
    for names in said.values():
        if None in names and len(names) > 1:
            raise SourceError(
                "the list of patients has some DICOM files of a patient and not all",
                file=names[None],
                key="patients",
                expected="all files whose headers name the same patient, or none",
                found=f"this one isn't listed, its patient's others are {', '.join(sorted(filter(None, names)))}",
                remedy="list it as well, or the folder above both",
            )


def _renamed(run: DicomRun, patient: str) -> Renamed:
    return Renamed(run, f"{patient}/{run.name.split('/', 1)[1]}", patient)


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

    def __init__(self, root: Path, problem: Problem) -> None:
        self.root = root
        self.problem = problem
        self.found: list[Found] = []
        self.dicom: list[Path] = []
        self.ignored: list[Path] = []
        self.refused: set[str] = set()
        if root.is_dir():
            self._folder(root, PurePosixPath(), (os.path.realpath(root),))
            if not any(found.path == root for found in self.found):  # the folder isn't itself a run
                self._check_patients()
        else:
            self._file(root, PurePosixPath(stem(root)))

    def _folder(self, folder: Path, where: PurePosixPath, above: tuple[str, ...]) -> None:
        try:
            self._look(folder, where, above)
        except OSError as failure:
            self.problem(_printable(where), _unreadable(folder, failure))
            self.refused.update(where.parts[:1])

    def _look(self, folder: Path, where: PurePosixPath, above: tuple[str, ...]) -> None:
        if (folder / "images").is_dir():
            inside = where if where.parts else PurePosixPath(folder.resolve().name or "run")
            deeper = next((path for path in sorted(folder.glob("[!.]*/images")) if path.is_dir()), None)
            if deeper is None:
                self.found.append(Found(inside, folder, scan_run))
                return
            error = SourceError(
                "a run within a run", file=deeper, expected=f"no further images/ below {folder.name}",
                found=f"{folder.name}/images as well", remedy=LAYOUT,
            )  # fmt: skip
            self.problem(_printable(inside), error)
            self.refused.add(inside.parts[0])
            return
        folders: list[Path] = []
        files: list[Path] = []
        for path in sorted(folder.iterdir(), key=natural_key):
            if path.name.startswith("."):
                continue
            if path.exists() and not (path.is_dir() or path.is_file()):
                self.ignored.append(path)  # a pipe or a device would be waited for
                continue
            (folders if path.is_dir() else files).append(path)
        for path in files:
            self._file(path, where / stem(path))
        if len(where.parts) >= 2 and any(path.suffix.lower() in PICTURES for path in files):
            error = SourceError(
                "pictures that belong to no run",
                file=folder,
                expected="a folder images/ that holds the run's pictures",
                found=f"no folder images/, but {files[0].name} and others",
                remedy=LAYOUT,
            )
            self.problem(_printable(where), error)
            self.refused.add(where.parts[0])
        for path in folders:
            real = os.path.realpath(path)
            if real not in above and len(above) < MAX_DEPTH:
                self._folder(path, where / path.name, (*above, real))

    def _file(self, path: Path, where: PurePosixPath) -> None:
        kind = _kind(path)
        if kind is not None:
            self.found.append(Found(where, path, kind))
        elif is_dicom(path):
            self.dicom.append(path)
        else:
            self.ignored.append(path)

    def _check_patients(self) -> None:
        """A patient's folder without any recording is a mistake, not an empty patient."""
        seen = {found.where.parts[0] for found in self.found}
        seen |= {path.relative_to(self.root).parts[0] for path in self.dicom} | self.refused
        for folder in _folders(self.root):
            if seen and folder.name not in seen:
                below = [path for path in self.ignored if folder in path.parents]
                error = SourceError(
                    "the patient has no runs",
                    file=folder,
                    expected="<run>/images/*.png, or a DICOM, video, NIfTI or .npy file",
                    found=_described(below) or "nothing",
                    remedy=LAYOUT,
                )
                self.problem(_printable(PurePosixPath(folder.name)), error)


def listed_files(folder: Path) -> Iterator[Path]:
    """Every file that an import of a folder may look at: links are followed, but not in circles."""
    yield from _files_below(folder, (os.path.realpath(folder),))


def _files_below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    for path in folder.iterdir():
        real = os.path.realpath(path)
        if path.is_file():
            yield path
        elif path.is_dir() and not path.name.startswith(".") and real not in above and len(above) < MAX_DEPTH:
            yield from _files_below(path, (*above, real))


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


def is_recording(path: Path) -> bool:
    """Whether a file would be read as a recording of its own."""
    return _kind(path) is not None or is_dicom(path)


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
