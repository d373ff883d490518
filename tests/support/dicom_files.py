"""DICOM files of made-up pictures, written by pydicom."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

XA_CLASS = "1.2.840.10008.5.1.4.1.1.12.1"
ROOT = "1.2.826.0.1.3680043.10.9999"


def noise(shape: tuple[int, ...], bits: int, signed: bool = False, seed: int = 0) -> np.ndarray:
    """Stored values over the whole range, both ends among them."""
    low = -(1 << bits - 1) if signed else 0
    values = np.random.default_rng(seed).integers(low, low + (1 << bits), shape)
    values.flat[0], values.flat[-1] = low, low + (1 << bits) - 1
    return values


def smooth(shape: tuple[int, int, int], bits: int) -> np.ndarray:
    """A ramp with a little noise, which lossy compression keeps roughly."""
    frames, height, width = shape
    ramp = np.linspace(0.1, 0.8, width)[None, None, :] * np.linspace(0.7, 1, height)[None, :, None]
    values = ramp + np.linspace(0, 0.1, frames)[:, None, None]
    return np.rint(values * ((1 << bits) - 1)).astype(np.int64)


def contain(values: np.ndarray, bits: int, high_bit: int, allocated: int, rubbish: int = 0) -> np.ndarray:
    """Stored values as they lie in their containers; ``rubbish`` fills the bits beside them."""
    mask = ((1 << bits) - 1) << (high_bit + 1 - bits)
    placed = (values.astype(np.int64) << (high_bit + 1 - bits)) & mask
    return (placed | (rubbish & ~mask & ((1 << allocated) - 1))).astype(f"u{allocated // 8}")


def dataset(
    values: np.ndarray,
    *,
    bits: int = 8,
    allocated: int | None = None,
    high_bit: int | None = None,
    signed: bool = False,
    photometric: str = "MONOCHROME2",
    elements: Mapping[str, Any] | None = None,
) -> Dataset:
    """A dataset without its pixels; ``elements`` are set last, None takes one away."""
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = XA_CLASS, "XA"
    ds.PatientID, ds.PatientName = "patient-1", "Nobody^Nora"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.1"
    ds.InstanceNumber = 1
    ds.NumberOfFrames = len(values)
    ds.Rows, ds.Columns = values.shape[1:3]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = photometric
    ds.BitsAllocated = allocated or (8 if bits <= 8 else 16)
    ds.BitsStored, ds.HighBit = bits, bits - 1 if high_bit is None else high_bit
    ds.PixelRepresentation = int(signed)
    for keyword, value in (elements or {}).items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def write_dicom(
    path: Path,
    values: np.ndarray,
    *,
    syntax: str = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    rubbish: int = 0,
    preamble: bool = True,
    **description: Any,
) -> Path:
    """A file of stored values (T, H, W).

    Args:
        path: Its name; folders are made.
        values: Integers.
        syntax: Transfer syntax. A compressed one takes ``frames``, the compressed frames.
        rubbish: Bits beside the stored ones.
        preamble: Whether the 128 bytes, DICM and group 2 are written.
        description: Of ``dataset``.
    """
    ds = dataset(values, **description)
    pixels = contain(values, ds.BitsStored, ds.HighBit, ds.BitsAllocated, rubbish)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", f"{ROOT}.9")
    vr = "OB" if ds.BitsAllocated == 8 else "OW"
    if frames is not None:
        ds.add_new("PixelData", "OB", encapsulate(frames))
        ds["PixelData"].is_undefined_length = True
    elif syntax == ExplicitVRBigEndian:
        ds.add_new("PixelData", vr, pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())
    else:
        data = pixels.tobytes()
        ds.add_new("PixelData", vr, data + b"\0" * (len(data) % 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    if preamble:
        ds.save_as(path, enforce_file_format=True)
    else:
        meta, ds.file_meta = ds.file_meta, FileMetaDataset()
        tsyntax = meta.TransferSyntaxUID
        pydicom.dcmwrite(path, ds, implicit_vr=tsyntax.is_implicit_VR, little_endian=tsyntax.is_little_endian)
    return path
