"""Runs of DICOM files: what is found, joined, refused."""

import os
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import ROOT, noise, write_dicom

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom.scan import DicomConfig, DicomRun, is_dicom, scan_dicom

SALT = "a secret"
DIRECTORY = "1.2.840.10008.1.3.10"


def scan(*paths: Path, **settings: object) -> list[DicomRun]:
    """The runs of some files."""
    return scan_dicom(list(paths), DicomConfig(**settings), SALT)


def read(path: Path, **settings: object):
    """The only clip of a file."""
    (run,) = scan(path, **settings)
    return run.read()


def test_a_file_becomes_a_run_and_a_clip(tmp_path: Path) -> None:
    values = noise((3, 10, 12), 12)
    path = write_dicom(tmp_path / "x", values, bits=12)
    (run,) = scan(path)
    assert run.frame_shape == (10, 12) and run.intensity_max == 4095 and run.files == (path,) and len(run) == 3
    assert run.name.startswith(f"{run.patient}/r-") and run.patient.startswith("p-")
    clip = pickle.loads(pickle.dumps(run)).read()
    assert np.array_equal(clip.image, values) and clip.origin == "dicom"
    assert (clip.name, clip.patient, clip.frame_shape) == (run.name, run.patient, run.frame_shape)


def test_what_is_dicom(tmp_path: Path) -> None:
    values = noise((1, 4, 4), 8)
    assert is_dicom(write_dicom(tmp_path / "no suffix", values))
    assert is_dicom(write_dicom(tmp_path / "a.dcm", values, preamble=False))
    assert not is_dicom(write_dicom(tmp_path / "no suffix either", values, preamble=False))
    (tmp_path / "b.png").write_bytes(b"\0" * 200)
    (tmp_path / "folder.dcm").mkdir()
    assert not is_dicom(tmp_path / "b.png") and not is_dicom(tmp_path / "nowhere")
    assert not is_dicom(tmp_path / "folder.dcm")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"")
    with pytest.raises(SourceError, match="isn't a DICOM file"):
        scan(tmp_path / "a.dcm")


def frame_file(path: Path, number: int | None, value: int = 0, **elements: object) -> Path:
    """A single-frame file of a series, filled with one value."""
    given = {"InstanceNumber": number, "SOPInstanceUID": f"{ROOT}.8.{path.stem}", **elements}
    return write_dicom(path, np.full((1, 6, 8), value), elements=given)


def test_single_frames_of_a_series_become_one_clip(tmp_path: Path) -> None:
    paths = [frame_file(tmp_path / f"{k}.dcm", 20 - k, k) for k in range(11)]
    (run,) = scan(*paths)
    assert run.files == tuple(reversed(paths)), "10 comes after 9, whatever the files are called"
    clip = run.read()
    assert clip.image[:, 0, 0].tolist() == list(range(10, -1, -1))
    assert scan(*reversed(paths))[0] == run, "the order in which files are given doesn't matter"
    assert len(scan(*paths, join_series=False)) == 11


@pytest.mark.parametrize(
    "other",
    [
        {"SeriesInstanceUID": f"{ROOT}.2"},
        {"PatientID": "somebody else"},
        {"PixelSpacing": [0.2, 0.2]},
        {"RescaleSlope": 2, "RescaleIntercept": 0},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "BIPLANE B"]},
        {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [4, 4], "RadiusOfCircularShutter": 2},
    ],
)
def test_what_differs_is_not_joined(tmp_path: Path, other: dict) -> None:
    paths = [frame_file(tmp_path / f"{k}.dcm", k) for k in (1, 2)]
    paths += [frame_file(tmp_path / f"{k}.dcm", k, **other) for k in (3, 4)]
    runs = scan(*paths)
    assert sorted(len(run) for run in runs) == [2, 2] and len({run.name for run in runs}) == 2
    assert {run.files for run in runs} == {tuple(paths[:2]), tuple(paths[2:])}


def test_sizes_that_differ_are_not_joined(tmp_path: Path) -> None:
    small = frame_file(tmp_path / "1.dcm", 1)
    large = write_dicom(tmp_path / "2.dcm", np.zeros((1, 9, 9)), elements={"SOPInstanceUID": f"{ROOT}.8.2"})
    assert sorted(run.frame_shape for run in scan(small, large)) == [(6, 8), (9, 9)]


