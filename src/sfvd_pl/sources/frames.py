"""Runs of pictures: ``<run>/images/*``, labels in ``<run>/masks/<same stem>.png``, ``<run>/meta.json``.

``<run>/ignore/<same stem>.png`` marks pixels of a labelled frame of which nobody knows whether they show a wire.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.meta import Meta, read_meta
from sfvd_pl.sources.pictures import SUFFIXES, bits, natural_key, open_picture, read_grey, read_mask
from sfvd_pl.sources.recording import check_size

UNREAD = (
    ".bmp", ".gif", ".webp", ".jp2", ".jpx", ".j2k", ".jls", ".jfif", ".tga", ".pgm", ".ppm", ".pnm", ".pbm", ".exr",
    ".npy", ".npz", ".mat", ".nii", ".gz", ".mha", ".mhd", ".nrrd", ".dcm", ".dicom",
)  # fmt: skip
"""Pictures too, but none that are read from ``images/`` or ``masks/``; other files there are passed over."""
LAYOUT = "lay the pictures out as <patient>/<run>/images/00000.png, masks as <patient>/<run>/masks/00000.png"


@dataclass(frozen=True)
class Run:
    """One run of pictures on disk, not yet read.

    Args:
        patient: Whom it shows.
        name: ``<patient>/<run>``.
        images: Pictures in natural order.
        masks: Mask of each picture, None where the frame has no label.
        ignored: Pixels to ignore in each picture, None where there are none.
        frame_shape: Height and width of every picture, px.
        depth: Bits a pixel, 8 or 16.
        meta: What meta.json says.
        meta_file: Where it says so, None without.
    """

    patient: str
    name: str
    images: tuple[Path, ...]
    masks: tuple[Path | None, ...]
    ignored: tuple[Path | None, ...]
    frame_shape: tuple[int, int]
    depth: int
    meta: Meta
    meta_file: Path | None = None

    @property
    def intensity_max(self) -> int:
        """From meta.json, else the whole range of the pixel type."""
        return self.meta.intensity_max or 2**self.depth - 1

    @property
    def files(self) -> tuple[Path, ...]:
        """Pictures, masks, pixels to ignore and meta.json."""
        return tuple(p for p in (*self.images, *self.masks, *self.ignored, self.meta_file) if p is not None)

    def read(self) -> Clip:
        """Read every picture and mask of the run.

        Raises:
            SourceError: A picture can't be read, isn't grey, or differs in size or depth from the first.
        """
        image = np.zeros((len(self.images), *self.frame_shape), np.uint8 if self.depth == 8 else np.uint16)
        for k, path in enumerate(self.images):
            frame = read_grey(path)
            _require_same(path, "frame size (rows, columns)", self.frame_shape, frame.shape)
            _require_same(path, "bits a pixel", self.depth, frame.dtype.itemsize * 8)
            image[k] = frame
        if int(image.max()) > self.intensity_max:
            raise SourceError(
                "pixels exceed intensity_max",
                file=self.meta_file,
                key="intensity_max",
                expected=f">= {image.max()}",
                found=self.intensity_max,
                remedy="correct meta.json",
            )
        wire_mask, ignore = (_stack(paths, image.shape) for paths in (self.masks, self.ignored))
        ignore &= 1 - wire_mask
        annotated = np.array([mask is not None for mask in self.masks], np.bool_)
        clip = self.meta.clip(self.name, self.patient, image, origin="frames", intensity_max=self.intensity_max)
        return replace(clip, wire_mask=wire_mask, annotated=annotated, ignore=ignore)


def scan_run(folder: Path, name: str, patient: str) -> Run:
    """Check what can be checked of a run without decoding every picture.

    Args:
        folder: Holds images/, and masks/, ignore/ and meta.json where there are any.
        name, patient: Of the clip.

    Raises:
        SourceError: No pictures, two of one name, several sizes, a mask without its picture, pixels to ignore in a
            frame without mask, a bad meta.json.
    """
    images = _pictures(folder / "images")
    if not images:
        found = f"no {', '.join(SUFFIXES)} file"
        raise _error("the run has no pictures", folder / "images", "at least one picture", found, LAYOUT)
    seen: set[str] = set()
    for path in images:
        if path.stem in seen:
            message = "two pictures of one name"
            raise _error(message, folder / "images", "one a frame", path.stem, "remove one of them")
        seen.add(path.stem)
    masks = _masks(folder / "masks", seen)
    ignored = _masks(folder / "ignore", seen)
    for stem, path in ignored.items():
        if stem not in masks:
            message, found = "pixels to ignore in a frame without a mask", f"no {stem}.png in masks/"
            remedy = "add its mask, all black if no wire is known; or remove this file: the frame counts nowhere"
            raise _error(message, path, "a mask of the same name", found, remedy)
    with open_picture(images[0]) as first:
        size, depth = first.size, bits(first)
    check_size(folder / "images", len(images), size[1], size[0], depth // 8)
    for path in images[1:]:
        with open_picture(path) as picture:
            _require_same(path, "frame size (rows, columns)", size[::-1], picture.size[::-1])
    meta = folder / "meta.json"
    return Run(
        patient=patient,
        name=name,
        images=tuple(images),
        masks=tuple(masks.get(path.stem) for path in images),
        ignored=tuple(ignored.get(path.stem) for path in images),
        frame_shape=(size[1], size[0]),
        depth=depth,
        meta=read_meta(meta),
        meta_file=meta if meta.exists() else None,
    )


def _stack(paths: tuple[Path | None, ...], shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Masks of a run's frames, 0 where there is no file."""
    values = np.zeros(shape, np.uint8)
    for k, path in enumerate(paths):
        if path is not None:
            values[k] = read_mask(path, shape[1:])
    return values


def _masks(folder: Path, stems: set[str]) -> dict[str, Path]:
    """Masks by stem; none where the run has no such folder."""
    if not folder.is_dir():
        return {}
    masks: dict[str, Path] = {}
    for path in _pictures(folder):
        if path.suffix.lower() != ".png":
            message = "a mask in a lossy or unknown format"
            raise _error(message, path, ".png", path.suffix, "export masks as PNG")
        if path.stem not in stems:
            found = f"no {path.stem}.* in images/"
            raise _error("a mask without its picture", path, "a picture of the same name", found, LAYOUT)
        masks[path.stem] = path
    return masks


def _pictures(folder: Path) -> list[Path]:
    listed = [path for path in folder.iterdir() if not path.name.startswith(".")]
    for path in listed:
        if path.suffix.lower() in UNREAD:  # a frame or a label that would be missing without a word
            message, remedy = "a picture in a format that isn't read", "convert it to 8 or 16 bit grey PNG"
            raise _error(message, path, ", ".join(SUFFIXES), path.suffix, remedy)
    return sorted((path for path in listed if path.suffix.lower() in SUFFIXES), key=natural_key)


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
