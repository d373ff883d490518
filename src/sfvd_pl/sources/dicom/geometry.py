"""What a DICOM header says about space and time: pixel spacing, frame rate, C-arm angles, shutter.

Nothing is invented: what the header doesn't say, or says in a way that can't be true, is unknown (NaN), and a note
says why.
"""

import math
from dataclasses import dataclass

import numpy as np

from sfvd_pl.sources.dicom.header import Header, numbers_of, text_of

ISOTROPY = 0.01
"""Largest difference between the spacing of rows and columns, relative to their mean, that counts as none."""
SPACING_MM = (0.01, 5.0)
FPS = (0.1, 200.0)
"""What is taken for a spacing and for a frame rate; beyond, the header's value is a default or a mistake."""
MAGNIFICATION = (1.0, 5.0)

_GEOMETRY = ("XRayGeometrySequence",)
_PROPERTIES = ("FramePixelDataPropertiesSequence",)


@dataclass(frozen=True)
class Crop:
    """The part of a frame that is kept, px."""

    top: int
    left: int
    height: int
    width: int

    @property
    def affine(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """From a pixel (x, y, 1) of the crop to the frame's."""
        return (1.0, 0.0, float(self.left)), (0.0, 1.0, float(self.top))


def spacing_mm(header: Header) -> tuple[float, tuple[str, ...]]:
    """Pixel spacing in the isocentre plane, mm, and notes.

    In this order (DICOM PS3.3, 10.7.1.1, C.8.7.5 and C.8.19.6.9):

    1. PixelSpacing, which is measured in the patient, unless it merely repeats ImagerPixelSpacing (or
       NominalScannedPixelSpacing) without a PixelSpacingCalibrationType: then it wasn't calibrated.
    2. ObjectPixelSpacingInCenterOfBeam of an enhanced file.
    3. ImagerPixelSpacing, which is measured at the detector, times SOD / SID (DistanceSourceToPatient, or
       DistanceSourceToIsocenter of an enhanced file, over DistanceSourceToDetector), or divided by
       EstimatedRadiographicMagnificationFactor where the distances are missing.
    """
    imager = header.agreed("ImagerPixelSpacing", *_PROPERTIES)
    calibrated = header.agreed("PixelSpacing", "PixelMeasuresSequence")
    stated = header.text("PixelSpacingCalibrationType").upper() in ("GEOMETRY", "FIDUCIAL")
    nominal = header.numbers("NominalScannedPixelSpacing")
    if calibrated and (stated or not any(_same(calibrated, other) for other in (imager, nominal) if other)):
        known = stated or imager or nominal
        note = () if known else ("PixelSpacing doesn't say how it was calibrated",)
        return _isotropic(calibrated, "PixelSpacing", note)
    beam = header.agreed("ObjectPixelSpacingInCenterOfBeam", "ProjectionPixelCalibrationSequence")
    if beam:
        return _isotropic(beam, "ObjectPixelSpacingInCenterOfBeam", ())
    if not imager:
        return math.nan, ("pixel spacing unknown: the file gives none",)
    factor = _magnification(header)
    if math.isnan(factor):
        return math.nan, ("pixel spacing unknown: that of the detector is given, but not the magnification",)
    return _isotropic(tuple(value / factor for value in imager), "ImagerPixelSpacing", ())


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and bool(np.allclose(one, other, rtol=1e-4, atol=0))


def _magnification(header: Header) -> float:
    """SID / SOD, NaN where unknown or implausible."""
    sid = header.agreed("DistanceSourceToDetector", *_GEOMETRY)
    sod = header.agreed("DistanceSourceToPatient", *_GEOMETRY)
    sod = sod or header.agreed("DistanceSourceToIsocenter", *_GEOMETRY)
    estimated = header.agreed("EstimatedRadiographicMagnificationFactor", *_GEOMETRY)
    candidates = [sid[0] / sod[0]] if sid and sod and sod[0] > 0 else []
    for factor in [*candidates, *estimated[:1]]:
        if MAGNIFICATION[0] <= factor <= MAGNIFICATION[1]:
            return factor
    return math.nan


def _isotropic(pair: tuple[float, ...], keyword: str, notes: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """One number from row and column spacing, where there is one."""
    if len(pair) != 2 or not all(SPACING_MM[0] <= value <= SPACING_MM[1] for value in pair):
        return math.nan, (*notes, f"pixel spacing unknown: {keyword} isn't plausible")
    mean = (pair[0] + pair[1]) / 2
    if abs(pair[0] - pair[1]) > ISOTROPY * mean:
        return math.nan, (*notes, f"pixel spacing unknown: {keyword} of rows and columns differ")
    return mean, notes


def frame_rate(header: Header) -> tuple[float, tuple[str, ...]]:
    """Frames a second, and notes.

    The first plausible one of: what FrameIncrementPointer points to; FrameTime; FrameTimeVector, by its median;
    the median step between the FrameAcquisitionDateTime of an enhanced file; CineRate; and
    RecommendedDisplayFrameRate, which is a wish of the console rather than a measurement.
    """
    time = ("FrameTime", _rate_of_time(header))
    vector = ("FrameTimeVector", _rate_of_vector(header))
    first, second = (vector, time) if "0018,1065" in _pointer(header) else (time, vector)
    candidates = (
        first,
        second,
        ("FrameAcquisitionDateTime", _rate_of_dates(header)),
        ("CineRate", header.number("CineRate")),
        ("RecommendedDisplayFrameRate", header.number("RecommendedDisplayFrameRate")),
    )
    implausible: list[str] = []
    for keyword, rate in candidates:
        if FPS[0] <= rate <= FPS[1]:
            return rate, tuple(f"{name} isn't a plausible frame rate" for name in implausible)
        if not math.isnan(rate):
            implausible.append(keyword)
    return math.nan, ("frame rate unknown", *(f"{name} isn't a plausible frame rate" for name in implausible))


def _pointer(header: Header) -> str:
    """Tags that FrameIncrementPointer names, as pydicom prints them, e.g. ``(0018,1063)``."""
    return header.text("FrameIncrementPointer").replace(" ", "")


def _rate_of_time(header: Header) -> float:
    step = header.number("FrameTime")
    return math.nan if math.isnan(step) else 1000 / step if step > 0 else 0.0


def _rate_of_vector(header: Header) -> float:
    """From the steps in ms; the first entry is 0, for nothing comes before the first frame."""
    steps = header.numbers("FrameTimeVector")[1:]
    if not steps:
        return math.nan
    step = float(np.median(steps))
    return 1000 / step if step > 0 else 0.0


def _rate_of_dates(header: Header) -> float:
    """From the median step between frames' acquisition times of an enhanced file."""
    places = header.places("FrameContentSequence")[1:]
    seconds = [_seconds(text_of(place, "FrameAcquisitionDateTime")) for place in places]
    steps = np.diff([second for second in seconds if not math.isnan(second)])
    steps = steps[steps > 0]  # midnight may lie between two
    return 1 / float(np.median(steps)) if len(steps) and len(seconds) == len(places) else math.nan


def _seconds(text: str) -> float:
    """Time of day of a DICOM date and time, YYYYMMDDHHMMSS.FFFFFF, in seconds."""
    try:
        return int(text[8:10]) * 3600 + int(text[10:12]) * 60 + float(text[12:21])
    except ValueError:
        return math.nan


def angles_deg(header: Header) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Primary (LAO positive) and secondary (cranial positive) angle in degrees, and notes.

    Those of the patient's frame of reference; an enhanced file's may stand in its functional groups. A rotating
    C-arm has those of its first frame, from which the increments of PositionerMotion DYNAMIC count.
    """
    angles = []
    for keyword in ("PositionerPrimaryAngle", "PositionerSecondaryAngle"):
        places = [numbers_of(place, keyword) for place in header.places("PositionerPositionSequence")]
        first = next((values[0] for values in places if values), math.nan)
        angles.append(first)
    if any(abs(angle) > 180 for angle in angles):
        return (math.nan, math.nan), ("C-arm angles unknown: no such angles",)
    return (angles[0], angles[1]), ()


def crop_to_shutter(
    header: Header, rows: int, columns: int, wanted: bool = True
) -> tuple[Crop, tuple[str, ...]]:
    """The bounding rectangle of the shutter within the frame, and notes.

    Edges are numbered from 1 and belong to the picture (PS3.3, C.7.6.11). Several shapes count together: what
    one of them hides is hidden. Shutters of an enhanced file's frames that differ: what any frame shows is kept.
    """
    whole = Crop(0, 0, rows, columns)
    if not wanted:
        return whole, ()
    places = header.places("FrameDisplayShutterSequence")
    boxes = [box for place in places if (box := _box(place, rows, columns)) is not None]
    if not boxes:
        return whole, ()
    top, left = min(box[0] for box in boxes), min(box[1] for box in boxes)
    bottom, right = max(box[2] for box in boxes), max(box[3] for box in boxes)
    if bottom <= top or right <= left:
        return whole, ("the shutter leaves no picture: it is ignored",)
    return Crop(top, left, bottom - top, right - left), ()


def _box(place: object, rows: int, columns: int) -> tuple[int, int, int, int] | None:
    """Top, left, bottom, right (exclusive) of one dataset's shutter, from 0; None where there is none."""
    shapes = [shape.strip().upper() for shape in text_of(place, "ShutterShape").split("\\")]
    boxes = []
    if "RECTANGULAR" in shapes:
        boxes.append(_rectangle(place))
    if "CIRCULAR" in shapes:
        boxes.append(_circle(place))
    if "POLYGONAL" in shapes:
        boxes.append(_polygon(place))
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    top, left = max(0, *(box[0] for box in known)), max(0, *(box[1] for box in known))
    bottom = min(float(rows), *(box[2] for box in known))
    right = min(float(columns), *(box[3] for box in known))
    return math.floor(top), math.floor(left), math.ceil(bottom), math.ceil(right)


_Box = tuple[float, float, float, float]


def _rectangle(place: object) -> _Box | None:
    names = ("UpperHorizontal", "LeftVertical", "LowerHorizontal", "RightVertical")
    edges = [numbers_of(place, f"Shutter{name}Edge") for name in names]
    if not all(edges):
        return None
    top, left, bottom, right = (values[0] for values in edges)
    return top - 1, left - 1, bottom, right


def _circle(place: object) -> _Box | None:
    centre, radius = numbers_of(place, "CenterOfCircularShutter"), numbers_of(place, "RadiusOfCircularShutter")
    if len(centre) != 2 or not radius:
        return None
    y, x, r = centre[0] - 1, centre[1] - 1, radius[0]
    return y - r, x - r, y + r + 1, x + r + 1


def _polygon(place: object) -> _Box | None:
    corners = numbers_of(place, "VerticesOfThePolygonalShutter")
    if len(corners) < 6 or len(corners) % 2:
        return None
    y, x = corners[0::2], corners[1::2]
    return min(y) - 1, min(x) - 1, max(y), max(x)
