"""Stacks of frames in one file: NumPy arrays and NIfTI volumes, and how their values become pixels."""

import gzip
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import Clip, Pixels
from sfvd_pl.sources.meta import Meta, read_meta
from sfvd_pl.sources.recording import check_size

ISOTROPIC = 1e-3
"""Largest relative difference between the spacing of rows and columns that counts as none."""
MAX_OFFSET = 2**24
"""Largest offset of the values in a NIfTI file, bytes."""
_HZ_PER = {"sec": 1.0, "msec": 1e3, "usec": 1e6}


@dataclass(frozen=True)
class Converted:
    """Pixels (T, H, W) and the way back: the value in the file is scale * pixel + offset."""

    image: Pixels
    intensity_max: int
    scale: float
    offset: float


def to_pixels(values: npt.NDArray[Any], file: Path) -> Converted:
    """Make pixels of a file's values, (T, H, W).

    Integers are kept exactly: bool, uint8 and uint16 as they are, others as uint16, less the clip's least value
    where that is negative or the largest exceeds 16 bits. Floating-point values are mapped linearly, the clip's
    least to 0 and its largest to 65535.

    Raises:
        SourceError: NaN or infinite values, integers of a range beyond 16 bits, or no real numbers.
    """
    kind = values.dtype.kind
    if kind == "b":
        return Converted(values.astype(np.uint8), 1, 1.0, 0.0)
    if values.dtype == np.uint8:
        return Converted(np.ascontiguousarray(values), 255, 1.0, 0.0)
    if kind not in "iuf":
        raise SourceError(
            "a pixel type that isn't understood", file=file, expected="real numbers", found=values.dtype
        )
    low, high = values.min(), values.max()
    if kind == "f":
        return _from_floats(values, float(low), float(high), file)
    offset = 0 if 0 <= low and high <= 65535 else int(low)
    if int(high) - offset > 65535:
        raise SourceError(
            "the values span more than 16 bits",
            file=file,
            expected="a range of at most 65535",
            found=f"{low}..{high}",
            remedy="rescale the values",
        )
    image = np.empty(values.shape, np.uint16)
    for k, frame in enumerate(values):  # frame by frame: no wider copy of the whole
        image[k] = frame if offset == 0 else frame.astype(np.int64) - offset
    return Converted(image, 65535, 1.0, float(offset))


def _from_floats(values: npt.NDArray[Any], low: float, high: float, file: Path) -> Converted:
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        raise SourceError(
            "the values aren't all numbers",
            file=file,
            expected="finite values",
            found=f"{low}..{high}",
            remedy="replace NaN and infinite values",
        )
    scale = (high - low) / 65535 or 1.0
    image = np.empty(values.shape, np.uint16)
    for k, frame in enumerate(values):  # frame by frame: no double-precision copy of the whole
        image[k] = np.clip(np.rint((frame.astype(np.float64) - low) / scale), 0, 65535)
    return Converted(image, 65535, scale, low)


