"""Session-wide fixtures: imported by the conftest.py of each folder that uses them, built once all the same."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from toy import (
    features_module,
    motion_module,
    save_model,
    scene_module,
    segmentation_module,
    write_suspects,
    write_toy_source,
)

from sfvd_pl.artifacts import Artifact, Kind


@lru_cache(maxsize=1)
def _source(folder: Path) -> Path:
    return write_toy_source(folder / "toy-source.h5")


@lru_cache(maxsize=1)
def _suspects(folder: Path) -> Path:
    source = _source(folder)
    artifact = Artifact.open(source, Kind.SOURCE)
    masks = artifact.column("frames/wire_mask")[np.repeat(artifact.column("clips/split") == "train", 6)]
    return write_suspects(folder / "toy-suspects.h5", source, 0.9 * masks)


@lru_cache(maxsize=1)
def _models(folder: Path) -> dict[str, Path]:
    source = _source(folder)
    # Of a seed of its own, so that no other module has its weights by chance.
    scene = save_model(scene_module(seed=4), folder / "toy-models" / "scene.ckpt", source)
    return {
        "scene": scene,
        "motion": save_model(motion_module(scene_ckpt=scene), folder / "toy-models" / "motion.ckpt", source),
        "guide": save_model(segmentation_module(seed=1), folder / "toy-models" / "guide.ckpt", source),
        "gate": save_model(segmentation_module(seed=2), folder / "toy-models" / "gate.ckpt", source),
        "features": save_model(features_module(seed=6), folder / "toy-models" / "features.ckpt", source),
    }


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy source."""
    return _source(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def suspects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a guide suspects that finds every wire of the toy source's training clips."""
    return _suspects(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of untrained models on the toy source: scene, motion, guide, gate, features."""
    return _models(tmp_path_factory.getbasetemp())
