"""The step ``check``: quality control between the data set and everything that learns from it."""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.metrics.quality.check import CheckConfig
from sfvd_pl.metrics.quality.facts import Limits
from sfvd_pl.metrics.quality.findings import accept
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.steps import Run, Step, say
from sfvd_pl.report.check import write_check
from sfvd_pl.sources.check.run import check_source, refuse

KEYS = ("accept", "window", "frames", "limits")


def check_step(run: Run, source: Path, given: dict[str, Any], training: dict[str, Any]) -> Step:
    """The step that a source has to pass before anything learns from it.

    Args:
        run: Where the page goes.
        source: The artifact.
        given, training: See :func:`check_settings`.
    """
    config = check_settings(given, training)
    as_config(config)  # a wrong setting is named before anything is made
    folder = run.path("check")
    page, data = folder / "index.html", folder / "findings.json"

    def made() -> str:
        counts = json.loads(data.read_text())["counts"]
        known = f", {counts['accepted']} errors accepted" if counts["accepted"] else ""
        return f"{counts['warning']} warnings{known}: {page}"

    def action(resume: bool) -> None:
        run_check(source, folder, config)

    return Step("check", config, {"source": source}, [page, data], action, made)


def require_passed(run: Run, source: Path) -> None:
    """Refuse a source that the step ``check`` hasn't let pass; one that isn't there is for others to name.

    Raises:
        SourceError: It was never checked, was changed since, or has errors that nobody accepted.
    """
    state = run.state("check")
    checked = state.get("fingerprint", {}).get("input source") if state.get("status") == "done" else None
    if source.exists() and checked != file_hash(source):
        raise SourceError(
            "this data set hasn't passed its quality control",
            file=source,
            expected="stage1 to have checked it",
            found=f"errors, or an earlier source: see {run.path('check')}" if state else "no check",
            remedy="run stage1 first: make stage1 RUN=...",
        )


def check_settings(given: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """A preset's ``check.yaml`` with what training needs filled in.

    Args:
        given: ``check.yaml`` with the command line's settings on top.
        training: ``data`` of the motion model, whose ``window`` and ``frames`` clips should have.

    Raises:
        ConfigError: A key that isn't one of ``KEYS``.
    """
    for key in given:
        if key not in KEYS:
            raise ConfigError(
                "unknown setting of the check", key=key, expected=", ".join(KEYS), found=given[key]
            )
    accepted = given.get("accept") or []
    return {
        "accept": [accepted] if isinstance(accepted, str) else list(accepted),
        "window": given.get("window", training.get("window", 0)),
        "frames": given.get("frames", training.get("frames", 0)),
        "limits": given.get("limits") or {},
    }


def run_check(source: Path, folder: Path, settings: dict[str, Any]) -> None:
    """Check a source and write the page; errors that nobody accepted end the run.

    Raises:
        SourceError: There are such errors. The page is there all the same.
    """
    check = check_source(source, as_config(settings), progress=sys.stderr.isatty())
    _, page = write_check(folder, check)
    for line in check.lines():
        say(line)
    refuse(check, page, 'ARGS="--check.accept CODE", or CODE:CLIP for one clip')


def as_config(settings: dict[str, Any]) -> CheckConfig:
    """Settings of :func:`check_settings` as what the check takes.

    Raises:
        ConfigError: A limit or an accepted code doesn't exist.
    """
    accept([], settings["accept"])
    return CheckConfig(
        tuple(settings["accept"]), settings["window"], settings["frames"], _limits(settings["limits"])
    )


def _limits(given: dict[str, Any]) -> Limits:
    known = [field.name for field in fields(Limits)]
    for key, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key not in known or not number:
            expected = f"a number for one of {', '.join(known)}"
            raise ConfigError(
                "not a limit of the check", key=f"check.limits.{key}", expected=expected, found=value
            )
    return Limits(**given)
