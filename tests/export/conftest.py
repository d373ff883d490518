"""Artifacts to export, built once."""

import pytest
from export_samples import clips_of, generated_artifact, write_clips

from sfvd_pl.artifacts import Artifact, Kind


@pytest.fixture(scope="session", params=[255, 1000])
def any_depth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The source in 8 bit, and in 16 bit over a part of the range."""
    return write_clips(tmp_path_factory.mktemp("depth") / "source.h5", clips_of(request.param))


@pytest.fixture(scope="session")
def eight_bit(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_clips(tmp_path_factory.mktemp("eight") / "source.h5", clips_of(255))


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Three clips, the first of which the gate rejected."""
    return Artifact.open(generated_artifact(tmp_path_factory.mktemp("synthetic"), Kind.SYNTHETIC))
