"""One HTML page on a run: a single file with every picture inside it, which needs no network and prints."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfvd_pl.metrics.schema import clean_metrics, validate_metrics
from sfvd_pl.report import summary
from sfvd_pl.report.embed import fill
from sfvd_pl.report.media import ReportMedia
from sfvd_pl.report.overlay import save_bytes
from sfvd_pl.report.sections import section_views
from sfvd_pl.report.sections.chain import chain_view
from sfvd_pl.report.sections.clips import pictures_view, worst_view
from sfvd_pl.report.template.page import PAGE
from sfvd_pl.report.views import View


def write_report(folder: str | os.PathLike[str], metrics: Mapping[str, Any], media: ReportMedia) -> Path:
    """Write the page on a run.

    Args:
        folder: Where ``index.html`` is put; made if it is not there.
        metrics: A metrics file's content; see ``docs/metrics.md``.
        media: What is shown besides numbers.

    Returns:
        The path of ``index.html``.

    Raises:
        MetricsError: If the metrics break their schema, or clips can't be shown.
    """
    return save_bytes(Path(folder) / "index.html", render(metrics, media).encode("utf-8"))


def render(metrics: Mapping[str, Any], media: ReportMedia) -> str:
    """The page as text; arguments and errors as :func:`write_report`."""
    facts = clean_metrics(metrics)
    validate_metrics(facts)
    views = [
        View("summary", "In a minute", "Summary", []),
        pictures_view(media),
        chain_view(facts, media.curves, summary.mentioned(facts)),
        *section_views(facts, media),
        worst_view(media),
    ]
    return fill(
        PAGE,
        metrics=facts,
        made=media.made,
        notes=summary.notes(facts),
        studies=media.studies,
        verdicts=summary.verdicts(facts),
        cautions=summary.cautions(facts),
        left_out=[(name.replace("_", " "), why) for name, why in facts["not_measured"].items()],
        views=views,
    )
