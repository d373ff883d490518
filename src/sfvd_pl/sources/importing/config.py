"""Settings of the import."""

import hashlib
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom.scan import DicomConfig
from sfvd_pl.sources.importing.polarity import POLARITIES, Polarity


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
        """What decides the result, in JSON types; files by digest, since their names may be a patient's.

        Raises:
            SourceError: A file isn't there.
        """
        settings = {key: value for key, value in asdict(self).items() if key not in ("workers", "keep_going")}
        return {key: _digest(value) if isinstance(value, Path) else value for key, value in settings.items()}


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise SourceError("the file can't be read", file=path, expected="a file", found=str(error)) from error
