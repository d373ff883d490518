"""What a user can say about a recording: ``meta.json`` beside a run's pictures, ``<stem>.json`` beside a file."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from sfvd_pl.artifacts.schema import SCHEMAS, Kind
from sfvd_pl.errors import SourceError
from sfvd_pl.sources.clip import IDENTITY, INTENSITIES, Clip, Intensity, Pixels

ORIGINS: tuple[str, ...] = SCHEMAS[Kind.SOURCE].by_key["clips/origin"].choices or ()
META_KEYS: dict[str, str] = {
    "fps": "frames a second, a positive number",
    "pixel_spacing_mm": "mm a pixel, a positive number",
    "intensity_max": "largest value the detector can give, an integer of 1..65535",
    "intensity": f"what the pixels are linear in, one of {', '.join(INTENSITIES)}",
    "inverted": "true where the wire is bright in these pictures, else false",
    "angles_deg": "C-arm angles [primary, secondary], numbers of -180..180 or null",
    "source_scale": "value in the original file a pixel value, a number other than 0",
    "source_offset": "value in the original file of the pixel value 0, a number",
    "affine": "two rows of three numbers, from a pixel (x, y, 1) of these pictures to the original's, invertible",
    "origin": f"kind of the original file, one of {', '.join(ORIGINS)}",
    "annotated_frames": '"all", or a list of frame numbers from 0',
}
"""Keys that are understood, and what each must hold. Others are somebody else's business."""
MAX_BYTES = 16 * 2**20
Affine = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Meta:
    """The known keys; what the user didn't say is None, or NaN where it is a quantity.

    Args:
        fps: Hz.
        spacing_mm: mm.
        intensity_max: Largest value of the pixels in the file.
        intensity: What pixel values are linear in.
        inverted: Whether the wire is bright in the file, so that its pixels are inverted on the way in.
        angles_deg: Primary and secondary C-arm angle.
        source_scale, source_offset: From this file's pixels to those of an original that it was made from.
        affine: The same for coordinates.
        origin: Kind of that original.
        annotated_frames: Frames of a label volume that somebody looked at; "all", or their numbers.
    """

    fps: float = math.nan
    spacing_mm: float = math.nan
    intensity_max: int | None = None
    intensity: Intensity | None = None
    inverted: bool | None = None
    angles_deg: tuple[float, float] = (math.nan, math.nan)
    source_scale: float = 1.0
    source_offset: float = 0.0
    affine: Affine | None = None
    origin: str | None = None
    annotated_frames: str | tuple[int, ...] | None = None

    def clip(
        self,
        name: str,
        patient: str,
        image: Pixels,
        *,
        origin: str,
        intensity_max: int,
        scale: float = 1.0,
        offset: float = 0.0,
        fps: float = math.nan,
        spacing_mm: float = math.nan,
        intensity: Intensity = "unknown",
    ) -> Clip:
        """A clip without labels; what the user said takes precedence over what the file says.

        Args:
            name, patient: Of the clip.
            image: (T, H, W) uint8 or uint16, as the file has it.
            origin: Kind of file.
            intensity_max: Of these pixels.
            scale, offset: From ``image`` to the values in the file.
            fps, spacing_mm, intensity: As the file says.
        """
        clip = Clip(
            name=name,
            patient=patient,
            image=image,
            wire_mask=np.zeros(image.shape, np.uint8),
            annotated=np.zeros(len(image), np.bool_),
            fps=fps if math.isnan(self.fps) else self.fps,
            spacing_mm=spacing_mm if math.isnan(self.spacing_mm) else self.spacing_mm,
            intensity_max=intensity_max,
            origin=self.origin or origin,
            intensity=self.intensity or intensity,
            source_scale=self.source_scale * scale,
            source_offset=self.source_scale * offset + self.source_offset,
            angles_deg=self.angles_deg,
            affine=self.affine or IDENTITY,
        )
        return clip.inverted() if self.inverted else clip


def read_meta(path: Path) -> Meta:
    """The known keys of a JSON file; none where there is no such file.

    Raises:
        SourceError: The file isn't a JSON object, or a key holds what it can't.
    """
    if not path.exists():
        return Meta()
    content = read_json(path)
    if not isinstance(content, dict):
        raise SourceError(
            "the file must hold keys",
            file=path,
            expected="a JSON object",
            found=type(content).__name__,
            remedy="correct or remove it",
        )
    if any(isinstance(v := content.get(key), list) and any(map(_is_object, v)) for key in ("annotations", "frames")):
        raise SourceError(
            "labels under a name that stands for facts of a recording",
            file=path,
            expected=", ".join(META_KEYS),
            found=", ".join(sorted(content)[:10]),
            remedy="rename it: <run>/labels.json beside images/, or <stem>.labels.json beside a file",
        )
    known = {key: content[key] for key in META_KEYS if content.get(key) is not None}
    for key, value in known.items():
        if not _CHECKS[key](value):
            raise SourceError(
                "the file holds a value of the wrong kind",
                file=path,
                key=key,
                expected=META_KEYS[key],
                found=repr(value)[:200],
                remedy="correct the value, or leave the key out where it is unknown",
            )
    return _meta(known)


def read_json(path: Path, limit: int | None = MAX_BYTES) -> Any:
    """A JSON file of at most ``limit`` bytes.

    Raises:
        SourceError: Too large, unreadable, or not JSON.
    """
    try:
        size = path.stat().st_size
        if limit is not None and size > limit:
            raise SourceError("the file is too large", file=path, expected=f"<= {limit} bytes", found=size)
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(
            "the file can't be read",
            file=path,
            expected="JSON",
            found=str(error),
            remedy="correct or remove it",
        ) from error


def _meta(known: dict[str, Any]) -> Meta:
    renamed = {"pixel_spacing_mm": "spacing_mm"}
    fields = {renamed.get(key, key): value for key, value in known.items()}
    for key in ("fps", "spacing_mm", "source_scale", "source_offset"):
        if key in fields:
            fields[key] = float(fields[key])
    if "angles_deg" in fields:
        fields["angles_deg"] = tuple(math.nan if a is None else float(a) for a in fields["angles_deg"])
    if "affine" in fields:
        fields["affine"] = cast(Affine, tuple(tuple(float(v) for v in row) for row in fields["affine"]))
    if isinstance(fields.get("annotated_frames"), list):
        fields["annotated_frames"] = tuple(fields["annotated_frames"])
    return Meta(**fields)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _angles(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(a is None or (_number(a) and -180 <= a <= 180) for a in value)
    )


def _affine(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(row, list) for row in value)):
        return False
    if not all(len(row) == 3 and all(_number(v) for v in row) for row in value):
        return False
    (a, b, _), (c, d, _) = value
    with np.errstate(all="ignore"):
        return math.isfinite(a * d - b * c) and bool(np.linalg.det(np.array([[a, b], [c, d]], float)) != 0)


def _frames(value: Any) -> bool:
    return value == "all" or (isinstance(value, list) and all(_integer(k) and 0 <= k < 2**31 for k in value))


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "fps": lambda value: _number(value) and value > 0,
    "pixel_spacing_mm": lambda value: _number(value) and value > 0,
    "intensity_max": lambda value: _integer(value) and 1 <= value <= 65535,
    "intensity": lambda value: isinstance(value, str) and value in INTENSITIES,
    "inverted": lambda value: isinstance(value, bool),
    "angles_deg": _angles,
    "source_scale": lambda value: _number(value) and value != 0,
    "source_offset": _number,
    "affine": _affine,
    "origin": lambda value: isinstance(value, str) and value in ORIGINS,
    "annotated_frames": _frames,
}
