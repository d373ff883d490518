"""The sections on distances between clips' features: ``image`` of frames, ``video`` of clips."""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.report.numbers import significant
from sfvd_pl.report.sections.rows import Measure, rows_plots, rows_table
from sfvd_pl.report.views import Block, Cell, Reason, Table, View

MEASURES = (
    Measure("kernel", "kernel distance (unbiased, as KID)", plotted=True),
    Measure("precision", "precision", plotted=True),
    Measure("recall", "recall", plotted=True),
    Measure("density", "density"),
    Measure("coverage", "coverage"),
)
WINDOWS = {"whole": "Whole frames", "roi": "Windows around the wire"}
FAULTS = ("blur", "noise")
"""Rows that are the floor with a known fault."""


def image_view(section: Mapping[str, Any]) -> View:
    """Distributions of frames."""
    return _view("image", "Are frames distributed as real ones?", "Image", section)


def video_view(section: Mapping[str, Any]) -> View:
    """Distributions of clips."""
    return _view("video", "Are clips distributed as real ones?", "Video", section)


def _view(anchor: str, title: str, short: str, section: Mapping[str, Any]) -> View:
    text = [
        "A network turns pictures into vectors; the vectors of each set are held against those of held-out real clips. "
        "A figure means something by its distance to that of other real patients and to these with a known fault, "
        "never by itself: it depends on the network, the resizing and the number of clips.",
        section["note"],
    ]
    blocks = [Block("", [line for line in text if line])]
    for space in section["spaces"]:
        for key, words in WINDOWS.items():
            if space[key]:
                blocks.append(_block(space, key, f"{words}, features of {space['name']}", section["roi_px"]))
    if section["absent"]:
        absent = [[row["name"], row["why"]] for row in section["absent"]]
        blocks.append(Block("", tables=[Table("Feature spaces that are not there", ["space", "why"], absent)]))
    return View(anchor, title, short, blocks)


def _block(space: Mapping[str, Any], key: str, title: str, roi_px: int) -> Block:
    rows: Sequence[Mapping[str, Any]] = space[key]
    notes = dict.fromkeys(row["note"] for row in rows if row["note"])
    about = f"A vector is of {space['vector']}, {space['num_features']} numbers; resizing: {space['resizing']}. "
    about += f"Windows of {roi_px} px. " if key == "roi" else ""
    about += f"Weights {space['weights_sha256'][:12]}."
    table = rows_table(rows, MEASURES, f"{title}: against held-out real clips")
    frechet: list[Cell | str] = ["Frechet distance", *(_frechet(row["frechet"]) for row in rows)]
    counts: list[Cell | str] = ["vectors", *(str(row["n_vectors"]) for row in rows)]
    whole = Table(table.caption, table.head, [*table.rows[:1], counts, *table.rows[1:], frechet])
    return Block(title, [about, *notes], [whole], rows_plots(rows, MEASURES))


def _frechet(value: Mapping[str, Any]) -> Cell | str:
    """The distance, and below it where it can't be relied on."""
    return significant(value["value"]) if value["reliable"] else Cell(significant(value["value"]), "too few vectors")


def feature_reasons(section: Mapping[str, Any] | None, what: str) -> list[Reason]:
    """Whether synthetic clips are nearer to real ones than other real ones with a known fault, in every feature space.

    Args:
        section: ``image`` or ``video``; None where it wasn't measured.
        what: What is compared, for the sentence.

    Returns:
        One reason, so that a further space isn't a further vote; none where no space knows.
    """
    nearer = []
    for space in section["spaces"] if section else ():
        values = {row["name"]: row["kernel"]["value"] for row in space["whole"]}
        made, faults = values.get("synthetic"), [values[name] for name in FAULTS if values.get(name) is not None]
        if made is not None and faults:
            nearer.append(made <= min(faults))
    if not nearer:
        return []
    text = f"{what} are nearer to real ones than those of other patients with blur or noise in {sum(nearer)} of "
    return [Reason(all(nearer), f"{text}{len(nearer)} feature spaces")]
