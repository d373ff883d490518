"""Values: modality and VOI tables as pydicom applies them, polarity, and what pixels are linear in."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import noise, write_dicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip
from sfvd_pl.sources.dicom.scan import DicomConfig, scan_dicom

SYNTAXES = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]


def read(path: Path, **config: Any) -> Clip:
    """The only clip of a file."""
    (run,) = scan_dicom([path], DicomConfig(**config), "a secret")
    clip = run.read()
    assert clip.intensity_max == run.intensity_max
    return clip


def source_values(clip: Clip) -> np.ndarray:
    """The way back that a clip documents."""
    return clip.source_scale * clip.image.astype(np.float64) + clip.source_offset


def lut(entries: np.ndarray, first: int, bits: int, signed: bool, vr: str = "US", mark: str = "<") -> Dataset:
    """An item of a LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries) % 65536, first, bits])
    values = [int(entry) for entry in entries]
    item.add_new("LUTData", vr, values if vr == "US" else np.array(values, f"{mark}u2").tobytes())
    return item


def modality(path: Path) -> np.ndarray:
    """pydicom's output of the modality LUT, (T, H, W)."""
    ds = pydicom.dcmread(path)
    array = apply_modality_lut(ds.pixel_array, ds)
    return array if array.ndim == 3 else array[None]


def test_without_a_modality_lut_the_source_value_is_the_stored_one(tmp_path: Path) -> None:
    values = noise((2, 6, 7), 12, signed=True)
    clip = read(write_dicom(tmp_path / "x.dcm", values, bits=12, signed=True))
    assert np.array_equal(source_values(clip), values) and clip.source_offset == -2048 and clip.source_scale == 1


@pytest.mark.parametrize("slope", [1.0, 2.5, -0.5])
@pytest.mark.parametrize("signed", [False, True])
def test_rescale(tmp_path: Path, slope: float, signed: bool) -> None:
    elements = {"RescaleSlope": slope, "RescaleIntercept": -1024}
    path = write_dicom(
        tmp_path / "x.dcm", noise((2, 6, 7), 12, signed), bits=12, signed=signed, elements=elements
    )
    clip = read(path)
    assert np.allclose(source_values(clip), modality(path), rtol=0, atol=1e-9)
    order = np.argsort(source_values(clip), axis=None)
    assert (np.diff(clip.image.ravel()[order].astype(int)) >= 0).all(), "displayed dark is a low pixel"


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize(
    ("first", "count", "bits"), [(0, 256, 16), (40, 100, 12), (-30, 90, 10), (5, 200, 16), (7, 1, 9)]
)
def test_modality_table(tmp_path: Path, first: int, count: int, bits: int, vr: str, syntax: str) -> None:
    signed = first < 0
    entries = np.sort(np.random.default_rng(1).integers(0, 1 << bits, count))
    mark = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    elements = {"ModalityLUTSequence": [lut(entries, first, bits, signed, vr, mark)]}
    values = noise((2, 6, 7), 8, signed)
    path = write_dicom(tmp_path / "x.dcm", values, signed=signed, elements=elements, syntax=syntax)
    clip = read(path)
    expected = entries[np.clip(values - first, 0, count - 1)]
    assert np.array_equal(source_values(clip), expected)
    assert clip.intensity_max == 2**bits - 1 and not clip.source_offset
    if bits == 16:  # pydicom knows tables of 8 and 16 bits only
        assert np.array_equal(source_values(clip), modality(path))


def test_a_table_of_bytes(tmp_path: Path) -> None:
    entries = np.arange(256)[::-1]
    item = lut(entries, 0, 8, False)
    item.add_new("LUTData", "OW", entries.astype(np.uint8).tobytes())
    values = noise((1, 6, 7), 8)
    clip = read(write_dicom(tmp_path / "x.dcm", values, elements={"ModalityLUTSequence": [item]}))
    assert np.array_equal(source_values(clip), 255 - values)


