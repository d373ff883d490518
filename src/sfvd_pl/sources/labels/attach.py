"""Labels from files: found beside the recordings or given for a whole tree, matched by name and frame.

Beside a run of pictures: ``<run>/labels.*`` or ``<run>/annotations.*``; beside any other file:
``<stem>.labels.*``; ``*`` being json (COCO or a point list), csv, xml (CVAT), nii, nii.gz or npy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SfvdError, SourceError
from sfvd_pl.sources.clip import IDENTITY, Clip
from sfvd_pl.sources.dicom.run import DicomRun
from sfvd_pl.sources.frames import Run
from sfvd_pl.sources.labels.coco import read_coco
from sfvd_pl.sources.labels.cvat import read_cvat
from sfvd_pl.sources.labels.files import Drawing, Mark, bad, check_bytes, read_point_csv, read_point_json
from sfvd_pl.sources.labels.match import FrameIndex, inner, might_be
from sfvd_pl.sources.labels.shapes import Shape, rasterise, resampled
from sfvd_pl.sources.meta import Affine, Meta, read_json
from sfvd_pl.sources.recording import Recording, Scan
from sfvd_pl.sources.stacks import Volume, load_npy, stem
from sfvd_pl.sources.walk import Problem, is_recording

TABLES = (".json", ".csv", ".xml")
VOLUMES = (".nii", ".nii.gz", ".npy")
NAMES = ("labels.", "annotations.", "instances")
"""How names of label files begin, wherever they lie; ``instances_default.json`` is what CVAT calls a COCO file."""
MAX_SHAPES = 256
"""Shapes in one frame."""


@dataclass(frozen=True)
class Labelled:
    """A recording with labels from files.

    Args:
        recording: As found.
        shapes: Frame number and what was drawn in it; nothing drawn: no wire in it.
        sizes: Height and width that the files state of frames.
        volume: A file with a mask for every frame.
        label_files: All files that labels come from.
    """

    recording: Recording
    shapes: tuple[tuple[int, tuple[Shape, ...]], ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    volume: Path | None = None
    label_files: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """As the recording's."""
        return self.recording.name

    @property
    def patient(self) -> str:
        """As the recording's."""
        return self.recording.patient

    @property
    def frame_shape(self) -> tuple[int, int]:
        """As the recording's."""
        return self.recording.frame_shape

    @property
    def intensity_max(self) -> int:
        """As the recording's."""
        return self.recording.intensity_max

    @property
    def files(self) -> tuple[Path, ...]:
        """The recording's, and those of its labels."""
        return (*self.recording.files, *self.label_files)

    def read(self) -> Clip:
        """Read the recording and draw its labels.

        Raises:
            SourceError: The recording can't be read, or labels don't fit it.
        """
        clip = self.recording.read()
        wire_mask, annotated = clip.wire_mask.copy(), clip.annotated.copy()
        affine = _file_affine(self.recording, clip)
        for size in self.sizes:
            self._require("labels of frames of another size", "height, width", self._file_shape(), size)
        for frame, mask in self._masks(clip, affine):
            if annotated[frame]:
                raise self._error("a frame is labelled twice", "frame", "one label a frame", frame)
            wire_mask[frame], annotated[frame] = mask, True
        ignore = None if clip.ignore is None else clip.ignore & (1 - wire_mask)
        return replace(clip, wire_mask=wire_mask, annotated=annotated, ignore=ignore)

    def _masks(self, clip: Clip, affine: Affine) -> Iterable[tuple[int, npt.NDArray[np.uint8]]]:
        for frame, shapes in self.shapes:
            if frame >= len(clip):
                raise self._error(
                    "a label of a frame that isn't there", "frame", f"0..{len(clip) - 1}", frame
                )
            yield frame, rasterise(shapes, clip.frame_shape, affine)
        if self.volume is None:
            return
        labels = read_volume(self.volume)
        self._require("the label volume has another number of frames", "frames", len(clip), len(labels))
        self._require("the label volume's frames have another size", "size", self._file_shape(), labels.shape[1:])
        chosen = _meta(self.recording).annotated_frames
        frames = range(len(clip)) if chosen is not None else np.flatnonzero(labels.any(axis=(1, 2))).tolist()
        if isinstance(chosen, tuple):
            if any(frame >= len(clip) for frame in chosen):
                raise self._error(
                    "annotated_frames beyond the clip", "annotated_frames", f"0..{len(clip) - 1}", chosen
                )
            if labels[[k for k in range(len(clip)) if k not in set(chosen)]].any():
                raise self._error(
                    "labels in frames outside annotated_frames", "annotated_frames", "all of them", chosen
                )
            frames = sorted(set(chosen))
        for frame in frames:
            mask = labels[frame] if affine == IDENTITY else resampled(labels[frame], clip.frame_shape, affine)
            yield frame, mask.astype(np.uint8)

    def _file_shape(self) -> tuple[int, int]:
        """Height and width of the file's frames, which a DICOM file's shutter may have cut."""
        found = inner(self.recording)
        whole = found.layouts[0] if isinstance(found, DicomRun) else None
        return self.frame_shape if whole is None else (whole.rows, whole.columns)

    def _require(self, message: str, key: str, expected: object, found: object) -> None:
        if expected != found:
            raise self._error(message, key, expected, found)

    def _error(self, message: str, key: str, expected: object, found: object) -> SourceError:
        return SourceError(
            f"clip {self.name!r}: {message}",
            file=", ".join(str(path) for path in self.label_files[:3]),
            key=key,
            expected=expected,
            found=str(found)[:200],
            remedy="correct the labels, or remove one of two",
        )


