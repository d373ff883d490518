"""What the trainings of a run logged, and what its steps took, made and were asked for."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sfvd_pl.pipeline.steps import STATE_FILE, Run
from sfvd_pl.report.curves import Curve

GENERATORS = ("scene", "motion")
JUDGES = ("guide", "gate", "evaluator")
ARMS = "segment"
"""Folder of the compared segmenters."""
SETTINGS = ("fit.yaml", "predict.yaml", "augment.yaml", "config.yaml")
"""Where a step leaves what it was asked for, the first that is there."""


def curves_of(run: Run) -> tuple[Curve, ...]:
    """Losses of the generators, and Dice of the segmenters."""
    found: list[Curve] = []
    for model in GENERATORS:
        for column, (steps, values) in _logged(run.path(model)).items():
            if column.endswith("/loss"):
                name = "validation" if column.startswith("val/") else "training"
                found.append(Curve(model, name, "loss", steps, values, of_steps=column.startswith("train/")))
    arms = sorted(path for path in run.folder.glob(f"{ARMS}/*") if ".previous-" not in path.name)
    groups = {
        "guide, gate and evaluator": [run.path(name) for name in JUDGES],
        "compared segmenters": arms,
    }
    for title, folders in groups.items():
        for folder in folders:
            for column, (steps, values) in _logged(folder).items():
                if column == "val/dice":
                    found.append(Curve(title, folder.name.rsplit("-seed", 1)[0], "Dice", steps, values))
    return tuple(found)


def _logged(folder: Path) -> dict[str, tuple[tuple[int, ...], tuple[float, ...]]]:
    """Steps and values of each number that was logged more than once."""
    found = {}
    for column, points in _columns(folder).items():
        if len(points) > 1:
            steps, values = zip(*sorted(points.items()), strict=True)
            found[column] = (steps, values)
    return found


def _columns(folder: Path) -> dict[str, dict[int, float]]:
    """Step to value of each logged number; where attempts overlap, the later one holds."""
    columns: dict[str, dict[int, float]] = {}
    files = sorted(folder.glob("logs/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for name, text in row.items():
                    value = _number(text)
                    step = _number(row.get("step"))
                    if name.startswith(("train/", "val/")) and value is not None and step is not None:
                        columns.setdefault(name, {})[int(step)] = value
    return columns


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def stages_of(run: Run) -> list[dict[str, Any]]:
    """Name, seconds, results and settings of every step that is done but the report, in the order in which they ran."""
    found = []
    for path in sorted(run.folder.glob(f"**/{STATE_FILE}"), key=lambda p: p.stat().st_mtime):
        name = str(path.parent.relative_to(run.folder))
        state = run.state(name)
        if state.get("status") == "done" and ".previous-" not in name and path.parent.name != "report":
            stage = {"name": name, "seconds": state["seconds"], "made": state.get("outputs", [])}
            settings = _settings(path.parent, run.folder)
            found.append(stage | ({"settings": settings} if settings else {}))
    return found


def _settings(folder: Path, run: Path) -> dict[str, Any]:
    for name in SETTINGS:
        try:
            asked = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError):
            continue
        if isinstance(asked, Mapping):
            return {str(key): _plain(value, run) for key, value in asked.items()}
    return {}


def _plain(value: Any, run: Path) -> Any:
    """JSON's types, and paths within the run without what is before it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, run) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, run) for item in value]
    if isinstance(value, str):
        return value.replace(f"{run}/", "")
    return value if isinstance(value, bool | int | float) or value is None else str(value)
