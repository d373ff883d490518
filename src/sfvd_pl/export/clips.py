"""Clips out of an artifact: which, and what is known of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ExportError
from sfvd_pl.sources.clip import Clip

PICTURES = (Kind.SOURCE, Kind.SCENES, Kind.MOTIONS, Kind.SYNTHETIC)
"""Kinds that hold pictures."""


@dataclass(frozen=True)
class Item:
    """One clip to export.

    Attributes:
        clip: The clip, without padding.
        split: ``train``, ``val`` or ``test``; empty in a generated artifact, which has no split.
        group: Clips of one group must not lie on both sides of a split: the patient; of a generated clip the patient
            who is shown, else the one whose masks drove it, else the clip itself.
        labelled: Whether training may use the masks.
        generated: Whether a model made it.
        shows: Of a generated clip, the patient who is shown around the wire; empty where that is nobody.
    """

    clip: Clip
    split: str
    group: str
    labelled: bool
    generated: bool
    shows: str = ""

    @property
    def synthetic(self) -> bool:
        """Whether it was made by a model or by the simulator."""
        return self.generated or self.clip.origin == "phantom"


def choose(
    artifact: Artifact, *, clips: Sequence[str] = (), split: str | None = None, accepted: bool | None = None
) -> list[int]:
    """Rows of the clips to export, in order.

    Args:
        artifact: An artifact with pictures.
        clips: Names or patterns such as ``p01/*``; none means all.
        split: Only this part of a source.
        accepted: Whether only clips that the gate accepted are exported; None: in a synthetic artifact.

    Raises:
        ExportError: The artifact holds no pictures, has no split or no gate, or no clip is left.
    """
    if artifact.kind not in PICTURES:
        raise ExportError(
            "this kind of artifact holds no pictures",
            file=artifact.path,
            key="kind",
            expected=", ".join(PICTURES),
            found=artifact.kind.value,
            remedy="export the source, and `sfvd segment predict --masks true` for predictions",
        )
    if split is not None and artifact.kind != Kind.SOURCE:
        raise ExportError(
            "only a source is split", file=artifact.path, key="--split", found=split, remedy="leave it out"
        )
    if accepted is not None and artifact.kind != Kind.SYNTHETIC:
        raise ExportError(
            "no gate has judged these clips",
            file=artifact.path,
            key="--accepted",
            expected="a synthetic artifact",
            found=artifact.kind.value,
            remedy="leave it out, or export synthetic.h5",
        )
    names = [str(name) for name in artifact.column("clips/name")]
    chosen = np.array([not clips or any(fnmatchcase(name, wanted) for wanted in clips) for name in names], bool)
    if split is not None:
        chosen &= artifact.column("clips/split") == split
    if artifact.kind == Kind.SYNTHETIC and accepted is not False:
        chosen &= artifact.column("clips/accepted")
    if not chosen.any():
        raise ExportError(
            "there is nothing to export",
            file=artifact.path,
            key="--clips, --split, --accepted",
            expected=f"at least one of the {len(names)} clips, such as {names[0]}",
            found="none that is asked for" + (", or the gate accepted none" if artifact.kind == Kind.SYNTHETIC else ""),
            remedy="see their names with `sfvd data show`",
        )
    return [int(row) for row in np.flatnonzero(chosen)]


def read_item(artifact: Artifact, row: int) -> Item:
    """One clip of an artifact with pictures."""
    return _filmed(artifact, row) if artifact.kind == Kind.SOURCE else _generated(artifact, row)


def _filmed(artifact: Artifact, row: int) -> Item:
    def value(name: str) -> float:
        return float(artifact.column(f"clips/{name}")[row])

    def text(name: str) -> str:
        return str(artifact.column(f"clips/{name}")[row])

    primary, secondary = (float(angle) for angle in artifact.column("clips/angles_deg")[row])
    (a, b, c), (d, e, f) = artifact.column("clips/affine")[row].tolist()
    image, masks, ignore = (_frames(artifact, row, key) for key in ("image", "wire_mask", "ignore"))
    clip = Clip(
        name=text("name"),
        patient=text("patient"),
        image=image,
        wire_mask=masks,
        annotated=artifact.clip_rows("frames/annotated", row),
        ignore=ignore,
        fps=value("fps"),
        spacing_mm=value("spacing_mm"),
        intensity_max=artifact.intensity_max,
        origin=text("origin"),
        intensity=text("intensity"),  # type: ignore[arg-type]  # one of the schema's choices
        source_scale=value("source_scale"),
        source_offset=value("source_offset"),
        angles_deg=(primary, secondary),
        affine=((a, b, c), (d, e, f)),
    )
    return Item(clip, text("split"), clip.patient, bool(artifact.column("clips/labelled")[row]), generated=False)


def _generated(artifact: Artifact, row: int) -> Item:
    """A clip that a model made; of a scenes artifact one frame, the scene with the mask that drove it."""
    name, patient = (str(artifact.column(f"clips/{key}")[row]) for key in ("name", "patient"))
    masks = _frames(artifact, row, "wire_mask")
    if artifact.kind == Kind.SCENES:
        height, width = masks.shape[1:]
        image, masks = artifact.rows("clips/scene", row, row + 1)[:, :height, :width], masks[:1]
        annotated = np.ones(1, np.bool_)
    else:
        image, annotated = _frames(artifact, row, "image"), artifact.clip_rows("frames/annotated", row)
    origin, source = (str(artifact.column(f"clips/mask_{key}")[row]) for key in ("origin", "source"))
    patient = patient or "synthetic"
    clip = Clip(
        name=name if name.startswith(f"{patient}/") else f"{patient}/{name}",
        patient=patient,
        image=image,
        wire_mask=masks,
        annotated=annotated,
        fps=math.nan,
        spacing_mm=math.nan,
        intensity_max=artifact.intensity_max,
        ignore=_frames(artifact, row, "ignore") if "frames/ignore" in artifact.keys else None,
    )
    shown = str(artifact.column("clips/background_patient")[row]) if artifact.kind == Kind.SYNTHETIC else ""
    group = source.partition("/")[0] if origin != "simulated" and "/" in source else name
    return Item(clip, "", shown or group, labelled=True, generated=True, shows=shown)


def _frames(artifact: Artifact, row: int, key: str) -> npt.NDArray[Any]:
    """A column of a clip's frames at the clip's own size."""
    height, width = (int(artifact.column(f"clips/{side}")[row]) for side in ("height", "width"))
    return np.ascontiguousarray(artifact.clip_rows(f"frames/{key}", row)[:, :height, :width])
