"""Runs of DICOM files: what is found, joined, refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from dicom_files import noise, write_dicom

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.dicom import DicomConfig, DicomRun, is_dicom, scan_dicom

SALT = "a secret"


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
