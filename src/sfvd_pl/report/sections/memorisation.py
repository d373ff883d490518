"""The section on copies of training clips."""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.report.film import film
from sfvd_pl.report.media import MediaClips
from sfvd_pl.report.numbers import percent, significant
from sfvd_pl.report.sections.rows import TITLES
from sfvd_pl.report.views import Block, Cell, Film, Table, View

SHOWN = 12
"""Clips in the table of the most suspicious."""
LEVELS = {
    "frame": "structure of the most alike frames",
    "grain": "grain of consecutive frames",
    "distinct": "nearest clip against all others",
    "wire": "shape of the wire",
}
"""What each level compares."""


def memorisation_view(
    section: Mapping[str, Any], suspects: MediaClips | None = None, originals: MediaClips | None = None
) -> View:
    """Thresholds, how many copies there are, whether planted ones are caught, and the most suspicious clips.

    Args:
        section: Of ``metrics.json``.
        suspects: The most suspicious generated clips.
        originals: What each is most like in the training clips, in the same order.
    """
    training, judged = section["training"], section["judged"]
    of_bands = [about_bands(judged)] if judged["wire"] + judged["lent"] else []
    text = [
        *of_bands,
        f"Every {'clip with a generated background' if judged['whole'] else 'drawn wire'} is held against "
        f"{training['frames']} frames of {training['clips']} training clips of {training['patients']} patients, turned "
        "and mirrored in eight ways. Thresholds come from real clips that can't be copies: all levels together call at "
        f"most {percent(section['rate'])} of such clips a copy, with {percent(section['confidence'])} confidence. Of "
        "pictures, the wire itself doesn't count: a mask put it there.",
        "What it can't see: anatomy at another zoom or angle, parts of a window, a mixture of several clips. A "
        "clip that is called clear isn't proven to be private.",
    ]
    blocks = [
        Block("", text, [_found(section), _levels(section)]),
        *([Block("Planted copies", [ABOUT_PLANTED], [_planted(section)])] if section["planted"] else []),
        Block("The most suspicious clips", [ABOUT_CLIPS], [_clips(section)], films=_pairs(suspects, originals)),
    ]
    return View("memorisation", "Is anything copied?", "Copies", blocks)


def about_bands(judged: Mapping[str, int]) -> str:
    """What is asked of clips that show a real one."""
    shown = judged["wire"] + judged["lent"]
    return (
        f"{shown} of {shown + judged['whole']} clips show a real training clip and are copies of it on purpose. Of these, "
        f"only the course of the wire that was drawn in was looked for ({judged['wire']} clips), and not where a "
        f"training clip lent its own mask ({judged['lent']})."
    )


ABOUT_PLANTED = "Copies of training clips, made on purpose and searched for like generated clips."
ABOUT_CLIPS = (
    "Evidence is 1 at the threshold and 0 at the usual real clip of another patient. Below, each of the first "
    "clips is followed by what it is most like in the training clips."
)


def _found(section: Mapping[str, Any]) -> Table:
    body: list[list[Cell | str]] = [
        [
            TITLES.get(row["name"], row["name"]),
            str(row["n"]),
            str(row["copies"]),
            Cell(percent(row["share"]["mean"]), f"{percent(row['share']['low'])} to {percent(row['share']['high'])}"),
        ]
        for row in section["rows"]
    ]
    return Table("Clips that are called copies", ["", "clips", "copies", "share"], body)


def _levels(section: Mapping[str, Any]) -> Table:
    synthetic = next(row for row in section["rows"] if row["name"] == "synthetic")
    made = {entry["level"]: entry for entry in synthetic["levels"]}
    body: list[list[Cell | str]] = [
        [
            Cell(level["name"], LEVELS.get(level["name"], level["space"])),
            significant(level["threshold"]),
            significant(level["median"]),
            significant(level["highest"]),
            significant(made[level["name"]]["median"]),
            significant(made[level["name"]]["highest"]),
            f"{level['clips']} clips, {level['patients']} patients",
        ]
        for level in section["levels"]
    ]
    head = ["level", "threshold", "real, median", "real, highest", "synthetic, median", "highest", "calibrated on"]
    return Table("Likeness to the nearest training clip", head, body)


def _planted(section: Mapping[str, Any]) -> Table:
    body: list[list[Cell | str]] = [
        [
            row["kind"],
            f"{row['caught']} of {row['n']}",
            Cell(percent(row["recall"]["mean"]), _span(row)),
            str(row["named"]),
        ]
        for row in section["planted"]
    ]
    return Table("Copies that were caught", ["kind", "caught", "recall", "traced to the right clip"], body)


def _span(row: Mapping[str, Any]) -> str:
    return f"{percent(row['recall']['low'])} to {percent(row['recall']['high'])}"


def _clips(section: Mapping[str, Any]) -> Table:
    body: list[list[Cell | str]] = []
    for clip in section["clips"][:SHOWN]:
        nearest = closest(clip)
        body.append(
            [
                clip["clip"],
                clip["verdict"] + (f" ({', '.join(clip['by'])})" if clip["by"] else ""),
                significant(clip["evidence"]),
                nearest["training_clip"] if nearest else "–",
                nearest["level"] if nearest else "–",
            ]
        )
    return Table("Highest evidence first", ["clip", "verdict", "evidence", "nearest training clip", "by level"], body)


def closest(clip: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The level at which a clip comes nearest to its threshold, preferring those of pictures, which have a place."""
    known = [entry for entry in clip["nearest"] if entry["similarity"] is not None and entry["threshold"]]
    placed = [entry for entry in known if entry["level"] != "wire"] or known
    return max(placed, key=lambda entry: entry["similarity"] / entry["threshold"], default=None)


def _pairs(suspects: MediaClips | None, originals: MediaClips | None) -> list[Film]:
    if suspects is None or originals is None:
        return []
    films: list[Film] = []
    for k in range(min(len(suspects), len(originals))):
        for group, kind in ((suspects, "Suspicious synthetic clip"), (originals, "Its nearest training clip")):
            films.append(film(group.clips[k], group.wire_masks[k], group.titles[k], kind))
    return films


def planted_recall(section: Mapping[str, Any]) -> Sequence[tuple[str, float | None]]:
    """Kind and recall of planted copies."""
    return [(row["kind"], row["recall"]["mean"]) for row in section["planted"]]