def _file_affine(recording: Recording, clip: Clip) -> Affine:
    """From the clip's pixels to those that an annotator saw: those of the file.

    A recording that was cut on the way in says so in its affine map. One with a sidecar wasn't: there the map leads
    to a further original, that the file was made from.
    """
    return IDENTITY if isinstance(getattr(inner(recording), "meta", None), Meta) else clip.affine


def _meta(recording: Recording) -> Meta:
    meta = getattr(inner(recording), "meta", None)
    return meta if isinstance(meta, Meta) else Meta()


def read_volume(path: Path) -> npt.NDArray[np.bool_]:
    """A mask for every frame, (T, H, W): whatever isn't zero is wire.

    Raises:
        SourceError: It can't be read.
    """
    values = load_npy(path) if path.name.lower().endswith(".npy") else Volume.open(path).values()
    return np.asarray(values != 0)


def attach_labels(
    scan: Scan,
    *,
    labels: Path | None = None,
    drawing: Drawing | None = None,
    problem: Problem | None = None,
    skipped: Sequence[str] = (),
) -> Scan:
    """Give recordings the labels that lie beside them, and those of one file that covers the tree.

    Args:
        scan: What was found.
        labels: A label file for any of the recordings.
        drawing: How to understand label files.
        problem: As in ``scan_source``: called with each recording whose own labels are bad, which is then left out.
        skipped: Names of recordings that were left out before; labels in ``labels`` that match nothing may be theirs.

    Raises:
        SourceError: Labels can't be understood, match nothing or several recordings, or lie where none are looked for.
    """
    drawing = drawing or Drawing()
    kept: list[Recording] = []
    consumed: set[Path] = set() if labels is None else {labels.resolve()}
    left_out = list(skipped)
    for recording in scan.recordings:
        try:
            path = sidecar_labels(recording)
            if path is not None:
                consumed.add(path.resolve())
                recording = _with_sidecar(recording, path, scan.root, drawing)
            kept.append(recording)
        except SfvdError as error:
            if problem is None:
                raise
            left_out.append(recording.name)
            problem(recording.name, error)
    _check_strays(scan, consumed, may_be_left_out=problem is not None)
    if labels is not None:
        kept = _with_tree_labels(kept, labels, scan.root, drawing, left_out)
    missing = sorted(set(drawing.labels) - drawing.seen)
    if missing:
        raise SourceError(
            "a label that no file of labels uses", key="wire_labels", expected="names of labels in the files",
            found=", ".join(missing), remedy="correct the name",
        )  # fmt: skip
    ignored = tuple(path for path in scan.ignored if path.resolve() not in consumed)
    return replace(scan, recordings=tuple(kept), ignored=ignored)


def sidecar_labels(recording: Recording) -> Path | None:
    """The file of labels beside a recording.

    Raises:
        SourceError: There are several.
    """
    found_as = inner(recording)
    names: tuple[str, ...] = ("labels", "annotations")
    if isinstance(found_as, Run):
        folder = found_as.images[0].parent.parent
    else:
        first = found_as.files[0]
        folder, names = first.parent, (f"{stem(first)}.labels",)
    found = [
        p for name in names for suffix in (*TABLES, *VOLUMES) if (p := folder / f"{name}{suffix}").is_file()
    ]
    if len(found) > 1:
        raise SourceError(
            f"clip {recording.name!r} has two files of labels", file=folder, expected="one",
            found=", ".join(path.name for path in found), remedy="remove one of them",
        )  # fmt: skip
    return found[0] if found else None


