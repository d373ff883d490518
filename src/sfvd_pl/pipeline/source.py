"""The step that brings a run its clips."""

from pathlib import Path
from typing import Any

import yaml

from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline.presets import merged
from sfvd_pl.pipeline.settings import RunSettings
from sfvd_pl.pipeline.steps import Run, Step, sfvd_command
from sfvd_pl.pipeline.summary import clips_line
from sfvd_pl.sources.walk import listed_files


def source_step(run: Run, settings: RunSettings, config: dict[str, Any], out: Path) -> Step:
    """Simulate the clips, or import the user's.

    Args:
        run: The run.
        settings: What is asked for.
        config: Settings of the step.
        out: The source artifact.
    """
    config = merged(config, {"seed": settings.seed})
    if settings.labelled_fraction is not None:
        config = merged(config, {"split": {"labelled_fraction": settings.labelled_fraction}})
    asked, fingerprint = config, config
    if settings.data is not None:
        asked, fingerprint = _import(config, settings.data, settings.overrides.get("source", {}))

    def action(resume: bool) -> None:
        command = ["data", "simulate"] if settings.data is None else ["data", "import"]
        where = [] if settings.data is None else [str(settings.data)]
        path = run.path("source", "config.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(asked))
        arguments = [*command, *where, "--config", str(path), "--out", str(out), "--overwrite", "true"]
        sfvd_command(arguments, isolated=False)

    return Step("source", fingerprint, {}, [out], action, lambda: clips_line(out))


def _import(config: dict[str, Any], data: Path, overrides: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of ``sfvd data import``, and all that decides its result, the user's files included.

    Raises:
        ConfigError: Settings of the simulator were given on the command line, where they'd do nothing.
    """
    if "phantom" in overrides:
        raise ConfigError(
            "settings of the simulator for clips that are imported",
            key="--source.phantom",
            expected="settings of the import, such as --source.polarity keep",
            remedy="leave them out, or leave DATA empty",
        )
    asked = {key: value for key, value in config.items() if key != "phantom"}
    fingerprint = {key: value for key, value in asked.items() if key != "workers"}  # which change nothing
    fingerprint["listing"] = _listing(data)
    for key in ("labels", "patients"):
        if asked.get(key) is not None:
            fingerprint[f"{key} listing"] = _listing(Path(asked[key]))
    return asked, fingerprint


def _listing(data: Path) -> list[list[Any]]:
    """Name, size and time of every file of a folder, so that a change of the clips is noticed."""
    if not data.exists():
        raise ConfigError("there are no such clips", file=data, key="data", expected="clips, or a file about them")
    files = sorted(listed_files(data)) if data.is_dir() else [data]
    return [[str(p.relative_to(data)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
