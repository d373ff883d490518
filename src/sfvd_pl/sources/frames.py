"""Clips from folders of pictures: ``<patient>/<run>/images/*``, labels in ``masks/<same stem>.png``."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
GREY_TOLERANCE = 4
"""Largest difference between the colours of a pixel that JPEG leaves in a grey picture."""
META_KEYS: dict[str, str] = {
    "fps": "frames a second, a positive number",
    "pixel_spacing_mm": "mm a pixel, a positive number",
    "intensity_max": "largest value the detector can give, an integer",
}
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Run:
    """One run on disk, not yet read.

    Args:
        patient: Name of the patient's folder.
        name: ``<patient>/<run>``.
        images: Pictures in natural order.
        masks: Mask of each picture, None where the frame has no label.
        frame_shape: Height and width of the first picture, px.
        fps: Hz, NaN where unknown.
        spacing_mm: mm, NaN where unknown.
        intensity_max: From meta.json, None for the whole range of the pixel type.
    """

    patient: str
    name: str
    images: tuple[Path, ...]
    masks: tuple[Path | None, ...]
    frame_shape: tuple[int, int]
    fps: float
    spacing_mm: float
    intensity_max: int | None

    def read(self) -> Clip:
        """Read every picture and mask of the run.

        Raises:
            SourceError: A picture can't be read, isn't grey, or differs in size or depth from the first.
        """
        frames = [read_grey(path) for path in self.images]
        for path, frame in zip(self.images, frames, strict=True):
            _require_same(path, "frame size (rows, columns)", frames[0].shape, frame.shape)
            _require_same(path, "bits a pixel", frames[0].dtype.itemsize * 8, frame.dtype.itemsize * 8)
        image = np.stack(frames)
        wire_mask = np.zeros(image.shape, np.uint8)
        for k, mask in enumerate(self.masks):
            if mask is not None:
                wire_mask[k] = read_mask(mask, image.shape[1:])
        return Clip(
            name=self.name,
            patient=self.patient,
            image=image,
            wire_mask=wire_mask,
            annotated=np.array([mask is not None for mask in self.masks], np.bool_),
            fps=self.fps,
            spacing_mm=self.spacing_mm,
            intensity_max=self.intensity_max or int(np.iinfo(image.dtype).max),
        )


@dataclass(frozen=True)
class FolderScan:
    """The runs of a folder; iterate as often as needed, one clip is in memory at a time."""

    root: Path
    runs: tuple[Run, ...]

    def __iter__(self) -> Iterator[Clip]:
        """Read the runs in order."""
        for run in self.runs:
            yield run.read()

    def __len__(self) -> int:
        """Number of runs."""
        return len(self.runs)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """The largest height and the largest width, px."""
        return max(run.frame_shape[0] for run in self.runs), max(run.frame_shape[1] for run in self.runs)


def scan_folder(root: str | Path) -> FolderScan:
    """Find the runs under a folder and check what can be checked without decoding every picture.

    Hidden entries and files beside the run folders are ignored.

    Args:
        root: Folder of patients' folders.

    Raises:
        SourceError: No run, a run without pictures, a mask without a picture, a bad meta.json, ...
    """
    root = Path(root)
    if not root.is_dir():
        raise _error(
            "no such folder", root, "a folder", "nothing or a file", "give the folder that holds the patients"
        )
    patients = _folders(root)
    if not patients:
        raise _error(
            "the folder holds no patients", root, "<patient>/<run>/images/*.png", "no sub-folder", _LAYOUT
        )
    runs = []
    for patient in patients:
        folders = _folders(patient)
        if not folders:
            raise _error("the patient has no runs", patient, "<run>/images/*.png", "no sub-folder", _LAYOUT)
        runs += [_scan_run(patient.name, folder) for folder in folders]
    return FolderScan(root, tuple(runs))


_LAYOUT = "lay the pictures out as <patient>/<run>/images/00000.png, masks as <patient>/<run>/masks/00000.png"


def natural_key(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key by which frame2 comes before frame10; ties by text, so that the order is always the same."""
    parts = re.split(r"([0-9]+)", path.name)
    return tuple((1, int(part)) if k % 2 else (0, part) for k, part in enumerate(parts)) + ((0, path.name),)


def read_grey(path: Path) -> npt.NDArray[Any]:
    """One grey picture, (H, W) uint8 or uint16. Colour pictures are taken where their colours agree.

    Raises:
        SourceError: Empty, unreadable, several pages, a pixel type other than 8 or 16 bit, or true colour.
    """
    picture = _decode(path)
    if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise _error(
                "pixel values beyond 16 bit", path, "0..65535", f"{values.min()}..{values.max()}", _CONVERT
            )
        return np.asarray(values, np.uint16)
    if picture.mode in ("L", "LA"):
        grey: npt.NDArray[np.uint8] = np.asarray(picture.getchannel("L"))
        return grey
    if picture.mode in ("RGB", "RGBA", "P"):
        colour = np.asarray(picture.convert("RGB")).astype(np.int16)
        spread = int((colour.max(axis=2) - colour.min(axis=2)).max())
        if spread > GREY_TOLERANCE:
            raise _error("a colour picture", path, "grey values", f"colours up to {spread} apart", _CONVERT)
        return np.asarray(np.rint(colour.mean(axis=2)), np.uint8)
    raise _error("a pixel type that isn't understood", path, "8 or 16 bit grey", picture.mode, _CONVERT)


