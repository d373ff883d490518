"""The folder that an export fills: whole or not there, and no name leads out of it."""

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sfvd_pl.errors import ExportError
from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.meta import ORIGINS

PNG_LEVEL = 4
"""Compression: noisy frames hardly shrink further, whatever the effort."""


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name at the end; after an error nothing is left.

    Raises:
        ExportError: The name is taken, or nothing can be written there.
    """
    out = out.absolute()
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ExportError(
            "the output folder holds something already",
            file=out,
            key="--out",
            expected="a new or empty folder",
            remedy="choose another folder; nothing is ever overwritten",
        )
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    except OSError as error:
        raise _cannot_write(out, error) from error
    try:
        yield partial
        partial.replace(out)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise  # of what was read, for all that is known here
        raise _cannot_write(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _cannot_write(out: Path, error: OSError) -> ExportError:
    return ExportError(
        "the output folder can't be written",
        file=out,
        key="--out",
        expected="a place with room where files may be made",
        found=error.strerror,
        remedy="make room, or choose another place; nothing is left there",
    )


def clip_path(folder: Path, name: str, suffix: str = "") -> Path:
    """``<patient>/<run><suffix>`` below a folder, with the folders above it.

    Raises:
        ExportError: The clip's name can't be that of a file.
    """
    for part in name.split("/"):
        odd = part in ("", ".", "..") or part.startswith(".") or re.search(r"[\x00-\x1f\\]", part)
        if odd or len(part.encode()) > 200:
            raise ExportError(
                "the clip's name can't be that of a folder or file",
                key="clips/name",
                expected="<patient>/<run>, at most 200 bytes each, no dot in front, backslash or control character",
                found=repr(name),
                remedy="import the clips again under plain names",
            )
    path = folder.joinpath(*name.split("/"))
    path = path.with_name(path.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_png(path: Path, picture: npt.NDArray[Any]) -> None:
    """A grey picture of 8 or 16 bit, (H, W)."""
    Image.fromarray(np.ascontiguousarray(picture)).save(path, format="PNG", compress_level=PNG_LEVEL)


def meta_of(clip: Clip, *, known_origin: bool = True) -> dict[str, Any]:
    """What meta.json says of a clip, so that an import gives it back; see ``sfvd_pl.sources.meta``."""
    numbers = {"fps": clip.fps, "pixel_spacing_mm": clip.spacing_mm}
    meta: dict[str, Any] = {key: value for key, value in numbers.items() if not math.isnan(value)}
    meta |= {
        "intensity_max": clip.intensity_max,
        "intensity": clip.intensity,
        "inverted": False,
        "source_scale": clip.source_scale,
        "source_offset": clip.source_offset,
        "affine": [list(row) for row in clip.affine],
    }
    if not all(math.isnan(angle) for angle in clip.angles_deg):
        meta["angles_deg"] = [None if math.isnan(angle) else angle for angle in clip.angles_deg]
    if known_origin and clip.origin in ORIGINS:
        meta["origin"] = clip.origin
    return meta


def annotated_frames(clip: Clip) -> str | list[int]:
    """Frames that somebody looked at, as meta.json wants them beside a label volume."""
    return "all" if clip.annotated.all() else [int(k) for k in np.flatnonzero(clip.annotated)]


def write_json(path: Path, content: Any) -> None:
    """Text that a person can read."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def require(module: str, extra: str) -> None:
    """Say which extra brings an optional library.

    Raises:
        ExportError: It isn't installed.
    """
    import importlib.util

    if importlib.util.find_spec(module) is None:
        raise ExportError(
            f"this format needs {module}",
            key="--format",
            found="it isn't installed",
            remedy=f"pip install 'sfvd-pl[{extra}]'",
        )
