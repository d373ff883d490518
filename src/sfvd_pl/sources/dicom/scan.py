"""Clips from DICOM: X-ray angiography (XA) and radiofluoroscopy (RF), de-identified on the way in.

See docs/dicom.md for what is read, what reaches an artifact and what doesn't.
"""

import filecmp
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom.geometry import Crop, angles_deg, crop_to_shutter, frame_rate, spacing_mm
from sfvd_pl.sources.dicom.header import IDENTITY, Header, open_dicom
from sfvd_pl.sources.dicom.identity import default_salt, patient_pseudonym, pseudonym
from sfvd_pl.sources.dicom.layout import Layout, read_layout
from sfvd_pl.sources.dicom.run import DicomConfig, DicomRun
from sfvd_pl.sources.dicom.stream import require_pydicom
from sfvd_pl.sources.dicom.values import ValueMap, value_map

__all__ = ["DicomConfig", "DicomRun", "default_salt", "is_dicom", "scan_dicom"]

SUFFIXES = (".dcm", ".dicom")
MODALITIES = ("XA", "RF", "XRF")
_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.12.1": "XA",
    "1.2.840.10008.5.1.4.1.1.12.1.1": "XA",  # enhanced
    "1.2.840.10008.5.1.4.1.1.12.2": "RF",
    "1.2.840.10008.5.1.4.1.1.12.2.1": "RF",  # enhanced
}
_VOLUMES = ("1.2.840.10008.5.1.4.1.1.13.1.1", "1.2.840.10008.5.1.4.1.1.13.1.2")
"""X-Ray 3D images: their modality is XA, but their frames are slices of a reconstructed volume."""


def is_dicom(path: Path) -> bool:
    """Whether a file is to be read as DICOM: its first bytes say so, or its suffix is .dcm or .dicom.

    Cheap: reads 132 bytes. A damaged file by such a name is left to ``scan_dicom``, which says what is wrong.
    """
    if path.suffix.lower() in SUFFIXES:
        return path.is_file()
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def scan_dicom(
    paths: Sequence[Path],
    config: DicomConfig,
    salt: str,
    *,
    on_error: Callable[[SourceError], None] | None = None,
) -> list[DicomRun]:
    """Find the runs among DICOM files; headers are read, pixels aren't.

    The result doesn't depend on the order of the files. A DICOMDIR among other files is passed over: it is an index.

    Args:
        paths: Files.
        config: Settings.
        salt: Secret behind the pseudonyms, see ``default_salt``.
        on_error: Told of each file that can't be used, which is then left out; None raises the first such error.

    Returns:
        Runs ordered by name.

    Raises:
        SourceError: A file can't be used, or pydicom isn't installed.
    """
    require_pydicom()
    files = sorted(set(paths))
    top = _common_folder(files)
    entries: list[_Entry] = []
    known: dict[tuple[str, str], _Entry] = {}
    for path in files:
        try:
            entry = _scan_file(path, config, salt, top)
            if entry is None and len(files) == 1:
                raise _refused(path, "an index of files, which holds no picture", "a picture", "a DICOMDIR")
            if entry is None or _is_copy(entry, known):
                continue
            known[entry.identity] = entry
            entries.append(entry)
        except SourceError as error:
            if on_error is None:
                raise
            on_error(error)
    runs = []
    for group in _groups(entries, config):
        try:
            runs.append(_run(group, config, salt))
        except SourceError as error:
            if on_error is None:
                raise
            on_error(error)
    return sorted(runs, key=lambda run: run.name)


@dataclass(frozen=True)
class _Entry:
    """What is kept of one file's header.

    ``alike`` holds what frames of one clip must share; ``identity`` is of series and instance, as hashes.
    """

    path: Path
    patient: str
    series: str
    identity: tuple[str, str]
    number: int | None
    plane: str
    layout: Layout
    values: ValueMap
    crop: Crop
    fps: float
    spacing_mm: float
    angles_deg: tuple[float, float]
    notes: tuple[str, ...]

    @property
    def alike(self) -> tuple[object, ...]:
        """What single frames must share to be one clip; the compression and NaN aside."""
        spacing = None if math.isnan(self.spacing_mm) else round(self.spacing_mm, 6)
        layout = replace(self.layout, transfer_syntax="")
        return (self.patient, self.series, self.plane, layout, self.values, self.crop, spacing)


def _common_folder(files: Sequence[Path]) -> Path:
    """The deepest folder that holds all files."""
    folders = [str(path.resolve().parent) for path in files]
    return Path(commonpath(folders)) if folders else Path()


def _scan_file(path: Path, config: DicomConfig, salt: str, top: Path) -> _Entry | None:
    """One file's header, None for an index of files."""
    with open_dicom(path, config.max_clip_bytes) as (_, header):
        if header.is_directory:
            return None
        _check_admitted(header, config)
        layout = read_layout(header, config.max_clip_bytes)
        values, value_notes = value_map(header, layout.stored, config.voi)
        crop, crop_notes = crop_to_shutter(header, layout.rows, layout.columns, config.crop_shutter)
        spacing, spacing_notes = spacing_mm(header)
        fps, fps_notes = frame_rate(header)
        angles, angle_notes = angles_deg(header)
        identity = {keyword: header.text(keyword) for keyword in IDENTITY}
        number = header.numbers("InstanceNumber")
        plane = header.text("ImageType").split("\\")
    patient, named_by = _patient(path, identity, config, salt, top)
    series, instance = identity["SeriesInstanceUID"], identity["SOPInstanceUID"]
    notes = [*value_notes, *crop_notes, *spacing_notes, *fps_notes, *angle_notes]
    if named_by not in ("PatientID", "PatientName"):
        notes.append(f"the patient is told apart by {named_by} only")
    run = ("file", _digest(path)) if not instance else ("run", series, instance)
    return _Entry(
        path=path,
        patient=patient,
        series=pseudonym(salt, "series", series) if series else "",
        identity=(patient, pseudonym(salt, *run)),
        number=int(number[0]) if number else None,
        plane=plane[2].strip().upper() if len(plane) > 2 else "",
        layout=layout,
        values=values,
        crop=crop,
        fps=fps,
        spacing_mm=spacing,
        angles_deg=angles,
        notes=tuple(notes),
    )


