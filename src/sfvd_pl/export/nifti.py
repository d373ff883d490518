"""NIfTI volumes: ``<patient>/<run>.nii.gz`` with the labels in ``<run>.labels.nii.gz`` and ``<run>.json`` beside it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfvd_pl.export.clips import Item
from sfvd_pl.export.folder import annotated_frames, clip_path, meta_of, require, write_json
from sfvd_pl.sources.clip import Clip


class NiftiExport:
    """Axes X, Y, 1, T; spacing in mm and the time between frames in s, 1 without a unit where they are unknown.

    Args:
        folder: To write into.

    Raises:
        ExportError: nibabel is missing.
    """

    def __init__(self, folder: Path) -> None:
        require("nibabel", "nifti")
        self.folder = folder

    def add(self, item: Item) -> None:
        """Write one clip."""
        clip = item.clip
        path = clip_path(self.folder, clip.name, ".nii.gz")
        _save(path, clip.image, clip)
        stem = path.name.removesuffix(".nii.gz")
        meta = meta_of(clip, known_origin=not item.generated)
        if clip.annotated.any():
            _save(path.with_name(f"{stem}.labels.nii.gz"), clip.wire_mask, clip)
            meta["annotated_frames"] = annotated_frames(clip)
        write_json(path.with_name(f"{stem}.json"), meta)

    def finish(self) -> list[str]:
        """Nothing belongs to all of them."""
        return []


def _save(path: Path, values: npt.NDArray[Any], clip: Clip) -> None:
    import nibabel

    spacing = 1.0 if math.isnan(clip.spacing_mm) else clip.spacing_mm
    seconds = 1.0 if math.isnan(clip.fps) else 1.0 / clip.fps
    volume = np.ascontiguousarray(values.transpose(2, 1, 0)[:, :, None, :])
    # x to the left and y to the back, as rows and columns of a picture lie in NIfTI's world of right and front
    affine = np.diag([-spacing, -spacing, 1.0, 1.0])
    image = nibabel.Nifti1Image(volume, affine, dtype=volume.dtype)
    image.header.set_zooms((spacing, spacing, 1.0, seconds))
    units = (None if math.isnan(clip.spacing_mm) else "mm", None if math.isnan(clip.fps) else "sec")
    image.header.set_xyzt_units(*units)
    image.header.set_slope_inter(1.0, 0.0)
    image.header["descrip"] = b"sfvd-pl"
    nibabel.save(image, path)