def _check_strays(scan: Scan, consumed: set[Path], *, may_be_left_out: bool) -> None:
    """Refuse labels of no recording; those of one that was left out go with it."""
    inside = [
        path
        for recording in scan.recordings
        if isinstance(run := inner(recording), Run)
        for folder in (run.images[0].parent.parent, run.images[0].parent, run.images[0].parent.parent / "masks")
        if folder.is_dir()
        for path in sorted(folder.iterdir())
    ]
    for path in (*scan.ignored, *inside):
        head = path.name.lower()
        named = head.startswith(NAMES) or ".labels." in head
        if named and head.endswith((*TABLES, *VOLUMES)) and path.resolve() not in consumed:
            if may_be_left_out and _has_recording(path):
                continue
            raise SourceError(
                "labels that belong to no recording",
                file=path,
                expected="<run>/labels.* beside images/, or <stem>.labels.* beside a file of that stem",
                found="no such recording",
                remedy="rename it, or pass it with --labels where it covers several recordings",
            )


def _has_recording(labels: Path) -> bool:
    """Whether a recording lies beside its file of labels."""
    begin = labels.name.lower().find(".labels.")
    name = labels.name[:begin] if begin > 0 else ""
    return bool(name) and any(stem(path) == name and is_recording(path) for path in labels.parent.iterdir())


def read_marks(path: Path, drawing: Drawing) -> list[Mark]:
    """What a file of labels says, whatever its format.

    Raises:
        SourceError: It is no label file, or isn't understood.
    """
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return read_cvat(path, drawing)
    if suffix == ".csv":
        return read_point_csv(path, drawing)
    if suffix != ".json":
        raise bad(path, "suffix", suffix, "json (COCO or a point list), csv or xml (CVAT)")
    check_bytes(path)
    content: Any = read_json(path, limit=None)
    if isinstance(content, dict) and "annotations" in content:
        return read_coco(content, path, drawing)
    if isinstance(content, dict) and "frames" in content:
        return read_point_json(content, path, drawing)
    found = sorted(content)[:10] if isinstance(content, dict) else type(content).__name__
    raise bad(path, "top", found, "COCO's keys images, annotations, categories; or a point list's key frames")


def _with_sidecar(recording: Recording, path: Path, root: Path, drawing: Drawing) -> Recording:
    if path.name.lower().endswith(VOLUMES):
        return Labelled(recording, volume=path, label_files=(path,))
    index = FrameIndex([recording], root)
    placed = [(index.find(mark, path, alone=True), mark) for mark in read_marks(path, drawing)]
    return _labelled(recording, [(frame, mark) for (_, frame), mark in placed], path)


def _with_tree_labels(
    recordings: list[Recording], path: Path, root: Path, drawing: Drawing, left_out: list[str]
) -> list[Recording]:
    if path.name.lower().endswith(VOLUMES):
        raise bad(path, "suffix", path.suffix, "json, csv or xml; a label volume lies beside its recording")
    index = FrameIndex(recordings, root)
    of: dict[int, list[tuple[int, Mark]]] = {}
    for mark in read_marks(path, drawing):
        try:
            number, frame = index.find(mark, path, alone=False)
        except SourceError:
            if any(might_be(mark.key, name) for name in left_out):
                continue  # labels of a recording that is left out
            raise
        of.setdefault(number, []).append((frame, mark))
    return [
        _labelled(recording, of[number], path) if number in of else recording
        for number, recording in enumerate(recordings)
    ]


def _labelled(recording: Recording, placed: list[tuple[int, Mark]], path: Path) -> Recording:
    frames: dict[int, tuple[Shape, ...]] = {}
    sizes: set[tuple[int, int]] = set()
    for frame, mark in placed:
        frames[frame] = frames.get(frame, ()) + mark.shapes
        sizes |= {mark.size} if mark.size is not None else set()
    before = recording if isinstance(recording, Labelled) else Labelled(recording)
    crowded = [frame for frame, shapes in frames.items() if len(shapes) > MAX_SHAPES]
    if crowded:
        found = f"{len(frames[crowded[0]])} shapes in frame {crowded[0]}"
        raise bad(path, f"clip {recording.name}", found, f"at most {MAX_SHAPES}")
    twice = sorted({frame for frame, _ in before.shapes} & set(frames))
    if twice:
        raise bad(path, f"clip {recording.name}", f"frame {twice[0]} in both", "a frame labelled in one file")
    return replace(
        before,
        shapes=(*before.shapes, *sorted(frames.items())),
        sizes=tuple(sorted({*before.sizes, *sizes})),
        label_files=(*before.label_files, path),
    )
