"""DICOM files of made-up pictures, written by pydicom."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
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
        known = ds.file_meta.TransferSyntaxUID.is_transfer_syntax
        pydicom.dcmwrite(path, ds, enforce_file_format=True, **({} if known else {"implicit_vr": False}))
    else:
        meta, ds.file_meta = ds.file_meta, FileMetaDataset()
        tsyntax = meta.TransferSyntaxUID
        pydicom.dcmwrite(path, ds, implicit_vr=tsyntax.is_implicit_VR, little_endian=tsyntax.is_little_endian)
    return path


def rle_frames(ds: pydicom.Dataset) -> list[bytes]:
    """RLE frames of the containers as they are, the bits beside the stored ones included."""
    encoder = get_encoder(uid.RLELossless)
    frame = ds.Rows * ds.Columns * ds.BitsAllocated // 8
    options = {
        "rows": ds.Rows,
        "columns": ds.Columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": ds.BitsAllocated,
        "bits_stored": ds.BitsAllocated,
        "pixel_representation": 0,
        "number_of_frames": 1,
        "encoding_plugin": "pydicom",
    }
    data = ds.PixelData
    return [encoder.encode(data[k * frame : (k + 1) * frame], **options) for k in range(ds.get("NumberOfFrames", 1))]


def by_gdcm(path: Path, kind: str) -> Path:
    """The same file, compressed by GDCM."""
    gdcm = pytest.importorskip("gdcm")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, kind)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    target = path.with_suffix(f".{kind}.dcm")
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def jpeg(frame: np.ndarray) -> bytes:
    """A JPEG picture, padded to an even length."""
    buffer = io.BytesIO()
    Image.fromarray(frame.astype(np.uint8)).save(buffer, "JPEG", quality=98, subsampling=0)
    return buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2)
