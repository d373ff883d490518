"""Clips and folders of pictures for the tests of the sources."""

import json
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from sfvd_pl.sources import Clip

MakeClip = Callable[..., Clip]
MakeRun = Callable[..., Path]


@pytest.fixture
def make_clip() -> MakeClip:
    """A small clip with a dark wire on a noisy ground; ``annotated`` for all frames or none."""

    def make(
        patient: str = "p01",
        run: str = "r01",
        shape: tuple[int, int, int] = (3, 32, 40),
        annotated: bool = True,
        bright: bool = False,
        top: int = 255,
    ) -> Clip:
        rng = np.random.default_rng(crc32(f"{patient}/{run}".encode()))
        wire = np.zeros(shape, np.uint8)
        wire[:, 8:24, 12:14] = 1
        image = rng.normal(0.5, 0.02, shape) + (0.2 if bright else -0.2) * wire
        dtype = np.uint8 if top <= 255 else np.uint16
        return Clip(
            name=f"{patient}/{run}",
            patient=patient,
            image=(image * top).astype(dtype),
            wire_mask=wire if annotated else np.zeros_like(wire),
            annotated=np.full(shape[0], annotated),
            fps=15.0,
            spacing_mm=float("nan"),
            intensity_max=top,
        )

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run of pictures under ``tmp_path/data``; returns the run's folder."""

    def make(
        patient: str = "p1",
        run: str = "r1",
        frames: int = 3,
        shape: tuple[int, int] = (20, 24),
        masked: tuple[int, ...] = (0, 1, 2),
        suffix: str = ".png",
        meta: dict[str, object] | None = None,
    ) -> Path:
        folder = tmp_path / "data" / patient / run
        (folder / "images").mkdir(parents=True)
        for k in range(frames):
            Image.fromarray(np.full(shape, 100 + k, np.uint8)).save(folder / "images" / f"f{k}{suffix}")
            if k in masked:
                (folder / "masks").mkdir(exist_ok=True)
                mask = np.zeros(shape, np.uint8)
                mask[4:16, 5 + k] = 255
                Image.fromarray(mask).save(folder / "masks" / f"f{k}.png")
        if meta is not None:
            (folder / "meta.json").write_text(json.dumps(meta))
        return folder

    return make
