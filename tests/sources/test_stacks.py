"""NumPy and NIfTI stacks against what was written, and every bad file refused."""

import gzip
import json
import math
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip, scan_source
from sfvd_pl.sources.stacks import load_npy, to_pixels

RNG = np.random.default_rng(0)


def read(root: Path) -> Clip:
    (clip,) = scan_source(root)
    return clip


def undone(clip: Clip) -> np.ndarray:
    return clip.source_scale * clip.image + clip.source_offset


def saved(folder: Path, values: np.ndarray, meta: dict[str, Any] | None = None) -> Path:
    (folder / "p1").mkdir(parents=True)
    np.save(folder / "p1" / "run.npy", values)
    if meta is not None:
        (folder / "p1" / "run.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize(
    ("values", "dtype", "top"),
    [
        (RNG.random((3, 5, 7)) < 0.5, np.uint8, 1),
        (RNG.integers(0, 256, (3, 5, 7)).astype(np.uint8), np.uint8, 255),
        (RNG.integers(0, 65536, (3, 5, 7)).astype(np.uint16), np.uint16, 65535),
        (RNG.integers(-32768, 32768, (3, 5, 7)).astype(np.int16), np.uint16, 65535),
        (RNG.integers(0, 32768, (3, 5, 7)).astype(np.int16), np.uint16, 65535),
        (RNG.integers(70_000, 80_000, (3, 5, 7)).astype(np.int64), np.uint16, 65535),
        (RNG.integers(0, 65536, (3, 5, 7)).astype(">u2"), np.uint16, 65535),
        (np.asfortranarray(RNG.integers(0, 256, (3, 5, 7)).astype(np.uint8)), np.uint8, 255),
    ],
)
def test_integers_come_back_exactly(tmp_path: Path, values: np.ndarray, dtype: type, top: int) -> None:
    clip = read(saved(tmp_path, values))
    assert clip.image.dtype == dtype and clip.intensity_max == top and clip.name == "p1/run"
    assert np.array_equal(undone(clip), values.astype(np.int64)), "scale and offset lead back to every value"
    assert np.array_equal(np.rint(undone(clip.rescaled(65535))), values.astype(np.int64))
    assert clip.origin == "npy" and not clip.annotated.any() and type(clip.image) is np.ndarray


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_mapped_linearly_to_sixteen_bit(tmp_path: Path, dtype: type) -> None:
    values = RNG.normal(-3, 10, (3, 5, 7)).astype(dtype)
    clip = read(saved(tmp_path, values))
    step = (float(values.max()) - float(values.min())) / 65535
    assert clip.image.min() == 0 and clip.image.max() == 65535 and clip.intensity_max == 65535
    assert np.abs(undone(clip) - values).max() <= step / 2 * 1.001
    assert clip.source_scale == pytest.approx(step) and clip.source_offset == float(values.min())


def test_a_constant_float_stack_is_black_and_known(tmp_path: Path) -> None:
    clip = read(saved(tmp_path, np.full((2, 4, 4), 2.5, np.float32)))
    assert not clip.image.any() and np.array_equal(undone(clip), np.full((2, 4, 4), 2.5))


def test_the_sidecar_of_a_stack(tmp_path: Path) -> None:
    values = RNG.integers(0, 4096, (2, 4, 4)).astype(np.uint16)
    clip = read(saved(tmp_path, values, {"fps": 7.5, "intensity_max": 4095, "intensity": "linear"}))
    assert (clip.fps, clip.intensity_max, clip.intensity) == (7.5, 4095, "linear")


@pytest.mark.parametrize(
    ("values", "meta"),
    [
        (np.zeros((2, 4, 4), np.float32), {"intensity_max": 255}),
        (np.full((2, 4, 4), -3, np.int16), {"intensity_max": 255}),
        (np.full((2, 4, 4), 300, np.uint16), {"intensity_max": 255}),
    ],
)
def test_an_intensity_max_that_does_not_fit(tmp_path: Path, values: np.ndarray, meta: dict[str, Any]) -> None:
    with pytest.raises(SourceError) as caught:
        read(saved(tmp_path, values, meta))
    assert caught.value.key == "intensity_max"


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 4), np.uint8),
        np.zeros((2, 4, 4), np.complex64),
        np.full((2, 4, 4), np.nan, np.float32),
        np.full((2, 4, 4), np.inf, np.float32),
        np.array([[[0, 2**40]]], np.int64),
        np.array([[["a"]]]),
    ],
)
def test_arrays_that_are_no_clips(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(SourceError):
        read(saved(tmp_path, values))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    path = tmp_path / "p1" / "run.npy"
    np.save(path, np.array([[[{"a": 1}]]], object), allow_pickle=True)
    with pytest.raises(SourceError, match="can't be read"):
        load_npy(path)
    path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16)
    with pytest.raises(SourceError):
        load_npy(path)