@dataclass(frozen=True)
class Stack:
    """A stack of frames in one file, not yet read.

    Args:
        patient, name: Of the clip.
        path: The file.
        frame_shape: Height and width, px.
        dtype: Type of the file's values.
        meta: What ``<stem>.json`` says.
        meta_file: Where it says so, None without.
    """

    patient: str
    name: str
    path: Path
    frame_shape: tuple[int, int]
    dtype: str
    meta: Meta
    meta_file: Path | None

    @property
    def intensity_max(self) -> int:
        """From the sidecar, else what the type of the values allows."""
        return self.meta.intensity_max or {"bool": 1, "uint8": 255}.get(self.dtype, 65535)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file and its sidecar."""
        return (self.path,) if self.meta_file is None else (self.path, self.meta_file)

    def _clip(
        self, values: npt.NDArray[Any], *, origin: str, slope: float = 1.0, inter: float = 0.0, **facts: Any
    ) -> Clip:
        made = to_pixels(values, self.path)
        top = self.meta.intensity_max
        if top is not None and (values.dtype.kind == "f" or made.offset != 0 or int(made.image.max()) > top):
            raise SourceError(
                "intensity_max doesn't fit the values",
                file=self.meta_file,
                key="intensity_max",
                expected="integers of 0..intensity_max in the file",
                found=f"{values.dtype}, {values.min()}..{values.max()}",
                remedy="correct the value, or leave the key out",
            )
        return self.meta.clip(
            self.name,
            self.patient,
            made.image,
            origin=origin,
            intensity_max=top or made.intensity_max,
            scale=slope * made.scale,
            offset=slope * made.offset + inter,
            **facts,
        )


class NpyStack(Stack):
    """A NumPy array (T, H, W)."""

    def read(self) -> Clip:
        """Read the array.

        Raises:
            SourceError: It can't be read, or its values can't become pixels.
        """
        return self._clip(np.array(load_npy(self.path)), origin="npy")


class NiftiStack(Stack):
    """A NIfTI volume (X, Y, T) or (X, Y, 1, T)."""

    def read(self) -> Clip:
        """Read the volume. The first axis runs along a row, the second down the columns, the last is time.

        Raises:
            SourceError: It can't be read, or its values can't become pixels.
        """
        volume = Volume.open(self.path)
        slope, inter = volume.scaling
        return self._clip(
            volume.values(), origin="nifti", slope=slope, inter=inter, fps=volume.fps, spacing_mm=volume.spacing_mm
        )


def scan_npy(path: Path, name: str, patient: str) -> NpyStack:
    """Check an array's header.

    Raises:
        SourceError: No array (T, H, W) of real numbers.
    """
    values = load_npy(path)
    meta = sidecar(path)
    return NpyStack(
        patient, name, path, (values.shape[1], values.shape[2]), values.dtype.name, read_meta(meta), _existing(meta)
    )


def scan_nifti(path: Path, name: str, patient: str) -> NiftiStack:
    """Check a volume's header.

    Raises:
        SourceError: No volume (X, Y, T) or (X, Y, 1, T) of real numbers.
    """
    volume = Volume.open(path)
    _, height, width = volume.shape
    meta = sidecar(path)
    return NiftiStack(patient, name, path, (height, width), volume.dtype.name, read_meta(meta), _existing(meta))


def stem(path: Path) -> str:
    """The file's name without its suffix, both of them where it is ``.nii.gz``.

    A number after the last dot is no suffix: DICOM files are often named by their UID.
    """
    if path.name.lower().endswith(".nii.gz"):
        return path.name[: -len(".nii.gz")]
    return path.name if path.suffix[1:].isdigit() else path.stem


def sidecar(path: Path) -> Path:
    """Where the keys of meta.json stand for a recording in one file."""
    return path.with_name(f"{stem(path)}.json")


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def load_npy(path: Path) -> npt.NDArray[Any]:
    """An array (T, H, W), mapped into memory, not read; pickles are refused.

    Raises:
        SourceError: It can't be read, or is something else.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy evaluates the header's text, which can fail in any way
        raise SourceError(
            "the array can't be read", file=path, expected="a .npy file of numbers", found=str(error)[:200],
            remedy="write it again with numpy.save(file, array)",
        ) from error  # fmt: skip
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype.kind not in "biuf":
        found = f"{getattr(values, 'dtype', type(values))} {getattr(values, 'shape', '')}"
        raise SourceError(
            "not a stack of grey frames", file=path, expected="axes (T, H, W), real numbers", found=found,
            remedy="save one run a file, its axes in the order time, row, column",
        )  # fmt: skip
    frames, height, width = values.shape
    check_size(path, frames, height, width, values.dtype.itemsize)
    return values


