"""``sfvd report``: the page on a run, or on several side by side."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline.report.write import evaluate_run, facts_of, find_run, report_step, run_media
from sfvd_pl.pipeline.steps import Run, say
from sfvd_pl.report.comparison import ReportedRun, write_comparison


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sfvd report",
        description="One run: measure what is there, of any stage from the first frames on, and write its report anew; "
        "nothing is trained. Several: one page with their figures in one table, curves over one another and clips in "
        "rows. What was measured before comes from the cache.",
    )
    parser.add_argument("run", nargs="+", help="name of a run, or its folder")
    parser.add_argument("--root", type=Path, default=Path("data/artifacts"), help="folder of all runs")
    parser.add_argument("--out", type=Path, default=None, help="the page on several runs, a file or a folder")
    return parser


def report(args: Sequence[str]) -> None:
    """Run ``sfvd report ARGS``.

    Raises:
        ConfigError: A run doesn't exist, is named twice, or ``--out`` does not fit their number.
    """
    chosen = _parser().parse_args(list(args))
    runs = [find_run(name, chosen.root) for name in chosen.run]
    if len({run.folder.resolve() for run in runs}) != len(runs):
        raise ConfigError("a run is named twice", key="run", expected="different runs", found=" ".join(chosen.run))
    if (len(runs) > 1) != (chosen.out is not None):
        raise ConfigError(
            "the page on several runs needs a place of its own" if len(runs) > 1 else "a run's report lies in the run",
            key="out",
            expected="--out PAGE.html with several runs, and none with one",
            found=str(chosen.out),
        )
    if len(runs) == 1:
        with runs[0].locked():
            runs[0].perform(report_step(runs[0], facts_of(runs[0])), again=True)
    else:
        page = chosen.out if chosen.out.suffix == ".html" else chosen.out / "index.html"
        say(f"wrote {write_comparison(page, [_reported(run, page, runs) for run in runs])}")


def _reported(run: Run, page: Path, runs: Sequence[Run]) -> ReportedRun:
    """A run with its figures and clips; runs of one name get their folder's with it."""
    say(f"{run.name}:")
    facts = facts_of(run)
    with run.locked():
        metrics, evaluation = evaluate_run(run, facts)
    name = run.name if [other.name for other in runs].count(run.name) == 1 else str(run.folder)
    own = run.path("report", "index.html")
    link = os.path.relpath(own, page.parent) if own.exists() else ""
    return ReportedRun(name, metrics, run_media(run, evaluation, facts.seed), link)
