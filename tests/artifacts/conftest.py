"""Fixtures of the artifact tests."""

from pathlib import Path

import pytest
from artifact_samples import columns_of, write_artifact

from sfvd_pl.artifacts import Kind


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source artifact: three clips of 3, 5 and 4 frames."""
    return write_artifact(tmp_path / "source.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
