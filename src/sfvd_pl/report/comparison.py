"""One page on several runs: their figures in one table, curves over one another, clips in rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvd_pl.metrics.schema import clean_metrics, validate_metrics
from sfvd_pl.report import summary
from sfvd_pl.report.embed import fill, svg_picture
from sfvd_pl.report.media import ReportMedia
from sfvd_pl.report.numbers import duration, middle, percent, significant, span
from sfvd_pl.report.overlay import save_bytes
from sfvd_pl.report.plots import Series, lines_plot, runs_plot
from sfvd_pl.report.plots.compared import SERIES
from sfvd_pl.report.sections.clips import films
from sfvd_pl.report.sections.rows import all_rows, is_estimate
from sfvd_pl.report.template.comparison import PAGE
from sfvd_pl.report.views import Block, Cell, Picture, Table, View

FIGURES: Sequence[tuple[str, str, str, str]] = (
    ("label_fidelity", "synthetic", "dice", "label fidelity, Dice"),
    ("label_fidelity", "synthetic", "tip_error_px", "label fidelity, tip error (px)"),
    ("label_fidelity", "real", "dice", "the same segmenter on real clips, Dice"),
    ("noise", "synthetic", "residual_std", "fine noise, synthetic"),
    ("noise", "real", "residual_std", "fine noise, real"),
    ("wire", "synthetic", "offset_px", "wire's distance from its mask (px)"),
    ("wire", "synthetic", "cnr", "visibility (CNR)"),
    ("motion", "synthetic", "displacement_correlation", "wire's motion against its mask's, correlation"),
    ("motion", "synthetic", "warp_ratio", "what optical flow leaves / noise alone"),
    ("motion", "synthetic", "local_flicker", "local flicker"),
)
"""Section, row, measure and title of the figures with intervals that are shown side by side."""
PLOTTED = 4
"""Of the figures found, so many of the first get a plot, and every arm's Dice."""


@dataclass(frozen=True)
class ReportedRun:
    """One of the runs.

    Attributes:
        name: Of the run.
        metrics: A metrics file's content.
        media: What its page shows besides numbers.
        link: Where its own page lies, from here; empty for nowhere.
    """

    name: str
    metrics: Mapping[str, Any]
    media: ReportMedia
    link: str = ""


def write_comparison(page: Path, runs: Sequence[ReportedRun]) -> Path:
    """Write the page.

    Args:
        page: The file.
        runs: Two or more, of different names.

    Raises:
        MetricsError: A run's metrics break their schema.
    """
    return save_bytes(page, render(runs).encode("utf-8"))


def render(runs: Sequence[ReportedRun]) -> str:
    """The page as text."""
    facts = [clean_metrics(run.metrics) for run in runs]
    for metrics in facts:
        validate_metrics(metrics)
    names = [run.name for run in runs]
    views = [
        View("answers", "In a minute", "Summary", [Block(tables=[_answers(names, facts)])]),
        View("figures", "Figures side by side", "Figures", _figures(names, facts)),
        View("curves", "Curves over one another", "Curves", [Block(pictures=_curves(runs, facts))]),
        View("clips", "Clips in rows", "Clips", [_clips(run) for run in runs if run.media.synthetic is not None]),
        View("runs", "What ran", "What ran", [Block(tables=[_runs(names, facts)])]),
    ]
    views = [view for view in views if any(b.tables or b.pictures or b.films for b in view.blocks)]
    sources = {_source(metrics) for metrics in facts}
    return fill(
        PAGE,
        names=names,
        runs=runs,
        views=views,
        one_source=len(sources) == 1,
        cautions=summary.cautions(facts[0])[:2] + summary.cautions(facts[0])[-2:],
    )


def _source(metrics: Mapping[str, Any]) -> str:
    """Digest of the data set of a run, as far as it is known."""
    made = [entry for stage in metrics["stages"] for entry in stage["made"] if entry["name"] == "source.h5"]
    reference = metrics["sets"].get("reference", {})
    return made[0]["content_hash"] if made else str(reference.get("identity"))


