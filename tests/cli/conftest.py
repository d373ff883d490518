"""The toy source and models, the command itself, and folders of pictures."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from pictures import write_pictures
from toy import toy_clips
from toy_fixtures import models, source, suspects

from sfvd_pl.cli.main import main

__all__ = ["models", "source", "suspects"]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Sfvd = Callable[..., Outcome]


def sfvd(*args: object) -> Outcome:
    """Run ``sfvd ARGS`` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return Outcome(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session", name="sfvd")
def sfvd_fixture() -> Sfvd:
    """The command."""
    return sfvd


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three patients with one run each, all annotated."""
    folder = tmp_path / "clips"
    for clip in toy_clips()[::2][:3]:
        write_pictures(folder, clip)
    return folder