_CONVERT = "convert the picture to 8 or 16 bit grey PNG"


def read_mask(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """One mask, (H, W) uint8 of 0 and 1: whatever isn't zero (in any colour; transparency aside) is wire.

    Raises:
        SourceError: Unreadable, or another size than its picture.
    """
    picture = _decode(path)
    if picture.mode in ("LA", "P", "PA", "RGBA"):  # a palette's first colour needn't be black
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    wire = values.any(axis=2) if values.ndim == 3 else values != 0
    if wire.shape != tuple(shape):
        raise _error(
            "the mask's size differs from its picture's", path, shape, wire.shape, "export the mask again"
        )
    return np.asarray(wire, np.uint8)


def _decode(path: Path) -> Image.Image:
    picture = _open(path)
    try:
        picture.load()
    except _UNREADABLE as error:
        raise _error(
            "the picture can't be read", path, "a whole picture", str(error), "export it again"
        ) from error
    return picture


def _open(path: Path) -> Image.Image:
    """The picture's header; pixels are read later."""
    try:
        if path.stat().st_size == 0:
            raise _error("the picture is empty", path, "a picture", "0 bytes", "export it again")
        picture: Image.Image = Image.open(path)
    except _UNREADABLE as error:
        raise _error(
            "the picture can't be read", path, "PNG, JPEG or TIFF", str(error), "export it again"
        ) from error
    if getattr(picture, "n_frames", 1) != 1:
        pages = getattr(picture, "n_frames", 1)
        picture.close()
        raise _error(
            "several pictures in one file", path, "one frame a file", pages, "export each frame by itself"
        )
    return picture


def _scan_run(patient: str, folder: Path) -> Run:
    if not (folder / "images").is_dir():
        raise _error("the run has no folder of images", folder, "images/*.png", "no folder images/", _LAYOUT)
    images = _pictures(folder / "images")
    if not images:
        found = f"no {', '.join(SUFFIXES)} file"
        raise _error("the run has no pictures", folder / "images", "at least one picture", found, _LAYOUT)
    stems = [path.stem for path in images]
    for stem in stems:
        if stems.count(stem) > 1:
            raise _error(
                "two pictures of one name", folder / "images", "one a frame", stem, "remove one of them"
            )
    masks = _masks(folder / "masks", set(stems))
    first = _open(images[0])
    for path in images[1:]:
        with _open(path) as picture:
            _require_same(path, "frame size (rows, columns)", first.size[::-1], picture.size[::-1])
    first.close()
    meta = _meta(folder / "meta.json")
    return Run(
        patient=patient,
        name=f"{patient}/{folder.name}",
        images=tuple(images),
        masks=tuple(masks.get(stem) for stem in stems),
        frame_shape=(first.size[1], first.size[0]),
        fps=float(meta.get("fps", math.nan)),
        spacing_mm=float(meta.get("pixel_spacing_mm", math.nan)),
        intensity_max=meta.get("intensity_max"),
    )


def _masks(folder: Path, stems: set[str]) -> dict[str, Path]:
    """Masks by stem; none where the run has no folder of masks."""
    if not folder.is_dir():
        return {}
    masks: dict[str, Path] = {}
    for path in _pictures(folder):
        if path.suffix.lower() != ".png":
            raise _error(
                "a mask in a lossy or unknown format", path, ".png", path.suffix, "export masks as PNG"
            )
        if path.stem not in stems:
            found = f"no {path.stem}.* in images/"
            raise _error("a mask without its picture", path, "a picture of the same name", found, _LAYOUT)
        masks[path.stem] = path
    return masks


def _meta(path: Path) -> dict[str, Any]:
    """Known keys of meta.json; unknown ones are somebody else's business."""
    if not path.exists():
        return {}
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _error("meta.json can't be read", path, "JSON", str(error), "correct or remove it") from error
    if not isinstance(meta, dict):
        raise _error(
            "meta.json must hold keys", path, "a JSON object", type(meta).__name__, "correct or remove it"
        )
    known = {key: meta[key] for key in META_KEYS if meta.get(key) is not None}
    for key, value in known.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        whole = key != "intensity_max" or isinstance(value, int)
        if not (number and whole and math.isfinite(value) and value > 0):
            raise SourceError(
                "meta.json holds a value of the wrong kind",
                file=path,
                key=key,
                expected=META_KEYS[key],
                found=repr(value),
                remedy="correct the value, or leave the key out where it is unknown",
            )
    return known


def _folders(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=natural_key)


def _pictures(folder: Path) -> list[Path]:
    found = [
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    return sorted(found, key=natural_key)


def _require_same(path: Path, key: str, expected: object, found: object) -> None:
    if expected != found:
        raise SourceError(
            "the frames of a run differ",
            file=path,
            key=key,
            expected=f"{expected}, as in the run's first frame",
            found=found,
            remedy="put the frames of another acquisition into a run of their own",
        )


def _error(message: str, file: Path, expected: object, found: object, remedy: str) -> SourceError:
    return SourceError(message, file=file, expected=expected, found=found, remedy=remedy)