def test_absurd_sizes_cost_no_memory(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    path = tmp_path / "p1" / "run.npy"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (20000, 1000, 1000), }"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117) + b"\n"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + 20000 * 1000 * 1000)  # sparse: the size is there, the bytes aren't
    with pytest.raises(SourceError, match="too large"):
        load_npy(path)


def nifti(path: Path, data: np.ndarray, *, zooms: tuple[float, ...], units: tuple[str, str] = ("mm", "sec")) -> Path:
    image = nibabel.Nifti1Image(data, np.diag([-zooms[0], -zooms[1], 1.0, 1.0]))
    image.header.set_zooms(zooms)
    image.header.set_xyzt_units(*units)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path.parents[1]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_volume_of_frames(tmp_path: Path, suffix: str) -> None:
    data = RNG.integers(-1000, 3000, (7, 5, 3)).astype(np.int16)
    clip = read(nifti(tmp_path / "p1" / f"run{suffix}", data, zooms=(0.25, 0.25, 1.0)))
    assert clip.name == "p1/run" and clip.image.shape == (3, 5, 7), "frames, rows, columns"
    for t, y, x in ((0, 0, 0), (2, 4, 6), (1, 3, 2)):
        assert undone(clip)[t, y, x] == data[x, y, t]
    assert clip.spacing_mm == 0.25 and math.isnan(clip.fps) and clip.origin == "nifti"


def test_a_nifti_series_with_time(tmp_path: Path) -> None:
    data = RNG.integers(0, 255, (7, 5, 1, 3)).astype(np.uint8)
    root = nifti(tmp_path / "p1" / "run.nii", data, zooms=(0.25, 0.25, 1.0, 80.0), units=("mm", "msec"))
    clip = read(root)
    assert clip.fps == pytest.approx(12.5) and np.array_equal(clip.image, data[:, :, 0].transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("zooms", "units"), [((0.25, 0.3, 1.0), ("mm", "sec")), ((0.25, 0.25, 1.0), ("unknown", "sec"))]
)
def test_a_spacing_is_never_invented(tmp_path: Path, zooms: tuple[float, ...], units: tuple[str, str]) -> None:
    data = np.ones((7, 5, 3), np.uint8)
    assert math.isnan(read(nifti(tmp_path / "p1" / "run.nii", data, zooms=zooms, units=units)).spacing_mm)


def test_the_scaling_of_a_nifti_volume_leads_back_to_its_values(tmp_path: Path) -> None:
    data = RNG.normal(0, 1, (7, 5, 3))
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
    (tmp_path / "p1").mkdir()
    nibabel.save(image, tmp_path / "p1" / "run.nii")
    meant = nibabel.load(tmp_path / "p1" / "run.nii").get_fdata()
    assert np.allclose(undone(read(tmp_path)), meant.transpose(2, 1, 0), atol=1e-6)


def test_damaged_volumes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p1" / "run.nii.gz"
    nifti(path, RNG.integers(0, 255, (40, 40, 9)).astype(np.uint8), zooms=(1.0, 1.0, 1.0))
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    far = bytearray(plain)
    far[108:112] = struct.pack("<f", 2e9)
    vast = bytearray(plain)
    vast[40:56] = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)
    flat = bytearray(plain)
    flat[40:56] = struct.pack("<8h", 2, 40, 40, 1, 1, 1, 1, 1)
    broken = [gzip.compress(bytes(content)) for content in (far, vast, flat)]
    for damaged in (whole[: len(whole) // 2], b"", b"not gzip", *broken):
        path.write_bytes(damaged)
        with pytest.raises(SourceError):
            read(tmp_path)


def test_volumes_need_grey_frames(tmp_path: Path) -> None:
    colour = np.zeros((6, 5, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    (tmp_path / "p1").mkdir()
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "p1" / "run.nii")
    with pytest.raises(SourceError, match="grey"):
        scan_source(tmp_path)


def test_values_keep_their_order_for_any_range() -> None:
    values = np.array([[[-1.0, 0.0, 1e30]]], np.float64)
    made = to_pixels(values, Path("x"))
    assert made.image[0, 0].tolist() == [0, 0, 65535]
