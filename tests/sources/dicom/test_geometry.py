"""Space and time: what the header says, and nothing that it doesn't say."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import noise, write_dicom
from pydicom.dataset import Dataset

from sfvd_pl.sources.dicom.scan import DicomConfig, DicomRun, scan_dicom


def run_of(path: Path, elements: dict[str, Any], shape: tuple[int, int, int] = (2, 8, 8), **config: Any) -> DicomRun:
    """The run of a file with these elements."""
    write_dicom(path, noise(shape, 8), elements=elements)
    (run,) = scan_dicom([path], DicomConfig(**config), "a secret")
    clip = run.read()
    assert clip.frame_shape == run.frame_shape
    for one, other in ((clip.fps, run.fps), (clip.spacing_mm, run.spacing_mm)):
        assert one == other or (math.isnan(one) and math.isnan(other))
    return run


def item(**elements: Any) -> Dataset:
    """A dataset of these elements."""
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def shared(**sequences: Any) -> dict[str, Any]:
    """Shared functional groups."""
    return {"SharedFunctionalGroupsSequence": [item(**{key: [value] for key, value in sequences.items()})]}


def per_frame(**sequences: Any) -> dict[str, Any]:
    """Functional groups of each frame: lists of values, one a frame."""
    count = len(next(iter(sequences.values())))
    groups = [item(**{key: [values[k]] for key, values in sequences.items()}) for k in range(count)]
    return {"PerFrameFunctionalGroupsSequence": groups}


IMAGER = {"ImagerPixelSpacing": [0.4, 0.4]}
DISTANCES = {"DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 750}
GROUPS = {
    "FramePixelDataPropertiesSequence": item(ImagerPixelSpacing=[0.2, 0.2]),
    "XRayGeometrySequence": item(DistanceSourceToDetector=1200, DistanceSourceToIsocenter=800),
}


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({}, math.nan),
        ({"PixelSpacing": [0.25, 0.25]}, 0.25),
        ({"PixelSpacing": [0.25, 0.25], "PixelSpacingCalibrationType": "FIDUCIAL"}, 0.25),
        ({"PixelSpacing": [0.25, 0.25], **IMAGER, **DISTANCES}, 0.25),
        # a repetition of the detector's isn't calibrated, unless it says so
        ({"PixelSpacing": [0.4, 0.4], **IMAGER, **DISTANCES}, 0.3),
        ({"PixelSpacing": [0.4, 0.4], **IMAGER}, math.nan),
        ({"PixelSpacing": [0.4, 0.4], "PixelSpacingCalibrationType": "GEOMETRY", **IMAGER}, 0.4),
        ({"PixelSpacing": [0.4, 0.4], "NominalScannedPixelSpacing": [0.4, 0.4]}, math.nan),
        ({**IMAGER, **DISTANCES}, 0.3),
        ({**IMAGER, "EstimatedRadiographicMagnificationFactor": 1.6}, 0.25),
        ({**IMAGER, **DISTANCES, "EstimatedRadiographicMagnificationFactor": 1.6}, 0.3),
        (IMAGER, math.nan),
        ({**IMAGER, "DistanceSourceToDetector": 1000}, math.nan),
        ({**IMAGER, "DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 0}, math.nan),
        # the patient can't be behind the detector: the factor is asked next
        ({**IMAGER, "DistanceSourceToDetector": 500, "DistanceSourceToPatient": 700}, math.nan),
        (
            {
                **IMAGER,
                "DistanceSourceToDetector": 500,
                "DistanceSourceToPatient": 700,
                "EstimatedRadiographicMagnificationFactor": 1.25,
            },
            0.32,
        ),
        (DISTANCES, math.nan),
        ({"PixelSpacing": [0.3, 0.302]}, 0.301),
        ({"PixelSpacing": [0.3, 0.31]}, math.nan),
        ({"ImagerPixelSpacing": [0.3, 0.6], **DISTANCES}, math.nan),
        ({"PixelSpacing": [0, 0]}, math.nan),
        ({"PixelSpacing": [-0.3, -0.3]}, math.nan),
        ({"PixelSpacing": [300, 300]}, math.nan),
        (shared(**GROUPS), 0.2 * 800 / 1200),
        (per_frame(**{key: [value, value] for key, value in GROUPS.items()}), 0.2 * 800 / 1200),
        (shared(PixelMeasuresSequence=item(PixelSpacing=[0.21, 0.21])), 0.21),
        (
            {**shared(**GROUPS), **per_frame(XRayGeometrySequence=[item(DistanceSourceToDetector=d) for d in (9, 8)])},
            math.nan,
        ),
        (
            shared(
                ProjectionPixelCalibrationSequence=item(ObjectPixelSpacingInCenterOfBeam=[0.17, 0.17]), **GROUPS
            ),
            0.17,
        ),
    ],
)
def test_spacing(tmp_path: Path, elements: dict, spacing: float) -> None:
    run = run_of(tmp_path / "x.dcm", elements)
    assert run.spacing_mm == pytest.approx(spacing, rel=1e-6, nan_ok=True)
    if math.isnan(spacing):
        assert any(note.startswith("pixel spacing unknown") for note in run.notes), "it says why"


def test_a_spacing_that_does_not_say_how_it_came_about_is_noted(tmp_path: Path) -> None:
    run = run_of(tmp_path / "x.dcm", {"PixelSpacing": [0.25, 0.25]})
    assert any("calibrated" in note for note in run.notes)
    run = run_of(tmp_path / "y.dcm", {"PixelSpacing": [0.25, 0.25], **IMAGER})
    assert not any("calibrated" in note for note in run.notes)


@pytest.mark.parametrize(
    ("elements", "fps"),
    [
        ({}, math.nan),
        ({"FrameTime": 66.6667}, 15.0),
        ({"FrameTimeVector": [0, 40, 40, 90]}, 25.0),
        ({"FrameTimeVector": [0]}, math.nan),
        ({"CineRate": 30}, 30.0),
        ({"RecommendedDisplayFrameRate": 12}, 12.0),
        ({"FrameTime": 66.6667, "FrameTimeVector": [0, 40], "CineRate": 30, "RecommendedDisplayFrameRate": 9}, 15.0),
        ({"FrameTime": 66.6667, "FrameTimeVector": [0, 40], "FrameIncrementPointer": 0x00181065}, 25.0),
        ({"FrameTime": 66.6667, "FrameTimeVector": [0, 40], "FrameIncrementPointer": 0x00181063}, 15.0),
        ({"FrameTimeVector": [0, 40], "CineRate": 30}, 25.0),
        ({"CineRate": 30, "RecommendedDisplayFrameRate": 12}, 30.0),
        ({"FrameTime": 0, "CineRate": 30}, 30.0),
        ({"FrameTime": -5, "CineRate": 0, "RecommendedDisplayFrameRate": 12}, 12.0),
        ({"FrameTime": 1e-3}, math.nan),
        ({"CineRate": 100000}, math.nan),
        (
            per_frame(
                FrameContentSequence=[
                    item(FrameAcquisitionDateTime=f"20200101235959.{k}00000") for k in (2, 4, 6)
                ]
            ),
            5.0,
        ),
        (
            per_frame(
                FrameContentSequence=[
                    item(FrameAcquisitionDateTime=f"2020010{time}")
                    for time in ("1235959.800000", "2000000.000000", "2000000.200000")
                ]
            ),
            5.0,
        ),
        (per_frame(FrameContentSequence=[item(FrameAcquisitionDateTime="2020") for _ in range(2)]), math.nan),
    ],
)
def test_frame_rate(tmp_path: Path, elements: dict, fps: float) -> None:
    run = run_of(tmp_path / "x.dcm", elements)
    assert run.fps == pytest.approx(fps, rel=1e-5, nan_ok=True)
    assert ("frame rate unknown" in run.notes) == math.isnan(fps)


def test_malformed_numbers_are_unknown(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "x.dcm", noise((2, 8, 8), 8), elements={"FrameTime": 6.25, "PixelSpacing": [0.5, 0.5], **DISTANCES}
    )
    data = path.read_bytes()
    assert data.count(b"6.25") == 1 and data.count(b"0.5\\0.5 ") == 1
    path.write_bytes(data.replace(b"6.25", b"soon").replace(b"0.5\\0.5 ", b"0.5\\nan "))
    (run,) = scan_dicom([path], DicomConfig(), "a secret")
    assert math.isnan(run.fps) and math.isnan(run.spacing_mm)


@pytest.mark.parametrize(
    ("elements", "angles"),
    [
        ({}, (math.nan, math.nan)),
        ({"PositionerPrimaryAngle": -30.5, "PositionerSecondaryAngle": 20}, (-30.5, 20.0)),
        ({"PositionerPrimaryAngle": -30.5}, (-30.5, math.nan)),
        ({"PositionerPrimaryAngle": 200, "PositionerSecondaryAngle": 20}, (math.nan, math.nan)),
        (
            shared(PositionerPositionSequence=item(PositionerPrimaryAngle=11, PositionerSecondaryAngle=-7)),
            (11.0, -7.0),
        ),
        (
            per_frame(
                PositionerPositionSequence=[
                    item(PositionerPrimaryAngle=a, PositionerSecondaryAngle=1) for a in (5, 6)
                ]
            ),
            (5.0, 1.0),
        ),
    ],
)
def test_angles(tmp_path: Path, elements: dict, angles: tuple[float, float]) -> None:
    assert run_of(tmp_path / "x.dcm", elements).angles_deg == pytest.approx(angles, nan_ok=True)


def rectangle(top: int, left: int, bottom: int, right: int) -> dict[str, Any]:
    """A rectangular shutter; edges from 1, inclusive."""
    return {
        "ShutterShape": "RECTANGULAR",
        "ShutterUpperHorizontalEdge": top,
        "ShutterLeftVerticalEdge": left,
        "ShutterLowerHorizontalEdge": bottom,
        "ShutterRightVerticalEdge": right,
    }


CIRCLE = {"ShutterShape": "CIRCULAR", "CenterOfCircularShutter": [10, 12], "RadiusOfCircularShutter": 4}
POLYGON = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": [3, 5, 9, 15, 14, 6]}


@pytest.mark.parametrize(
    ("elements", "box"),  # top, left, bottom, right: from 0, the latter two exclusive
    [
        ({}, (0, 0, 20, 30)),
        (rectangle(3, 5, 18, 25), (2, 4, 18, 25)),
        (rectangle(0, 0, 21, 31), (0, 0, 20, 30)),
        (rectangle(-5, 1, 99, 10), (0, 0, 20, 10)),
        (CIRCLE, (5, 7, 14, 16)),
        (POLYGON, (2, 4, 14, 15)),
        ({**rectangle(7, 1, 20, 30), **CIRCLE, "ShutterShape": ["RECTANGULAR", "CIRCULAR"]}, (6, 7, 14, 16)),
        (rectangle(10, 10, 5, 5), (0, 0, 20, 30)),
        (rectangle(40, 40, 50, 50), (0, 0, 20, 30)),
        ({"ShutterShape": "RECTANGULAR"}, (0, 0, 20, 30)),
        ({"ShutterShape": "BITMAP"}, (0, 0, 20, 30)),
        (shared(FrameDisplayShutterSequence=item(**rectangle(3, 5, 18, 25))), (2, 4, 18, 25)),
        (
            per_frame(
                FrameDisplayShutterSequence=[item(**rectangle(3, 5, 12, 25)), item(**rectangle(4, 2, 15, 20))]
            ),
            (2, 1, 15, 25),
        ),
    ],
)
def test_shutter(tmp_path: Path, elements: dict, box: tuple[int, int, int, int]) -> None:
    top, left, bottom, right = box
    run = run_of(tmp_path / "x.dcm", elements, (2, 20, 30))
    assert run.frame_shape == (bottom - top, right - left)
    clip = run.read()
    whole = noise((2, 20, 30), 8)
    assert np.array_equal(clip.image, whole[:, top:bottom, left:right])
    x, y = np.array(clip.affine) @ (0, 0, 1)
    assert (whole[:, int(y), int(x)] == clip.image[:, 0, 0]).all(), "the affine leads back to the frame"
    assert run_of(tmp_path / "y.dcm", elements, (2, 20, 30), crop_shutter=False).frame_shape == (20, 30)


def test_a_shutter_that_leaves_nothing_is_noted(tmp_path: Path) -> None:
    assert any("shutter" in note for note in run_of(tmp_path / "x.dcm", rectangle(10, 10, 5, 5)).notes)