def test_a_full_table_of_65536_entries(tmp_path: Path) -> None:
    entries = np.arange(65536)[::-1]
    values = noise((1, 6, 7), 16)
    item = lut(entries, 0, 16, False, "OW")
    clip = read(write_dicom(tmp_path / "x.dcm", values, bits=16, elements={"ModalityLUTSequence": [item]}))
    assert np.array_equal(source_values(clip), 65535 - values)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (lut(np.arange(256), 0, 7, False), "odd depth"),
        (lut(np.arange(256), 0, 17, False), "odd depth"),
        (lut(np.arange(300), 0, 8, False), "unlike its description"),
        (Dataset(), "without a description"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, item: Dataset, says: str) -> None:
    path = write_dicom(tmp_path / "x.dcm", noise((1, 4, 4), 8), elements={"ModalityLUTSequence": [item]})
    with pytest.raises(SourceError, match=says):
        read(path)


def test_a_table_shorter_than_it_says(tmp_path: Path) -> None:
    item = lut(np.arange(100), 0, 16, False)
    item.LUTDescriptor = [256, 0, 16]
    path = write_dicom(tmp_path / "x.dcm", noise((1, 4, 4), 8), elements={"ModalityLUTSequence": [item]})
    with pytest.raises(SourceError, match="unlike its description"):
        read(path)


@pytest.mark.parametrize("slope", [0.0, 1e-300, 1e300])
def test_a_slope_without_a_way_back(tmp_path: Path, slope: float) -> None:
    elements = {"RescaleSlope": slope, "RescaleIntercept": 0}
    with pytest.raises(SourceError, match="can't be undone"):
        read(write_dicom(tmp_path / "x.dcm", noise((1, 4, 4), 8), elements=elements))


