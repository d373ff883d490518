"""De-identification: no text of a header, no name of a file or folder reaches an artifact."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest
from dicom_files import ROOT, noise, write_dicom
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset

from sfvd_pl.artifacts import verify
from sfvd_pl.errors import SourceError
from sfvd_pl.sources import SplitConfig, write_source
from sfvd_pl.sources.dicom.identity import patient_pseudonym, pseudonym, salt_path
from sfvd_pl.sources.dicom.scan import DicomConfig, DicomRun, default_salt, scan_dicom
from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.run import import_source

CANARY = "CANARY"
TEXT = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
KEEP = ("Modality", "PhotometricInterpretation", "SpecificCharacterSet", "ShutterShape", "VOILUTFunction")
"""Elements that must hold a code for the file to be read at all; ShutterShape to be ignored otherwise."""


def plant(ds: Dataset, rng: np.random.Generator) -> int:
    """A canary in every text element of the dictionary that isn't used, dates and numbers that stand out, private
    elements, sequences. Returns how many."""
    count = 0
    for tag, entry in DicomDictionary.items():
        vr, keyword = entry[0], keyword_for_tag(tag)
        if not keyword or keyword in KEEP or tag >> 16 in (0x0000, 0x0002, 0x0004, 0x7FE0, 0xFFFE):
            continue
        if vr in TEXT:
            ds.add_new(tag, vr, CANARY + str(rng.integers(10**6)) if vr != "PN" else f"{CANARY}^{count}")
        elif vr == "UI" and keyword not in ("SOPClassUID",):
            ds.add_new(tag, vr, f"1.2.31415926.{count}")
        elif vr in ("DA", "DT"):
            ds.add_new(tag, vr, "19530817")
        elif vr == "AS":
            ds.add_new(tag, vr, "097Y")
        else:
            continue
        count += 1
    item = Dataset()
    item.PatientName, item.CodeMeaning = f"{CANARY}^NESTED", f"{CANARY} MEANING"
    ds.RequestAttributesSequence, ds.AnatomicRegionSequence = [item], [item]
    block = ds.private_block(0x0009, f"{CANARY} PRIVATE", create=True)
    block.add_new(1, "LO", f"{CANARY} PRIVATE VALUE")
    ds.add_new(0x60003000, "OW", b"\x53" * 8)
    ds.add_new(0x60000022, "LO", f"{CANARY} OVERLAY")
    return count


def test_no_text_of_any_header_reaches_the_artifact(tmp_path: Path) -> None:
    paths = []
    for k in range(3):
        folder = tmp_path / "in" / f"{CANARY} Mustermann, Max {k}" / f"{CANARY}-study"
        path = write_dicom(folder / f"{CANARY}_{k}.dcm", noise((2, 24, 24), 12, seed=k), bits=12)
        ds = pydicom.dcmread(path)
        assert plant(ds, np.random.default_rng(k)) > 1000
        ds.PatientID = f"{CANARY}-ID-{k}"
        ds.FrameTime, ds.PixelSpacing = 40, [0.3, 0.3]
        ds.save_as(path)
        assert CANARY.encode() in path.read_bytes()
        paths.append(path)
    runs = scan_dicom(paths, DicomConfig(), "a secret salt")
    assert len({run.patient for run in runs}) == 3
    clips = []
    for run in runs:
        clip = run.read()
        clip.wire_mask[0, 4:20, 12] = 1
        clip.annotated[0] = True
        clips.append(clip)
        assert clip.fps == 25 and clip.spacing_mm == 0.3
    target = tmp_path / "source.h5"
    write_source(target, clips, split=SplitConfig(), seed=0, config={}, progress=False)
    assert verify(target) == []
    data = target.read_bytes()
    for secret in (CANARY, "Mustermann", "31415926", "19530817", "097Y", "a secret salt", ROOT, str(tmp_path)):
        for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
            assert secret.encode(encoding) not in data, secret
    with h5py.File(target) as file:
        names = [name.decode() for name in file["clips/name"][()]]
    assert all(re.fullmatch(r"p-[0-9a-f]{10}/r-[0-9a-f]{10}", name) for name in names)


def test_an_import_records_no_name_of_a_file_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFVD_SALT", "a secret salt")
    root = tmp_path / f"{CANARY} archive"
    for k in range(3):
        elements = {"PatientID": f"{CANARY} {k}", "SOPInstanceUID": f"{ROOT}.4.{k}"}
        path = write_dicom(root / f"{CANARY} {k}" / f"{CANARY}.dcm", noise((2, 24, 24), 8, seed=k), elements=elements)
        mask = np.zeros((2, 24, 24), np.uint8)
        mask[:, 4:20, 12] = 1
        np.save(path.with_suffix(".labels.npy"), mask)
    (root / f"{CANARY} 0" / f"{CANARY} broken.dcm").write_bytes(b"nothing")
    config = ImportConfig(workers=1, polarity="keep", keep_going=True)
    target = tmp_path / "source.h5"
    summary = import_source(root, target, config, split=SplitConfig(), seed=0, progress=False)
    assert summary.annotated == 3 and len(summary.skipped) == 1
    assert verify(target) == []
    assert CANARY.encode() not in target.read_bytes() and b"a secret salt" not in target.read_bytes()


def run_of(path: Path, elements: dict[str, Any] | None = None, salt: str = "a secret", **config: Any) -> DicomRun:
    """The run of a file with these elements."""
    write_dicom(path, noise((2, 8, 8), 8), elements=elements)
    (run,) = scan_dicom([path], DicomConfig(**config), salt)
    return run


def test_notes_and_names_hold_no_text_of_the_header(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / f"{CANARY}.dcm", noise((2, 8, 8), 8))
    ds = pydicom.dcmread(path)
    plant(ds, np.random.default_rng(0))
    ds.save_as(path)
    (run,) = scan_dicom([path], DicomConfig(), "a secret")
    assert run.notes and CANARY not in " ".join([*run.notes, run.name, run.patient])
    assert CANARY not in repr(run.read())


def test_the_same_patient_has_the_same_pseudonym(tmp_path: Path) -> None:
    first = run_of(tmp_path / "a" / "x", {"PatientID": "0017"})
    again = run_of(tmp_path / "b" / "y", {"PatientID": " 0017 ", "PatientName": "Other", "SOPInstanceUID": f"{ROOT}.7"})
    assert first.patient == again.patient and first.name != again.name
    assert run_of(tmp_path / "c", {"PatientID": "0018"}).patient != first.patient
    assert run_of(tmp_path / "d", {"PatientID": "0017"}, salt="another").patient != first.patient
    moved = run_of(tmp_path / "elsewhere" / "z", {"PatientID": "0017"})
    assert moved.name == first.name, "neither folder nor file name matters"


def test_what_stands_in_for_a_patient_id(tmp_path: Path) -> None:
    none = {"PatientID": "", "PatientName": "", "StudyInstanceUID": ""}
    named = {**none, "PatientName": "Müller^Max", "PatientBirthDate": "19500101", "SpecificCharacterSet": "ISO_IR 100"}
    by_name = run_of(tmp_path / "a" / "x", named)
    assert run_of(tmp_path / "b" / "x", {**named, "PatientName": "MÜLLER^MAX"}).patient == by_name.patient
    assert run_of(tmp_path / "b" / "x", {**named, "PatientBirthDate": "19500102"}).patient != by_name.patient
    by_study = run_of(tmp_path / "a" / "x", {**none, "StudyInstanceUID": f"{ROOT}.3"})
    assert run_of(tmp_path / "b" / "x", {**none, "StudyInstanceUID": f"{ROOT}.3"}).patient == by_study.patient
    assert any("StudyInstanceUID" in note for note in by_study.notes)
    by_folder = run_of(tmp_path / "a" / "x", none)
    assert run_of(tmp_path / "a" / "y", none).patient == by_folder.patient
    assert run_of(tmp_path / "b" / "x", none).patient != by_folder.patient
    assert len({run.patient for run in (by_name, by_study, by_folder)}) == 3


def test_one_text_as_id_and_as_study_are_two_patients() -> None:
    number, _ = patient_pseudonym("s", {"PatientID": "1.2.3"}, Path("x"))
    study, _ = patient_pseudonym("s", {"StudyInstanceUID": "1.2.3"}, Path("x"))
    assert number != study and re.fullmatch("p-[0-9a-f]{10}", number)
    assert pseudonym("s", "k", "a", "b") != pseudonym("s", "k", "ab")


def test_an_empty_salt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="secret"):
        run_of(tmp_path / "x", salt="")


def test_patients_by_folder(tmp_path: Path) -> None:
    anonymous = {"PatientID": "ANON"}
    paths = []
    for k, place in enumerate(["ann/one", "ann/two", "bob", "cid/deep/down"]):
        elements = {**anonymous, "SOPInstanceUID": f"{ROOT}.5.{k}"}
        paths.append(write_dicom(tmp_path / place / "x", noise((2, 8, 8), 8), elements=elements))
    assert len({run.patient for run in scan_dicom(paths, DicomConfig(), "s")}) == 1
    runs = scan_dicom(paths, DicomConfig(patients="folder"), "s")
    of = {run.files[0]: run.patient for run in runs}
    assert of[paths[0]] == of[paths[1]] and len(set(of.values())) == 3
    assert len({run.patient for run in scan_dicom(paths[:1], DicomConfig(patients="folder"), "s")}) == 1


def test_the_salt_is_made_once_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFVD_SALT", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    salt = default_salt()
    assert len(salt) == 64 and default_salt() == salt
    path = salt_path()
    assert path == tmp_path / "config" / "sfvd" / "salt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and os.listdir(path.parent) == ["salt"]
    monkeypatch.setenv("SFVD_SALT", "given")
    assert default_salt() == "given"
    monkeypatch.delenv("SFVD_SALT")
    path.unlink()
    assert default_salt() != salt
    path.write_text("\n")
    with pytest.raises(SourceError, match="empty"):
        default_salt()


def test_a_salt_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SFVD_SALT", raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(SourceError, match="SFVD_SALT"):
        default_salt()


def test_the_salt_lies_at_home_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert salt_path() == tmp_path / ".config" / "sfvd" / "salt"


def test_burned_in_text_is_refused(tmp_path: Path) -> None:
    elements = {"BurnedInAnnotation": "YES"}
    with pytest.raises(SourceError, match="burnt into") as caught:
        run_of(tmp_path / "x", elements)
    assert "allow_burned_in" in str(caught.value)
    assert len(run_of(tmp_path / "x", elements, allow_burned_in=True)) == 2
    assert len(run_of(tmp_path / "x", {"BurnedInAnnotation": "NO"})) == 2


def test_overlays_are_not_burnt_in(tmp_path: Path) -> None:
    values = noise((2, 8, 8), 8)
    path = write_dicom(tmp_path / "x.dcm", values)
    ds = pydicom.dcmread(path)
    for tag, vr, value in (
        (0x60000010, "US", 8),
        (0x60000011, "US", 8),
        (0x60000050, "SS", [1, 1]),
        (0x60003000, "OW", b"\xff" * 8),
    ):
        ds.add_new(tag, vr, value)
    ds.save_as(path)
    (run,) = scan_dicom([path], DicomConfig(), "a secret")
    assert np.array_equal(run.read().image, values)
    # the retired kind lies in the unused bits of the pixels
    path = write_dicom(tmp_path / "y.dcm", noise((2, 8, 8), 12), bits=12, rubbish=0xF000)
    (run,) = scan_dicom([path], DicomConfig(), "a secret")
    assert np.array_equal(run.read().image, noise((2, 8, 8), 12))