def _check_header(path: Path) -> None:
    """Refuse a header that says the values begin far away: nibabel would read (and inflate) all in between."""
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        head = file.read(540)
    for order in "<>":
        size = struct.unpack_from(f"{order}i", head)[0]
        if size in (348, 540):
            begin = struct.unpack_from(f"{order}f" if size == 348 else f"{order}q", head, 108 if size == 348 else 168)
            if not 0 <= begin[0] <= MAX_OFFSET:
                raise ValueError(f"values that begin at byte {begin[0]:.0f}")
            return
    raise ValueError("no NIfTI header")


@dataclass(frozen=True)
class Volume:
    """A NIfTI file's header, and its values when asked for.

    Args:
        path: The file.
        image: nibabel's image, whose values are still on disk.
        shape: Frames, height, width.
        dtype: Of the values on disk.
    """

    path: Path
    image: Any
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    @classmethod
    def open(cls, path: Path) -> "Volume":
        """Read the header.

        Raises:
            SourceError: nibabel is missing, the file is no NIfTI, or has other axes.
        """
        try:
            import nibabel
        except ImportError as error:
            remedy = "pip install 'sfvd-pl[nifti]'"
            raise SourceError("reading NIfTI needs nibabel", file=path, expected="nibabel", remedy=remedy) from error
        try:
            _check_header(path)
            image: Any = nibabel.load(path)
            axes, dtype = tuple(int(n) for n in image.shape), np.dtype(image.header.get_data_dtype())
            if not isinstance(image, nibabel.Nifti1Image):
                raise ValueError(f"a {type(image).__name__}")
        except Exception as error:  # whatever a damaged header makes nibabel do
            raise SourceError(
                "the volume can't be read", file=path, expected="NIfTI (.nii, .nii.gz)", found=str(error)[:200]
            ) from error
        frames = (axes[2],) if len(axes) == 3 else (axes[3],) if len(axes) == 4 and axes[2] == 1 else ()
        if not frames or dtype.kind not in "iuf":
            raise SourceError(
                "not a stack of grey frames", file=path, expected="axes (X, Y, T) or (X, Y, 1, T), real numbers",
                found=f"{dtype} {axes}", remedy="save one run a file, its last axis time",
            )  # fmt: skip
        check_size(path, frames[0], axes[1], axes[0], dtype.itemsize)
        return cls(path, image, (frames[0], axes[1], axes[0]), dtype)

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept from the values on disk to those that the file means."""
        slope, inter = float(self.image.dataobj.slope), float(self.image.dataobj.inter)  # nan in the header is 1, 0
        return (slope, inter) if math.isfinite(slope) and slope != 0 and math.isfinite(inter) else (1.0, 0.0)

    @property
    def spacing_mm(self) -> float:
        """Spacing of rows and columns where the file says mm and they agree, else NaN."""
        zooms = [float(z) for z in self.image.header.get_zooms()[:2]]
        if self.image.header.get_xyzt_units()[0] != "mm" or not all(0 < z < math.inf for z in zooms):
            return math.nan
        return zooms[0] if abs(zooms[0] - zooms[1]) <= ISOTROPIC * max(zooms) else math.nan

    @property
    def fps(self) -> float:
        """Frame rate where the file has a fourth axis with a unit of time, else NaN."""
        zooms = self.image.header.get_zooms()
        per = _HZ_PER.get(self.image.header.get_xyzt_units()[1])
        if len(zooms) < 4 or per is None or not 0 < float(zooms[3]) < math.inf:
            return math.nan
        return per / float(zooms[3])

    def values(self) -> npt.NDArray[Any]:
        """(T, H, W), as on disk, without slope and intercept.

        Raises:
            SourceError: The file is damaged or cut short.
        """
        try:
            raw = np.asarray(self.image.dataobj.get_unscaled())
        except Exception as error:  # zlib, numpy and the operating system each have their own
            raise SourceError(
                "the volume can't be read", file=self.path, expected="a whole file", found=str(error)[:200],
                remedy="export it again",
            ) from error  # fmt: skip
        flat = raw[:, :, 0, :] if raw.ndim == 4 else raw
        return np.ascontiguousarray(flat.transpose(2, 1, 0)).astype(self.dtype.newbyteorder("="), copy=False)