def _check_admitted(header: Header, config: DicomConfig) -> None:
    """Refuse what isn't a recording of X-rays, and what may show a name."""
    storage = header.text("SOPClassUID")
    modality = header.text("Modality").upper() or _CLASSES.get(storage, "")
    if header.pixels is None:
        found = f"modality {modality or 'unknown'}, no pixels"
        raise _refused(header.path, "the file holds no picture", "an XA or RF recording", found)
    if not config.any_modality and (modality not in MODALITIES or storage in _VOLUMES):
        found = "a reconstructed volume" if storage in _VOLUMES else modality[:16] or "nothing"
        raise _refused(header.path, "not a recording of X-rays", f"Modality {', '.join(MODALITIES)}", found, _OTHERS)
    if header.text("BurnedInAnnotation").upper() == "YES" and not config.allow_burned_in:
        found = "BurnedInAnnotation YES"
        message = "the file says that text is burnt into its pixels, which may name the patient"
        raise _refused(header.path, message, "pixels without text", found, _BURNED_IN)


_OTHERS = "leave it out, or set any_modality if it shows X-ray projections"
_BURNED_IN = "leave it out; or look at it, and set allow_burned_in if it names nobody"


def _refused(path: Path, message: str, expected: str, found: str, remedy: str = "leave it out") -> SourceError:
    return SourceError(message, file=path, expected=expected, found=found, remedy=remedy)


def _patient(
    path: Path, identity: dict[str, str], config: DicomConfig, salt: str, top: Path
) -> tuple[str, str]:
    """The patient's pseudonym and what it comes from."""
    if config.patients == "header":
        return patient_pseudonym(salt, identity, path.parent)
    parts = path.resolve().parent.relative_to(top).parts
    if parts:
        return f"p-{pseudonym(salt, 'patient folder', parts[0])}", "PatientID"
    return f"p-{pseudonym(salt, 'folder', str(top))}", "folder"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_copy(entry: _Entry, known: dict[tuple[str, str], _Entry]) -> bool:
    """Whether the same instance was already found.

    Raises:
        SourceError: Two files claim to be the same instance and differ.
    """
    first = known.get(entry.identity)
    if first is None:
        return False
    if filecmp.cmp(first.path, entry.path, shallow=False):
        return True
    raise SourceError(
        "two files that differ claim to be the same instance",
        file=entry.path,
        key="SOPInstanceUID",
        expected="one file of each",
        found=f"also {first.path}",
        remedy="leave one of them out",
    )


def _groups(entries: Sequence[_Entry], config: DicomConfig) -> list[list[_Entry]]:
    """Files of each run."""
    groups: dict[object, list[_Entry]] = {}
    for entry in entries:
        single = entry.layout.frames == 1 and entry.series and config.join_series
        groups.setdefault(entry.alike if single else entry.identity, []).append(entry)
    return list(groups.values())


def _run(group: list[_Entry], config: DicomConfig, salt: str) -> DicomRun:
    """The run of one group.

    Raises:
        SourceError: The order of its frames is unknown, or there are too many.
    """
    if len(group) > 1:
        numbers = [entry.number for entry in group]
        if None in numbers or len(set(numbers)) < len(numbers):
            found = "none in one of them" if None in numbers else "one number twice"
            raise SourceError(
                "the order of a series' frames is unknown",
                file=group[0].path.parent,
                key="InstanceNumber",
                expected=f"a number of its own in each of {len(group)} files",
                found=found,
                remedy="set join_series to false, so that each is a clip",
            )
        group = sorted(group, key=lambda entry: entry.number or 0)
    first = group[0]
    layouts = tuple(entry.layout for entry in group)
    size = sum(x.frames * x.rows * x.columns for x in layouts) * (1 if first.layout.stored.bits <= 8 else 2)
    if size > config.max_clip_bytes:
        raise SourceError(
            "the series is too large",
            file=first.path.parent,
            key="max_clip_bytes",
            expected=f"at most {config.max_clip_bytes} bytes of pixels",
            found=f"{size} bytes in {len(group)} files",
            remedy="if the series is what you expect, raise max_clip_bytes, or set join_series to false",
        )
    angles = {entry.angles_deg for entry in group}
    return DicomRun(
        name=f"{first.patient}/r-{first.identity[1]}",
        patient=first.patient,
        files=tuple(entry.path for entry in group),
        layouts=layouts,
        values=first.values,
        crop=first.crop,
        fps=first.fps,
        spacing_mm=first.spacing_mm,
        angles_deg=first.angles_deg,
        notes=first.notes + (("C-arm angles differ between frames: the first frame's",) if len(angles) > 1 else ()),
        max_clip_bytes=config.max_clip_bytes,
    )
