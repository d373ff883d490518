"""The report in W&B: figures, tables, pictures and clips, through Lightning's logger; a failure stops nothing."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sfvd_pl.modules.logging import JournalLogger, LoggingConfig, close_loggers, wandb_logger
from sfvd_pl.report.animation import save_gif
from sfvd_pl.report.media import MediaClips, ReportMedia
from sfvd_pl.report.overlay import grid_picture, save_png
from sfvd_pl.report.sections.rows import all_rows, is_estimate

log = logging.getLogger(__name__)


def log_report(folder: Path, config: LoggingConfig, metrics: Mapping[str, Any], media: ReportMedia) -> None:
    """Log the report as one W&B run of the run's group; offline unless the user has logged in.

    Args:
        folder: Where W&B keeps its files, and pictures are left for it.
        config: Which run; its stage becomes ``report``.
        metrics: A metrics file's content.
        media: What the page shows.
    """
    logger = wandb_logger(folder, replace(config, stage="report"))
    if logger is None:
        return
    try:
        logger.log_metrics(dict(figures(metrics)))
        for name, columns, rows in tables(metrics):
            logger.log_table(f"report/{name}", columns=list(columns), data=[list(row) for row in rows])
        _log_media(logger, folder / "media", media)
    except Exception as error:  # whatever W&B does, the report is on disk
        log.warning("W&B took no report (%s: %s); it is in %s", type(error).__name__, error, folder)
    finally:
        close_loggers([logger])


def figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number that stands by itself, under the path of its key; estimates without their intervals."""
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if is_estimate(value):
            value = value["mean"] if "mean" in value else value["value"]
        if isinstance(value, Mapping) and key not in ("machine", "sets", "patients", "not_measured", "settings"):
            yield from figures(value, f"{name}/")
        elif key in ("rows", "arms") and isinstance(value, list):
            for row in value:
                if isinstance(row, Mapping) and "name" in row:
                    yield from figures(row, f"{prefix}{row['name']}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


def tables(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[Any]]]]:
    """Name, columns and rows of every section whose sets or arms are held against one another."""
    for name, section in metrics.items():
        if not isinstance(section, Mapping):
            continue
        rows = all_rows(section) or section.get("arms", [])
        found = [
            [row["name"], key, value.get("mean", value.get("value")), value["low"], value["high"]]
            for row in rows
            for key, value in row.items()
            if is_estimate(value)
        ]
        if found:
            yield name, ("set", "measure", "estimate", "low", "high"), found


def _log_media(logger: JournalLogger, folder: Path, media: ReportMedia) -> None:
    groups: dict[str, MediaClips | None] = {
        "real": media.real,
        "synthetic": media.synthetic,
        "rejected": media.rejected,
        "worst": media.worst,
    }
    for name, group in groups.items():
        if group is None:
            continue
        clips = save_gif(folder / f"{name}.gif", group.clips, group.wire_masks, predicted=group.predicted)
        logger.log_video(f"report/{name} clips", videos=[str(clips)])
        middle = group.clips.shape[1] // 2
        frames = save_png(folder / f"{name}.png", grid_picture(group.clips[:, middle], group.wire_masks[:, middle]))
        logger.log_image(f"report/{name} frames", images=[str(frames)])