WINDOWS = [
    {"WindowCenter": 2000, "WindowWidth": 1500},
    {"WindowCenter": 2000, "WindowWidth": 1},
    {"WindowCenter": [1000, 9], "WindowWidth": [6000, 9], "VOILUTFunction": "LINEAR_EXACT"},
    {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    {"WindowCenter": 0, "WindowWidth": 0.5, "VOILUTFunction": "SIGMOID"},
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 0.5, "RescaleIntercept": 100}])
def test_windows_as_pydicom_applies_them(tmp_path: Path, window: dict, rescale: dict) -> None:
    path = write_dicom(tmp_path / "x.dcm", noise((2, 20, 20), 12), bits=12, elements={**window, **rescale})
    clip = read(path, voi="apply")
    assert clip.intensity == "display" and clip.intensity_max == 4095
    ds = pydicom.dcmread(path)
    expected = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
    if rescale:  # pydicom's output has the range of the rescaled values
        expected = (expected - 100) / 0.5
    assert np.abs(source_values(clip) - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(read(path).image, ds.pixel_array), "left alone by default"


@pytest.mark.parametrize("signed", [False, True])
def test_voi_table_as_pydicom_applies_it(tmp_path: Path, signed: bool) -> None:
    entries = np.sort(np.random.default_rng(1).integers(0, 1 << 10, 3000))
    item = lut(entries, -900 if signed else 500, 10, signed)
    elements = {"VOILUTSequence": [item], "WindowCenter": 100, "WindowWidth": 50}
    values = noise((2, 9, 9), 12, signed)
    path = write_dicom(tmp_path / "x.dcm", values, bits=12, signed=signed, elements=elements)
    clip = read(path, voi="apply")
    assert clip.intensity_max == 1023 and clip.intensity == "display"
    ds = pydicom.dcmread(path)
    if not signed:
        assert np.array_equal(source_values(clip), apply_voi_lut(ds.pixel_array, ds, prefer_lut=True))
    assert np.array_equal(source_values(clip), entries[np.clip(values - (-900 if signed else 500), 0, 2999)])


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({}, "no window"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "without width"),
        ({"WindowCenter": 5, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"}, "without width"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "unknown kind"),
    ],
)
def test_windows_that_cannot_be_applied(tmp_path: Path, elements: dict, says: str) -> None:
    path = write_dicom(tmp_path / "x.dcm", noise((1, 4, 4), 8), elements=elements)
    assert len(read(path)) == 1
    with pytest.raises(SourceError, match=says):
        read(path, voi="apply")


@pytest.mark.parametrize(
    ("relation", "table", "intensity"),
    [
        (None, False, "unknown"),
        ("LIN", False, "linear"),
        ("LOG", False, "log"),
        ("DISP", False, "display"),
        ("DRM", False, "unknown"),
        ("LIN", True, "linear"),
        ("LOG", True, "linear"),
        ("DISP", True, "linear"),
        (None, True, "unknown"),
    ],
)
def test_what_pixels_are_linear_in(tmp_path: Path, relation: str | None, table: bool, intensity: str) -> None:
    elements: dict[str, Any] = {} if relation is None else {"PixelIntensityRelationship": relation}
    if table:
        elements["ModalityLUTSequence"] = [lut(np.arange(256) ** 2, 0, 16, False)]
    assert read(write_dicom(tmp_path / "x.dcm", noise((1, 4, 4), 8), elements=elements)).intensity == intensity


def test_display_does_without_the_table_that_undoes_the_logarithm(tmp_path: Path) -> None:
    values = noise((1, 9, 9), 8)
    elements = {
        "PixelIntensityRelationship": "LOG",
        "ModalityLUTSequence": [lut(np.arange(256)[::-1] * 256, 0, 16, False)],
        "WindowCenter": 128,
        "WindowWidth": 256,
    }
    shown = read(write_dicom(tmp_path / "x.dcm", values, elements=elements), voi="apply")
    assert np.abs(shown.image.astype(int) - values).max() <= 1 and shown.intensity_max == 255
    # the stored values are dark on the wire, the table turns them round: inverted
    physical = read(tmp_path / "x.dcm")
    assert np.array_equal(physical.image, 65535 - (255 - values) * 256)
    assert np.array_equal(source_values(physical), (255 - values) * 256)


@pytest.mark.parametrize(("photometric", "sign"), [("MONOCHROME1", 1), ("MONOCHROME2", -1)])
def test_where_sign_and_photometric_disagree_the_sign_counts(tmp_path: Path, photometric: str, sign: int) -> None:
    elements = {"PixelIntensityRelationshipSign": sign}
    values = noise((1, 6, 6), 8)
    path = write_dicom(tmp_path / "x.dcm", values, photometric=photometric, elements=elements)
    (run,) = scan_dicom([path], DicomConfig(), "a secret")
    assert any("disagree" in note for note in run.notes)
    assert np.array_equal(run.read().image, values if sign == 1 else 255 - values)


def enhanced(path: Path, values: np.ndarray, slopes: list[float]) -> Path:
    """An enhanced file with a slope for each frame."""
    groups = []
    for slope in slopes:
        group, scaling, frame = Dataset(), Dataset(), Dataset()
        scaling.RescaleSlope, scaling.RescaleIntercept, scaling.RescaleType = slope, 3, "US"
        frame.PixelIntensityRelationship, frame.PixelIntensityRelationshipSign = "LIN", -1
        group.PixelValueTransformationSequence = [scaling]
        group.FramePixelDataPropertiesSequence = [frame]
        groups.append(group)
    return write_dicom(path, values, bits=12, elements={"PerFrameFunctionalGroupsSequence": groups})


def test_functional_groups_of_an_enhanced_file(tmp_path: Path) -> None:
    values = noise((2, 6, 6), 12)
    clip = read(enhanced(tmp_path / "x.dcm", values, [2, 2]))
    assert np.array_equal(source_values(clip), 2 * values + 3)
    assert clip.intensity == "linear" and clip.source_scale < 0
    with pytest.raises(SourceError, match="scaled differently"):
        read(enhanced(tmp_path / "y.dcm", values, [2, 3]))
