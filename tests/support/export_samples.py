"""A source with everything that a clip can know, and small artifacts of every kind."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from artifact_samples import columns_of, write_artifact

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.sources import Clip, SplitConfig, write_source


def wire_clip(name: str, *, top: int, shape: tuple[int, int, int], seed: int, annotated: list[int]) -> Clip:
    """Noise with a dark wire; among the annotated frames the second is empty."""
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if top <= 255 else np.uint16
    image = rng.integers(top // 2, top + 1, shape).astype(dtype)
    masks = np.zeros(shape, np.uint8)
    flags = np.zeros(shape[0], np.bool_)
    for number, frame in enumerate(annotated):
        flags[frame] = True
        if number != 1:
            masks[frame, 4:-4, 7 + seed : 9 + seed] = 1
            image[frame, 4:-4, 7 + seed : 9 + seed] //= 4
    return Clip(
        name=name, patient=name.split("/")[0], image=image, wire_mask=masks, annotated=flags, fps=15.0,
        spacing_mm=float(np.float32(0.277)), intensity_max=top, ignore=np.zeros(shape, np.uint8),
    )  # fmt: skip


def clips_of(top: int) -> list[Clip]:
    """Seven clips of five patients, of several sizes, with and without what a file may know."""
    plain = [
        wire_clip("p1/a", top=top, shape=(5, 24, 32), seed=1, annotated=[0, 2, 3]),
        wire_clip("p1/b", top=top, shape=(3, 21, 27), seed=2, annotated=[0, 1, 2]),
        wire_clip("p2/a", top=top, shape=(4, 24, 32), seed=3, annotated=[1, 2, 3]),
        wire_clip("p3/Lauf 1", top=top, shape=(4, 24, 31), seed=4, annotated=[0, 1, 2, 3]),
        wire_clip("p4/a", top=top, shape=(2, 24, 32), seed=5, annotated=[0]),
        wire_clip("p5/ä", top=top, shape=(1, 24, 32), seed=6, annotated=[0]),
        wire_clip("p5/b", top=top, shape=(3, 24, 32), seed=7, annotated=[]),
    ]
    return [
        replace(plain[0], intensity="linear", angles_deg=(30.5, math.nan), source_scale=-0.1, source_offset=255 / 7),
        replace(plain[1], intensity="log", affine=((0.5, 0.0, 3.25), (0.0, 0.5, -1.0)), origin="dicom"),
        replace(plain[2], fps=math.nan, origin="video", intensity="display"),
        replace(plain[3], spacing_mm=math.nan, origin="nifti"),
        replace(plain[4], fps=float(np.float32(7.3)), angles_deg=(-179.5, 45.25), origin="npy"),
        replace(plain[5], origin="phantom"),
        plain[6],
    ]  # fmt: skip


def write_clips(path: Path, clips: list[Clip]) -> Artifact:
    split = SplitConfig(val_fraction=0.2, test_fraction=0.2)
    write_source(path, clips, split=split, seed=1, config={}, progress=False)
    return Artifact.open(path, Kind.SOURCE)


def generated_artifact(folder: Path, kind: Kind) -> Path:
    """Three clips of any kind; the generated ones are driven by a simulated wire and two patients' masks."""
    columns = columns_of(kind)
    if "clips/mask_origin" in columns:
        columns |= {"clips/name": [f"synthetic/{i:06d}" for i in range(3)], "clips/patient": ["synthetic"] * 3}
        columns["clips/mask_origin"] = ["simulated", "labelled", "labelled"]
        columns["clips/mask_source"] = ["17", "p1/a", "p2/a"]
    return write_artifact(folder / f"{kind}.h5", kind, columns)
