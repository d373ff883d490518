"""DICOM files: valid to pydicom, honest about what they are, and readable by the importer."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from export_samples import generated_artifact

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.export import ExportConfig, export_artifact
from sfvd_pl.export.clips import read_item
from sfvd_pl.sources import Clip, SplitConfig
from sfvd_pl.sources.dicom.scan import DicomConfig
from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.run import import_source


@pytest.fixture(scope="module")
def files(any_depth: Artifact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("dicom") / "out"
    export_artifact(any_depth, out, ExportConfig("dicom"), progress=False)
    return {str(p.relative_to(out).with_suffix("")): p for p in out.rglob("*.dcm")}


def clips_in(artifact: Artifact) -> dict[str, Clip]:
    return {(item := read_item(artifact, row)).clip.name: item.clip for row in range(artifact.n_clips)}


def test_pydicom_reads_the_pixels_and_the_masks(any_depth: Artifact, files: dict[str, Path]) -> None:
    clips = clips_in(any_depth)
    assert set(files) == set(clips)
    for name, clip in clips.items():
        ds = pydicom.dcmread(files[name])
        pixels = ds.pixel_array.reshape(clip.image.shape)
        np.testing.assert_array_equal(pixels, clip.image)
        assert ds.BitsStored == max(8, any_depth.intensity_max.bit_length())
        if clip.annotated.any():
            np.testing.assert_array_equal(ds.overlay_array(0x6000).reshape(clip.image.shape), clip.wire_mask)
        else:
            assert not any(element.tag.group == 0x6000 for element in ds)


def test_every_value_is_valid_to_pydicom(files: dict[str, Path]) -> None:
    """Written and read again with pydicom's strictest checks; the file's meta information fits the dataset."""
    with pydicom.config.disable_value_validation():
        loose = [pydicom.dcmread(path) for path in files.values()]
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    try:
        for path, other in zip(files.values(), loose, strict=True):
            ds = pydicom.dcmread(path)
            assert list(ds.iterall())  # converts, and so checks, each value
            assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID
            assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
            assert ds == other
    finally:
        pydicom.config.settings.reading_validation_mode = before


REQUIRED = {  # of a multi-frame grayscale secondary capture, PS3.3 A.8: types 1 and 2
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber", "Modality", "SeriesInstanceUID", "SeriesNumber",
    "ConversionType", "InstanceNumber", "PatientOrientation", "SamplesPerPixel", "PhotometricInterpretation", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "NumberOfFrames",
    "BurnedInAnnotation", "PresentationLUTShape", "RescaleIntercept", "RescaleSlope", "RescaleType", "SOPClassUID",
    "SOPInstanceUID", "Laterality", "ImageType",
}  # fmt: skip


def test_what_the_standard_requires_is_there(any_depth: Artifact, files: dict[str, Path]) -> None:
    classes = {255: "MultiFrameGrayscaleByteSecondaryCaptureImageStorage"}
    name = classes.get(any_depth.intensity_max, "MultiFrameGrayscaleWordSecondaryCaptureImageStorage")
    for path in files.values():
        ds = pydicom.dcmread(path)
        assert set(ds.dir()) >= REQUIRED
        assert ds.SOPClassUID == getattr(pydicom.uid, name)
        if ds.NumberOfFrames > 1:
            assert ds[ds.FrameIncrementPointer].value is not None
        assert len(ds.PixelData) % 2 == 0


def test_it_says_what_it_is_and_nothing_about_anybody(files: dict[str, Path]) -> None:
    for name, path in files.items():
        ds = pydicom.dcmread(path)
        assert list(ds.ImageType) == ["DERIVED", "SECONDARY"]
        assert (ds.ContentQualification, ds.BurnedInAnnotation) == ("RESEARCH", "NO")
        assert ds.PatientName == ds.PatientID == name.split("/")[0]
        assert ds.PatientIdentityRemoved == "YES"
        simulated = name == "p5/ä"
        assert ds.SyntheticData == ("YES" if simulated else "NO")
        assert ds.ConversionType == ("SYN" if simulated else "WSD")
        for keyword in ds.dir("Date", "Time", "Birth", "Physician", "Institution", "Address"):
            assert keyword == "FrameTime" or not ds[keyword].value, keyword


def test_generated_clips_say_whom_they_show(tmp_path: Path) -> None:
    artifact = Artifact.open(generated_artifact(tmp_path, Kind.SYNTHETIC))
    export_artifact(artifact, tmp_path / "out", ExportConfig("dicom"), progress=False)
    found = [pydicom.dcmread(p) for p in sorted((tmp_path / "out").rglob("*.dcm"))]
    assert len(found) == 2
    for ds, shown in zip(found, ("nobody", "patient p1"), strict=True):
        assert (ds.SyntheticData, ds.ConversionType, ds.PatientName) == ("YES", "SYN", "synthetic")
        assert ds.SeriesDescription.startswith("SYNTHETIC")
        assert ds.DerivationDescription.startswith(f"Synthetic clip, made by a model, shows {shown};")
        assert artifact.content_hash in ds.DerivationDescription


def test_uids_are_new_valid_and_the_same_for_the_same_clip(
    any_depth: Artifact, files: dict[str, Path], tmp_path: Path
) -> None:
    export_artifact(any_depth, tmp_path / "again", ExportConfig("dicom", clips=("p1/*",)), progress=False)
    seen: dict[str, set[str]] = {"SOPInstanceUID": set(), "SeriesInstanceUID": set(), "StudyInstanceUID": set()}
    for name, path in files.items():
        ds = pydicom.dcmread(path)
        for keyword, values in seen.items():
            assert ds[keyword].value.is_valid
            values.add(ds[keyword].value)
        twin = tmp_path / "again" / f"{name}.dcm"
        if twin.exists():
            assert pydicom.dcmread(twin).SOPInstanceUID == ds.SOPInstanceUID
    assert [len(values) for values in seen.values()] == [7, 7, 5], "clips, clips, patients"


def test_the_importer_reads_them_back(any_depth: Artifact, files: dict[str, Path], tmp_path: Path) -> None:
    """Pixels, masks, spacing, rate, angles; patients become pseudonyms by way of the importer's salted hash."""
    config = ImportConfig(polarity="keep", workers=1, dicom=DicomConfig(patients="folder"))
    out = tmp_path / "again.h5"
    import_source(files["p1/a"].parent.parent, out, config, split=SplitConfig(0.2, 0.2), seed=3, progress=False)
    again = Artifact.open(out, Kind.SOURCE)

    def signature(clip: Clip) -> bytes:
        return clip.image.astype(np.uint16).tobytes()

    found = {signature(clip): clip for clip in clips_in(again).values()}
    assert len(found) == any_depth.n_clips
    full = 2 ** max(8, any_depth.intensity_max.bit_length()) - 1
    assert again.intensity_max == full
    partners: dict[str, set[str]] = {}
    for name, clip in clips_in(any_depth).items():
        other = found[signature(clip)]
        partners.setdefault(name.split("/")[0], set()).add(other.patient)
        np.testing.assert_array_equal(other.wire_mask, clip.wire_mask)
        assert other.fps == pytest.approx(clip.fps, rel=1e-6, nan_ok=True)
        assert other.spacing_mm == pytest.approx(clip.spacing_mm, rel=1e-6, nan_ok=True)
        if not any(math.isnan(angle) for angle in clip.angles_deg):
            assert other.angles_deg == pytest.approx(clip.angles_deg)
        assert other.origin == "dicom"
    assert all(len(names) == 1 for names in partners.values())
    assert len(set().union(*partners.values())) == 5


def test_the_labels_beside_it_keep_empty_frames_apart(any_depth: Artifact, files: dict[str, Path]) -> None:
    import json

    clip: Any = clips_in(any_depth)["p1/a"]
    np.testing.assert_array_equal(np.load(files["p1/a"].with_suffix(".labels.npy")), clip.wire_mask)
    about = json.loads(files["p1/a"].with_suffix(".json").read_text())
    assert about["annotated_frames"] == np.flatnonzero(clip.annotated).tolist()