def test_multi_frame_files_of_a_series_stay_apart(tmp_path: Path) -> None:
    paths = [
        write_dicom(tmp_path / f"{k}.dcm", noise((2, 6, 8), 8), elements={"SOPInstanceUID": f"{ROOT}.8.{k}"})
        for k in range(2)
    ]
    paths.append(frame_file(tmp_path / "7.dcm", 7))
    assert sorted(len(run) for run in scan(*paths)) == [1, 2, 2]


@pytest.mark.parametrize("numbers", [(1, 1), (1, None)])
def test_a_series_without_an_order_is_refused(tmp_path: Path, numbers: tuple) -> None:
    paths = [frame_file(tmp_path / f"{k}.dcm", number) for k, number in enumerate(numbers)]
    with pytest.raises(SourceError, match="order") as caught:
        scan(*paths)
    assert "join_series" in str(caught.value)
    assert len(scan(*paths, join_series=False)) == 2


def test_a_series_that_is_too_large_is_refused(tmp_path: Path) -> None:
    paths = [frame_file(tmp_path / f"{k}.dcm", k) for k in range(3)]
    assert len(scan(*paths, max_clip_bytes=3 * 48)) == 1
    with pytest.raises(SourceError, match="series is too large"):
        scan(*paths, max_clip_bytes=3 * 48 - 1)


def test_angles_of_joined_frames_are_the_first(tmp_path: Path) -> None:
    paths = [
        frame_file(tmp_path / f"{k}.dcm", k, PositionerPrimaryAngle=10 + k, PositionerSecondaryAngle=0) for k in (1, 2)
    ]
    (run,) = scan(*paths)
    assert run.angles_deg == (11, 0) and any("angles differ" in note for note in run.notes)


