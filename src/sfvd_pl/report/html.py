"""One HTML page on a run: a single file with every picture inside it, which needs no network and prints."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvd_pl.metrics.schema import clean_metrics, validate_metrics
from sfvd_pl.metrics.scores import DEFINITIONS, HEADLINE, MEASURES
from sfvd_pl.report import plots, summary
from sfvd_pl.report.animation import gif_bytes
from sfvd_pl.report.media import MediaClips, ReportMedia
from sfvd_pl.report.overlay import fitting_scale, grid_picture, png_bytes, save_bytes
from sfvd_pl.report.template import PAGE

STILL_PX = 256
"""About the size of a still."""
STILLS = 6
"""Clips whose middle frames are shown side by side."""
MEASURE_NAMES = {
    measure.name: measure.title + (f" ({measure.unit})" if measure.unit in ("px", "mm") else "")
    for measure in DEFINITIONS
}
"""Titles of the measures of segmentation, with their units."""


@dataclass(frozen=True)
class Picture:
    """A picture inside the page.

    Attributes:
        uri: The picture itself, as a data URI.
        alt: A description for those who can't see it.
        caption: What stands below it.
        width: Pixels on screen; 0 leaves it to the style sheet.
    """

    uri: str
    alt: str
    caption: str
    width: int = 0


def write_report(folder: str | os.PathLike[str], metrics: Mapping[str, Any], media: ReportMedia) -> Path:
    """Write the page on a run.

    Args:
        folder: Where ``index.html`` is put; made if it is not there.
        metrics: A metrics file's content; see ``docs/metrics.md``.
        media: Clips to show.

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
    return fill(
        PAGE,
        metrics=facts,
        tiles=summary.tiles(facts),
        findings=summary.findings(facts),
        cautions=summary.cautions(facts),
        patients=summary.mentioned(facts),
        verdict=summary.verdict,
        measures={key: MEASURE_NAMES[key] for key in HEADLINE},
        other_measures={key: MEASURE_NAMES[key] for key in MEASURES if key not in HEADLINE and _known(facts, key)},
        fidelity_titles=plots.SET_TITLES,
        made_row=summary.fidelity_row(facts.get("label_fidelity") or {"rows": []}, "synthetic"),
        stills=_stills(media),
        playing=_playing(media),
        worst=_animations(media.worst, "Test clip", media.fps),
        rejected=_animations(media.rejected, "Rejected synthetic clip", media.fps),
        **_plots(facts),
    )


def fill(template: str, **values: Any) -> str:
    """A page from its template: everything escaped, nothing undefined, numbers as a reader wants them."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=summary.number, signed=summary.signed, interval=summary.interval, duration=summary.duration
    )
    return environment.from_string(template).render(**values)


def _known(facts: Mapping[str, Any], measure: str) -> bool:
    """Whether a measure could be made in any arm; those in mm can't where the spacing isn't known."""
    arms = (facts.get("segmentation") or {"arms": []})["arms"]
    return any(arm[measure]["mean"] is not None for arm in arms)


def data_uri(content: bytes, kind: str) -> str:
    """A picture of a kind (png, gif, svg+xml) inside an address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _stills(media: ReportMedia) -> list[Picture]:
    """Middle frames of real and synthetic clips, plain above outlined."""
    rows = []
    for name, group in (("Real", media.real), ("Synthetic", media.synthetic)):
        if group is not None:
            shown, middle = min(STILLS, len(group)), group.clips.shape[1] // 2
            picture = grid_picture(
                group.clips[:shown, middle],
                group.wire_masks[:shown, middle],
                columns=shown,
                scale=fitting_scale(group.clips.shape[2], group.clips.shape[3], STILL_PX),
            )
            rows.append(
                Picture(
                    data_uri(png_bytes(picture), "png"),
                    f"{name}: the middle frames of {shown} clips, plain above, and below with the label of "
                    "the wire outlined in yellow",
                    f"{name}: the middle frames of {shown} clips; below, with the label outlined.",
                )
            )
    return rows


def _playing(media: ReportMedia) -> list[tuple[str, list[Picture]]]:
    groups = [
        ("Real clips", _animations(media.real, "Real clip", media.fps)),
        ("Synthetic clips", _animations(media.synthetic, "Synthetic clip", media.fps)),
    ]
    return [(title, pictures) for title, pictures in groups if pictures]