def _answers(names: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> Table:
    columns = [summary.verdicts(metrics) for metrics in facts]
    body: list[list[Cell | str]] = [
        [group[0].question, *(verdict.words for verdict in group)] for group in zip(*columns, strict=True)
    ]
    return Table("Answers by the rules of each run's own page", ["", *names], body)


def _entry(metrics: Mapping[str, Any], section: str, row: str, key: str) -> Mapping[str, Any] | None:
    found = next((r for r in all_rows(metrics.get(section, {})) if r["name"] == row), {})
    value = found.get(key)
    return value if isinstance(value, Mapping) and is_estimate(value) else None


def _figures(names: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[Block]:
    found: list[tuple[str, list[Mapping[str, Any] | None]]] = [
        (title, [_entry(metrics, section, row, key) for metrics in facts]) for section, row, key, title in FIGURES
    ]
    arms = dict.fromkeys(arm["name"] for metrics in facts for arm in metrics.get("segmentation", {}).get("arms", ()))
    for name in arms:
        for key, title in (("dice", "Dice"), ("cldice", "clDice")):
            found.append((f"segmenter trained on {name}, {title}", [_arm(metrics, name, key) for metrics in facts]))
    found = [(title, entries) for title, entries in found if any(entries)]
    body: list[list[Cell | str]] = [
        [title, *(Cell(significant(middle(e)), span(e)) if e else "–" for e in entries)] for title, entries in found
    ]
    body += [["accepted by the gate", *(percent((m.get("gate") or {}).get("rate")) for m in facts)]]
    plotted = [item for k, item in enumerate(found) if k < PLOTTED or item[0].endswith(", Dice")]
    pictures = [
        _run_plot(names, title, [e for e in entries if e]) for title, entries in plotted if all(entries)
    ]
    table = Table("Estimates with their 95 % intervals", ["", *names], body)
    return [Block(text=[ABOUT_FIGURES], tables=[table], pictures=pictures)]


ABOUT_FIGURES = (
    "Intervals that overlap don't say that two runs are alike, nor do others say that they differ for a reason: runs "
    "share patients, and each was trained once or a few times."
)


def _arm(metrics: Mapping[str, Any], name: str, key: str) -> Mapping[str, Any] | None:
    arms = metrics.get("segmentation", {}).get("arms", ())
    return next((arm[key] for arm in arms if arm["name"] == name), None)


def _run_plot(names: Sequence[str], title: str, entries: Sequence[Mapping[str, Any]]) -> Picture:
    values = "; ".join(f"{name} {significant(middle(e))}" for name, e in zip(names, entries, strict=True))
    return svg_picture(runs_plot(names, entries, title), f"{title} of each run: {values}", "")


def _curves(runs: Sequence[ReportedRun], facts: Sequence[Mapping[str, Any]]) -> list[Picture]:
    pictures = []
    fidelity = []
    for run, metrics in zip(runs, facts, strict=True):
        row = next((r for r in all_rows(metrics.get("label_fidelity", {})) if r["name"] == "synthetic"), None)
        if row is not None:
            fidelity.append((run.name, [entry["dice"]["mean"] for entry in row["by_frame"]]))
    pictures += _overlaid("Label fidelity, Dice", "frame of the clip", fidelity)
    lags = [(run.name, m["noise"]["residual_autocorrelation"]["synthetic"]) for run, m in zip(runs, facts, strict=True)
            if "noise" in m]  # fmt: skip
    pictures += _overlaid("correlation of residual", "lag in frames", lags, first=1)
    for model in ("scene", "motion"):
        series = []
        for number, run in enumerate(runs):
            for curve in run.media.curves:
                if curve.model == model and curve.unit == "loss" and not curve.of_steps:
                    series.append(Series(run.name, curve.steps, curve.values, SERIES[number % len(SERIES)]))
        if series:
            alt = "; ".join(f"{line.name} ends at {significant(line.y[-1])}" for line in series)
            content = lines_plot(series, "optimiser step", "validation loss", log=True)
            pictures.append(svg_picture(content, f"Training of the {model} model: {alt}", f"{model} model"))
    return pictures


def _overlaid(
    ylabel: str, xlabel: str, named: Sequence[tuple[str, Sequence[float | None]]], first: int = 0
) -> list[Picture]:
    series = [
        Series(name, range(first, first + len(y)), y, SERIES[k % len(SERIES)], marker="o")
        for k, (name, y) in enumerate(named)
        if any(value is not None for value in y)
    ]
    if not series:
        return []
    alt = "; ".join(f"{line.name} {significant(line.y[0])} to {significant(line.y[-1])}" for line in series)
    return [svg_picture(lines_plot(series, xlabel, ylabel), f"{ylabel} by {xlabel}: {alt}", "")]


def _clips(run: ReportedRun) -> Block:
    return Block(run.name, films=films(run.media.synthetic, f"Synthetic clip of {run.name}"))


def _runs(names: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> Table:
    def hashes(metrics: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{entry['name']} {entry['content_hash'][:8]}"
            for stage in metrics["stages"]
            for entry in stage["made"]
            if entry["name"] in ("source.h5", "synthetic.h5")
        )

    rows: list[list[Cell | str]] = [
        ["preset", *(str(m["preset"]) for m in facts)],
        ["seed", *(str(m["seed"]) for m in facts)],
        ["time", *(duration(sum(stage["seconds"] for stage in m["stages"])) for m in facts)],
        ["learned from", *(f"{len(summary.mentioned(m))} patients" for m in facts)],
        ["artifacts", *(Cell("", hashes(m)) for m in facts)],
    ]
    return Table("The runs", ["", *names], rows)
