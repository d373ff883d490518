"""Writing the report, and the step of a run that does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sfvd_pl import __version__
from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.schema import clean_metrics, write_metrics
from sfvd_pl.modules.logging import LoggingConfig
from sfvd_pl.pipeline.evaluation.run import Evaluation, evaluate, metrics_head
from sfvd_pl.pipeline.evaluation.segmentation import scores_of
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
from sfvd_pl.pipeline.note import read_note
from sfvd_pl.pipeline.report.logs import curves_of, stages_of
from sfvd_pl.pipeline.report.media import collect_media
from sfvd_pl.pipeline.report.wandb import log_report
from sfvd_pl.pipeline.steps import Run, Step
from sfvd_pl.report.html import write_report
from sfvd_pl.report.media import ReportMedia

GENERATED = ("synthetic.h5", "motions.h5", "scenes.h5")
"""What is measured: the last that there is."""
MEASURES = "measures"
"""Folder of cached sections: beside the report's, since what a change sets aside with that isn't all out of date."""


@dataclass(frozen=True)
class RunFacts:
    """What the report of a run needs to know of it.

    Attributes:
        preset: Its preset.
        seed: Its seed.
        seeds: Of the compared segmenters, in the order of ``predictions``.
        predictions: Their predictions.
        generated: What is measured.
        evaluator: The segmenter that looks for the wire; None where there is none.
        features: The domain's own feature network; None where there is none.
        logging: Of the run; the stage is set here.
    """

    preset: str
    seed: int
    seeds: tuple[int, ...]
    predictions: tuple[Path, ...]
    generated: Path
    evaluator: Path | None
    features: Path | None
    logging: LoggingConfig


def facts_of(run: Run) -> RunFacts:
    """What is there to report on.

    Raises:
        ConfigError: There is no data set, or nothing was generated from it yet.
    """
    source = run.path("source.h5")
    generated = next((run.path(name) for name in GENERATED if run.path(name).exists()), None)
    if not source.exists() or generated is None:
        raise ConfigError(
            "there is nothing to report on yet",
            file=run.folder,
            expected=f"a run with source.h5 and one of {', '.join(GENERATED)}",
            found=", ".join(sorted(path.name for path in run.folder.glob("*.h5"))) or "no artifact",
            remedy="name a run that has come as far as stage1, or its folder",
        )
    noted = read_note(run)
    evaluator, features = (run.path(name, "model.ckpt") for name in ("evaluator", "features"))
    found = {Artifact.open(path, Kind.SEGMENTATION).seed: path for path in run.folder.glob("segmentation*.h5")}
    predictions = tuple(found[seed] for seed in sorted(found))
    return RunFacts(
        preset=str(noted.get("preset", "unknown")),
        seed=int(noted.get("seed", Artifact.open(source, Kind.SOURCE).seed)),
        seeds=tuple(sorted(found)),
        predictions=predictions,
        generated=generated,
        evaluator=evaluator if evaluator.exists() else None,
        features=features if features.exists() else None,
        logging=LoggingConfig(wandb=noted.get("wandb", "auto"), run=run.name, stage="report"),
    )


def evaluate_run(run: Run, facts: RunFacts) -> tuple[dict[str, Any], Evaluation]:
    """The whole of a run's ``metrics.json``, and what was measured; from the cache where nothing changed."""
    settings = EvaluateSettings(
        real=run.path("source.h5"),
        generated=facts.generated,
        evaluator_ckpt=facts.evaluator,
        features_ckpt=facts.features,
        segmentation=list(facts.predictions),
        seeds=list(facts.seeds),
        seed=facts.seed,
    )
    evaluation = evaluate(settings, run.path(MEASURES))
    head = metrics_head(run.name, facts.preset, facts.seed, stages_of(run))
    return clean_metrics({**head, **evaluation.metrics}), evaluation


def run_media(run: Run, evaluation: Evaluation, seed: int) -> ReportMedia:
    """Clips and curves of a run."""
    studies = tuple(sorted(path.parent.parent.name for path in run.folder.parent.glob("*/report/study.json")))
    media = collect_media(evaluation, seed)
    return replace(media, curves=curves_of(run), made=f"sfvd-pl {__version__}", studies=studies)


def report_step(run: Run, facts: RunFacts) -> Step:
    """The step that measures and writes ``metrics.json`` and ``index.html``."""
    folder = run.path("report")
    inputs = {"source": run.path("source.h5"), "generated clips": facts.generated}
    networks = {"evaluator": facts.evaluator, "feature network": facts.features}
    inputs |= {name: path for name, path in networks.items() if path is not None}
    inputs |= {path.stem: path for path in facts.predictions}

    def action(resume: bool) -> None:
        metrics, evaluation = evaluate_run(run, facts)
        media = run_media(run, evaluation, facts.seed)
        write_files(folder, metrics, evaluation, media)
        log_report(folder, facts.logging, metrics, media)

    return Step(
        "report",
        {"seeds": list(facts.seeds), "seed": facts.seed, "preset": facts.preset},
        inputs,
        [folder / "index.html", folder / "metrics.json"],
        action,
        lambda: f"wrote {folder / 'index.html'}",
    )


def write_files(
    folder: Path, metrics: Mapping[str, Any], evaluation: Evaluation, media: ReportMedia
) -> tuple[Path, Path]:
    """Write ``metrics.json``, its tables and ``index.html`` into a folder; returns the paths of file and page."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = write_metrics(folder / "metrics.json", metrics)
    if "segmentation" in metrics:
        scores_of(evaluation.context).write_tables(folder)
    return numbers, write_report(folder, metrics, media)


def write_evaluation(folder: Path, evaluation: Evaluation, head: Mapping[str, Any]) -> tuple[Path, Path]:
    """The report on clips that are no run's result; returns the paths of file and page.

    Args:
        folder: Where it is written.
        evaluation: What was measured.
        head: See :func:`metrics_head`.
    """
    media = replace(collect_media(evaluation, int(head["seed"])), made=f"sfvd-pl {__version__}")
    return write_files(folder, clean_metrics({**head, **evaluation.metrics}), evaluation, media)


def find_run(name: str, root: Path) -> Run:
    """A run by its name or its folder.

    Raises:
        ConfigError: There is no such folder.
    """
    for folder in (root / name, Path(name)):
        if folder.is_dir():
            return Run(folder, folder.resolve().name)
    runs: Sequence[str] = sorted(path.parent.name for path in root.glob("*/source.h5"))
    raise ConfigError(
        "there is no such run",
        file=root / name,
        expected=f"one of {', '.join(runs)}" if runs else "the name of a run, or its folder",
        remedy="give the folder that holds the runs with --root",
    )
