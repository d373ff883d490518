"""What was run: artifacts, hashes, patients, time, settings, and how the models learned."""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.report.curves import Curve
from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import duration, significant
from sfvd_pl.report.plots import Series, lines_plot
from sfvd_pl.report.plots.compared import SERIES
from sfvd_pl.report.views import Block, Cell, Picture, Table, View

SOURCE_NAME = "source.h5"


def chain_view(metrics: Mapping[str, Any], curves: Sequence[Curve], patients: Sequence[str]) -> View:
    """Stages in order, whom they learned from, the machine, settings, curves."""
    stages = metrics["stages"]
    seconds = sum(stage["seconds"] for stage in stages)
    total = [f"All of it took {duration(seconds)} of computing."] if stages else ["Measured by itself, not in a run."]
    learned = ", ".join(patients) if patients else "none"
    blocks = [
        Block("", total, [_stages(stages)] if stages else []),
        Block("", [f"Patients that anything was learned from ({len(patients)}): {learned}."], [_sets(metrics)]),
        Block("How the models learned", [ABOUT_CURVES], pictures=curve_plots(curves)) if curves else None,
        Block("The machine", tables=[_machine(metrics["machine"])], closed=True),
        Block("Settings of every step", code=_settings(stages), closed=True) if _settings(stages) else None,
    ]
    return View("ran", "What ran", "What ran", [block for block in blocks if block is not None])


ABOUT_CURVES = (
    "Of the generators, the loss: pale of single steps, full on validation patients. A loss of one model says "
    "nothing beside that of another. Of segmenters, Dice on validation patients; lines of one colour are repetitions."
)


def _stages(stages: Sequence[Mapping[str, Any]]) -> Table:
    body: list[list[Cell | str]] = []
    for stage in stages:
        made = stage["made"]
        names = ", ".join(entry["name"] for entry in made) or "–"
        digests = ", ".join(entry["content_hash"][:12] for entry in made)
        learned = sorted({patient for entry in made for patient in entry["patients"]})
        who = f"{len(learned)} patient{'' if len(learned) == 1 else 's'}" if learned else ""
        if who and all(entry["name"] == SOURCE_NAME for entry in made):
            who = f"holds {who}"
        body.append([stage["name"], duration(stage["seconds"]), names, digests, who])
    return Table("Steps in the order in which they ran", ["step", "time", "made", "content hash", "learned from"], body)


def _sets(metrics: Mapping[str, Any]) -> Table:
    body = [
        [name, row["title"], str(row["clips"]), str(row["patients"]), row["identity"][:12]]
        for name, row in metrics["sets"].items()
    ]
    return Table("What was measured", ["set", "", "clips", "patients", "digest"], body)


def _machine(machine: Mapping[str, Any]) -> Table:
    return Table("What the figures were got on", ["", ""], [[str(key), str(value)] for key, value in machine.items()])


def _settings(stages: Sequence[Mapping[str, Any]]) -> str:
    """Settings of all steps below one another; those of a repetition with another seed are left out."""
    parts = [
        f"# {stage['name']}\n{_code(stage['settings'])}"
        for stage in stages
        if stage.get("settings") and "-seed" not in stage["name"]
    ]
    return "\n\n".join(parts)


def _code(settings: Mapping[str, Any], depth: int = 0) -> str:
    """Settings as they would stand in a YAML file."""
    lines = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{'  ' * depth}{key}:", _code(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {value}")
    return "\n".join(lines)


def curve_plots(curves: Sequence[Curve]) -> list[Picture]:
    """A plot a model: its curves over one another, pale where they are of single steps."""
    pictures = []
    for model in dict.fromkeys(curve.model for curve in curves):
        ours = [curve for curve in curves if curve.model == model and curve.values]
        shown = list(dict.fromkeys(curve.name for curve in ours if not curve.of_steps))
        series = [
            Series(
                curve.name,
                curve.steps,
                curve.values,
                SERIES[5] if curve.of_steps else SERIES[shown.index(curve.name) % 5],
                marker="" if curve.of_steps or len(curve.steps) > 40 else "o",
                faint=curve.of_steps,
            )
            for curve in ours
        ]
        if not series:
            continue
        last = "; ".join(f"{c.name} {significant(c.values[0])} to {significant(c.values[-1])}" for c in ours)
        log = ours[0].unit == "loss" and all(value > 0 for curve in ours for value in curve.values)
        content = lines_plot(series, "optimiser step", ours[0].unit, log=log, size=(4.4, 3.0))
        pictures.append(svg_picture(content, f"Training of {model}, {ours[0].unit}: {last}", model))
    return pictures
