"""Whose a recording is, told by folders, by a list or by a pattern; never guessed."""

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sfvd_pl.errors import SourceError


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
            return f"{listed}/{run_name(where, listed)}", listed
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
            return f"{patient}/{run_name(where, patient)}", patient
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


def run_name(where: PurePosixPath, patient: str) -> str:
    """The rest of the path; a first folder that is the patient's own isn't repeated."""
    parts = where.parts[1:] if len(where.parts) > 1 and where.parts[0] == patient else where.parts
    return "/".join(parts)


def read_patients(path: Path) -> dict[str, str]:
    """A CSV file with the columns ``path`` and ``patient``.

    Raises:
        SourceError: Unreadable, other columns, an empty or unsafe cell, or a path twice.
    """
    table: dict[str, str] = {}
    for number, row in enumerate(_rows(path), 2):
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


def read_split(path: Path) -> dict[str, str]:
    """A CSV file with the columns ``patient`` and ``part``: every patient to train, val or test.

    Raises:
        SourceError: Unreadable, other columns, no such part, a patient twice, or nobody.
    """
    parts: dict[str, str] = {}
    rows = _rows(path)
    for number, row in enumerate(rows or [{}], 2):
        patient, part = (row.get("patient") or "").strip(), (row.get("part") or "").strip()
        if not patient or part not in ("train", "val", "test") or patient in parts:
            raise SourceError(
                "a line of the split says nothing, or something twice",
                file=path,
                key=f"line {number}",
                expected="patient,part: each patient once, a part that is train, val or test",
                found=dict(list(row.items())[:4]) or "no line",
                remedy="correct the line; the first one must be: patient,part",
            )
        parts[patient] = part
    return parts


def _rows(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise SourceError("the list of patients can't be read", file=path, expected="CSV", found=str(error)) from error
