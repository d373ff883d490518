"""The step that brings a run its clips."""

from pathlib import Path
from typing import Any

import yaml

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline.presets import merged
from sfvd_pl.pipeline.settings import RunSettings
from sfvd_pl.pipeline.steps import Run, Step, sfvd_command
from sfvd_pl.pipeline.summary import clips_line
from sfvd_pl.sources.patients import read_split
from sfvd_pl.sources.split import SplitConfig
from sfvd_pl.sources.walk import listed_files
from sfvd_pl.sources.write import divide_anew


def split_settings(split: Path | None, test: str | None, labelled: str | None) -> dict[str, Any]:
    """Settings of ``SplitConfig`` for what a user asks for.

    Args:
        split: A CSV file with the columns ``patient`` and ``part``.
        test: ``none``: every patient trains.
        labelled: A share of the annotated training clips, names of clips with commas between, or a file with one name
            on each line.

    Raises:
        SfvdError: The file can't be read, or the settings contradict one another or themselves.
    """
    if split is not None and test is not None:
        raise ConfigError(
            "two ways to say who is tested", key="SPLIT and TEST", expected="one of them", found=f"{split} and {test}"
        )
    asked: dict[str, Any] = {}
    if test is not None:
        asked |= {"val_fraction": 0.0, "test_fraction": 0.0}
    if split is not None:
        asked |= {"parts": read_split(split)}
    if labelled is not None:
        asked |= _labels(labelled)
    SplitConfig(**asked)
    return asked


def _labels(text: str) -> dict[str, Any]:
    try:
        return {"labelled_fraction": float(text)}
    except ValueError:
        file = Path(text)
        names = file.read_text("utf-8-sig", "replace").splitlines() if file.is_file() else text.split(",")
    clips = [name.strip() for name in names if name.strip()]
    if not clips:
        raise ConfigError(
            "no clip would keep its labels",
            key="LABELLED",
            expected="a share such as 0.25, names of clips with commas between, or a file with one name on each line",
            found=text,
        )
    return {"labelled_clips": clips}


def source_step(run: Run, settings: RunSettings, config: dict[str, Any], out: Path) -> Step:
    """Simulate the clips, or import the user's; those of a source artifact are divided anew.

    Args:
        run: The run.
        settings: What is asked for.
        config: Settings of the step.
        out: The source artifact.
    """
    overrides = settings.overrides.get("source", {})
    own = {}
    if settings.data is not None and "labelled_fraction" not in overrides.get("split", {}):
        own = {"labelled_fraction": 1.0}  # the preset's share is the simulator's, whose clips all have labels
    config = merged(config, {"seed": settings.seed, "split": {**own, **settings.split}})
    if settings.data is not None and settings.data.suffix == ".h5":
        return _divided(settings.data, {key: config[key] for key in ("seed", "split")}, overrides, out)
    asked, fingerprint = config, config
    if settings.data is not None:
        asked, fingerprint = _import(config, settings.data, overrides)

    def action(resume: bool) -> None:
        command = ["data", "simulate"] if settings.data is None else ["data", "import"]
        where = [] if settings.data is None else [str(settings.data)]
        path = run.path("source", "config.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(asked))
        arguments = [*command, *where, "--config", str(path), "--out", str(out), "--overwrite", "true"]
        sfvd_command(arguments, isolated=False)

    return Step("source", fingerprint, {}, [out], action, lambda: clips_line(out))


def _divided(data: Path, config: dict[str, Any], overrides: dict[str, Any], out: Path) -> Step:
    """The step for clips that are a source artifact already.

    Raises:
        ConfigError: It isn't there, or settings of another source were given, which would do nothing.
    """
    if unused := sorted(overrides.keys() - {"split"}):
        raise ConfigError(
            "settings of an import or of the simulator for clips that lie in an artifact",
            key=f"--source.{unused[0]}",
            expected="settings of the split, such as --source.split.labelled_fraction 0.5",
            remedy="leave them out",
        )
    _listing(data)

    def action(resume: bool) -> None:
        divide_anew(Artifact.open(data, Kind.SOURCE), out, split=SplitConfig(**config["split"]), seed=config["seed"])

    return Step("source", config, {"clips": data}, [out], action, lambda: clips_line(out))


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