def test_a_copy_is_passed_over_and_an_impostor_named(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", noise((2, 6, 8), 8))
    (tmp_path / "b.dcm").write_bytes(path.read_bytes())
    (run,) = scan(tmp_path / "b.dcm", path)
    assert run.files == (path,)
    impostor = write_dicom(tmp_path / "c.dcm", noise((2, 6, 8), 8, seed=1))
    with pytest.raises(SourceError, match="same instance") as caught:
        scan(path, impostor)
    assert caught.value.file == str(impostor) and str(path) in str(caught.value)


def test_without_uids_the_contents_name_the_run(tmp_path: Path) -> None:
    nameless = {"SOPInstanceUID": None, "SeriesInstanceUID": None}
    one = write_dicom(tmp_path / "1.dcm", noise((1, 6, 8), 8), elements=nameless)
    two = write_dicom(tmp_path / "2.dcm", noise((1, 6, 8), 8, seed=1), elements=nameless)
    runs = scan(one, two)
    assert len({run.name for run in runs}) == 2
    moved = tmp_path / "3.dcm"
    one.rename(moved)
    assert scan(moved)[0].name in {run.name for run in runs}


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not a recording of X-rays"),
        ({"Modality": "MR"}, "not a recording of X-rays"),
        ({"Modality": "", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "not a recording of X-rays"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.1"}, "not a recording of X-rays"),
    ],
)
def test_other_modalities(tmp_path: Path, elements: dict, says: str) -> None:
    path = write_dicom(tmp_path / "a.dcm", noise((2, 6, 8), 8), elements=elements)
    with pytest.raises(SourceError, match=says) as caught:
        scan(path)
    assert "any_modality" in str(caught.value)
    assert len(scan(path, any_modality=True)) == 1


@pytest.mark.parametrize(
    "elements",
    [
        {"Modality": "RF", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.2"},
        {"Modality": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.2.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1.1"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},  # a secondary capture that says XA
    ],
)
def test_recordings_of_x_rays(tmp_path: Path, elements: dict) -> None:
    assert len(scan(write_dicom(tmp_path / "a.dcm", noise((2, 6, 8), 8), elements=elements))) == 1


def test_files_without_a_picture(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "sr.dcm", noise((1, 6, 8), 8), elements={"Modality": "SR"})
    ds = pydicom.dcmread(path)
    del ds.PixelData
    ds.save_as(path)
    for settings in ({}, {"any_modality": True}):
        with pytest.raises(SourceError, match="holds no picture"):
            scan(path, **settings)
    ds.add_new("FloatPixelData", "OF", b"\0" * 4 * 48)
    ds.save_as(path)
    with pytest.raises(SourceError, match="holds no picture"):
        scan(path, any_modality=True)


def test_a_directory_is_passed_over_among_others(tmp_path: Path) -> None:
    directory = write_dicom(tmp_path / "DICOMDIR", noise((1, 6, 8), 8), elements={"SOPClassUID": DIRECTORY})
    path = write_dicom(tmp_path / "a.dcm", noise((2, 6, 8), 8))
    assert [run.files for run in scan(directory, path)] == [(path,)]
    with pytest.raises(SourceError, match="index of files"):
        scan(directory)


def test_bad_files_are_reported_and_left_out(tmp_path: Path) -> None:
    good = write_dicom(tmp_path / "a.dcm", noise((2, 6, 8), 8))
    (tmp_path / "b.dcm").write_bytes(b"nonsense" * 40)
    nowhere = tmp_path / "nowhere.dcm"
    singles = [frame_file(tmp_path / f"{k}.dcm", 1, k) for k in range(2)]
    errors: list[SourceError] = []
    paths = [good, tmp_path / "b.dcm", nowhere, *singles]
    runs = scan_dicom(paths, DicomConfig(), SALT, on_error=errors.append)
    assert [run.files for run in runs] == [(good,)]
    assert {error.file for error in errors} == {str(tmp_path / "b.dcm"), str(nowhere), str(tmp_path)}


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", noise((2, 6, 8), 8))
    (run,) = scan(path)
    write_dicom(path, noise((2, 8, 6), 8))
    with pytest.raises(SourceError, match="changed"):
        run.read()
    path.unlink()
    with pytest.raises(SourceError, match="can't be read"):
        run.read()


@pytest.mark.parametrize("settings", [{"voi": "sometimes"}, {"patients": "all"}, {"max_clip_bytes": 0}])
def test_settings_that_cannot_be(settings: dict) -> None:
    with pytest.raises(SourceError, match=next(iter(settings))):
        DicomConfig(**settings)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(SourceError, match=r"sfvd-pl\[dicom\]"):
        scan(tmp_path / "a.dcm")


def test_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elements = {"PatientBirthDate": "sometime", "PatientID": "x" * 99, "PatientName": "J\xf6rg"}
    path = tmp_path / "a.dcm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        try:
            write_dicom(path, noise((2, 6, 8), 8), elements={"SpecificCharacterSet": "ISO_IR 100", **elements})
        finally:
            pydicom.config.settings.writing_validation_mode = None
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(path)
    assert not caught and capfd.readouterr() == ("", "")
    assert pydicom.config.settings.reading_validation_mode == pydicom.config.WARN, "as before"
    name = scan(path)[0].name
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    assert scan(path)[0].name == name, "whatever the settings are"


@pytest.mark.skipif("SFVD_SHARED_DATA" not in os.environ, reason="real recordings, where they are at hand")
def test_real_recordings() -> None:
    folder = Path(os.environ["SFVD_SHARED_DATA"])
    runs = {run.files[0].name: run for path in sorted((folder / "xa_dicom").glob("*.dcm")) for run in scan(path)}
    assert {name: len(run) for name, run in runs.items()} == {"IM1.dcm": 14, "IM5.dcm": 16, "IM8.dcm": 8}
    assert np.isnan(runs["IM1.dcm"].spacing_mm), "it has no ImagerPixelSpacing"
    assert runs["IM5.dcm"].spacing_mm == pytest.approx(0.390625 * 720 / 931)
    assert all(run.fps == pytest.approx(15, abs=1e-3) for run in runs.values())
    for name, run in runs.items():
        clip, ds = run.read(), pydicom.dcmread(folder / "xa_dicom" / name)
        top, left = ds.ShutterUpperHorizontalEdge - 1, ds.ShutterLeftVerticalEdge - 1
        bottom, right = ds.ShutterLowerHorizontalEdge, ds.ShutterRightVerticalEdge
        assert np.array_equal(clip.image, ds.pixel_array[:, top:bottom, left:right])
    single = folder / "xa_single"
    whole = read(single / "XA1_RLE.dcm").image
    largest = {"XA1_J2KR": 0, "XA1_JLSL": 0, "XA1_JPLL": 0, "XA1_JLSN": 4, "XA1_J2KI": 8, "XA1_JPLY": 120}
    for name, difference in largest.items():
        picture = read(single / f"{name}.dcm").image
        assert np.abs(picture.astype(int) - whole).max() <= difference, name