def _animations(group: MediaClips | None, kind: str, fps: int | float) -> list[Picture]:
    if group is None:
        return []
    pictures = []
    for index, title in enumerate(group.titles):
        found = None if group.predicted is None else group.predicted[index]
        content = gif_bytes(group.clips[index], group.wire_masks[index], predicted=found, fps=fps)
        outlines = "the label in yellow" + ("" if found is None else " and the prediction in magenta")
        alt = f"{kind} playing, plain above, and below with {outlines}: {title}"
        pictures.append(Picture(data_uri(content, "gif"), alt, title))
    return pictures


def _plots(facts: Mapping[str, Any]) -> dict[str, list[Picture]]:
    """Plots of every section, empty where it was not measured."""
    return {
        "fidelity_plots": _if_there(facts.get("label_fidelity"), _fidelity_plots),
        "noise_plots": _if_there(facts.get("noise"), _noise_plots),
        "visibility_plots": _if_there(facts.get("visibility"), _visibility_plots),
        "gate_plots": _if_there(facts.get("gate"), _gate_plots),
        "arms_plots": _if_there(facts.get("segmentation"), _arms_plots),
    }


def _if_there(section: Mapping[str, Any] | None, draw: Any) -> list[Picture]:
    return [] if section is None else list(draw(section))


def svg_picture(content: bytes, alt: str, caption: str) -> Picture:
    """A plot, at the size it was drawn for."""
    return Picture(data_uri(content, "svg+xml"), alt, caption, width=plots.width_px(content))


def _fidelity_plots(section: Mapping[str, Any]) -> Sequence[Picture]:
    real, made, chance = (summary.dice_of(section, name) for name in ("real", "synthetic", "shuffled"))
    overall = svg_picture(
        plots.fidelity_plot(section),
        f"Dice of an independent segmenter: real {summary.interval(real)}, synthetic {summary.interval(made)}, "
        f"shuffled {summary.interval(chance)}",
        "Bars are 95 % intervals over patients. Good: synthetic close to real, shuffled close to 0.",
    )
    rows = {name: summary.fidelity_row(section, name) for name in ("real", "synthetic")}

    def values(key: str) -> str:
        return "; ".join(
            f"{name} {', '.join(summary.number(entry['dice']['mean']) for entry in row.get(key, []))}"
            for name, row in rows.items()
        )

    frames = svg_picture(
        plots.by_frame_plot(section),
        f"Dice by frame of the clip: {values('by_frame')}",
        "By frame. A falling synthetic line: the wire leaves its label as the clip goes on.",
    )
    bins = svg_picture(
        plots.by_visibility_plot(section),
        f"Dice by visibility of the wire: {values('by_visibility')}",
        "By visibility. Numbers are frames in the bin.",
    )
    return [overall, frames, bins]


def _noise_plots(section: Mapping[str, Any]) -> Sequence[Picture]:
    table = section["residual_autocorrelation"]
    rows = "; ".join(
        f"lag {lag}: real {summary.number(real)}, synthetic {summary.number(synthetic)}"
        for lag, real, synthetic in zip(table["lags"], table["real"], table["synthetic"], strict=True)
    )
    caption = "A detector's noise is new in each frame. Synthetic above real means frozen grain."
    return [svg_picture(plots.autocorrelation_plot(section), f"Correlation of the residual by lag. {rows}", caption)]


def _visibility_plots(section: Mapping[str, Any]) -> Sequence[Picture]:
    return [
        svg_picture(
            plots.visibility_plot(section),
            f"Requested against measured visibility of {section['n']} clips, rank correlation "
            f"{summary.number(section['spearman'])}",
            "Each orange dot is a clip; black dots are medians and lines quartiles, by request.",
        )
    ]


def _gate_plots(section: Mapping[str, Any]) -> Sequence[Picture]:
    reasons = ", ".join(f"{reason} {count}" for reason, count in section["reasons"].items())
    alt = f"{section['accepted']} clips accepted; rejected: {reasons or 'none'}"
    return [svg_picture(plots.gate_plot(section), alt, "Verdicts of the gate.")]


def _arms_plots(section: Mapping[str, Any]) -> Sequence[Picture]:
    if not section["arms"]:
        return []
    pictures = []
    for measure, label, ceiling in (
        ("dice", "Dice", 1.0),
        ("cldice", "clDice", 1.0),
        ("tip_error_px", "px", None),
    ):
        name = MEASURE_NAMES[measure]
        values = "; ".join(f"{arm['name']} {summary.interval(arm[measure])}" for arm in section["arms"])
        caption = f"{name}, mean and 95 % interval over patients. Faint dots are patients."
        pictures.append(
            svg_picture(
                plots.arms_plot(section, measure, label, ceiling=ceiling),
                f"{name} of each arm: {values}",
                caption,
            )
        )
    return pictures
