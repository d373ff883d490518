"""The sections of pictures: real beside synthetic, and clips that play."""

import numpy as np

from sfvd_pl.report.embed import data_uri
from sfvd_pl.report.film import film
from sfvd_pl.report.media import MediaClips, ReportMedia
from sfvd_pl.report.overlay import fitting_scale, grid_picture, png_bytes
from sfvd_pl.report.views import Block, Film, Picture, View

STILL_PX = 256
"""About the size of a still."""
STILLS = 6
"""Clips whose middle frames are shown side by side."""


def films(group: MediaClips | None, kind: str) -> list[Film]:
    """Every clip of a group."""
    if group is None:
        return []
    return [
        film(
            group.clips[index],
            group.wire_masks[index],
            title,
            kind,
            predicted=None if group.predicted is None else group.predicted[index],
            ignore=None if group.ignore is None else group.ignore[index],
        )
        for index, title in enumerate(group.titles)
    ]


def stills(media: ReportMedia) -> list[Picture]:
    """Middle frames of real and synthetic clips, plain above outlined."""
    pictures = []
    for name, group in (("Real", media.real), ("Synthetic", media.synthetic)):
        if group is None:
            continue
        shown, middle = min(STILLS, len(group)), group.clips.shape[1] // 2
        picture = grid_picture(
            group.clips[:shown, middle],
            np.asarray(group.wire_masks)[:shown, middle],
            ignore=None if group.ignore is None else group.ignore[:shown, middle],
            columns=shown,
            scale=fitting_scale(group.clips.shape[2], group.clips.shape[3], STILL_PX),
        )
        alt = f"{name}: the middle frames of {shown} clips, plain above, and below with the label of the wire outlined"
        caption = f"{name}: middle frames of {shown} clips; below, with the label outlined."
        pictures.append(Picture(data_uri(png_bytes(picture), "png"), f"{alt} in yellow", caption))
    return pictures


def pictures_view(media: ReportMedia) -> View:
    """Typical clips."""
    if media.real is None and media.synthetic is None:
        return View("pictures", "Real beside synthetic", "Pictures", [Block(text=["No clips were kept in this run."])])
    text = "Chosen by the seed, not by their looks. Yellow: the label of the wire, which drove a synthetic clip. "
    text += "Blue: pixels of which nobody knows whether they show a wire; they count nowhere."
    blocks = [
        Block("", [text], pictures=stills(media)),
        Block("Real clips", films=films(media.real, "Real clip")),
        Block("Synthetic clips", films=films(media.synthetic, "Synthetic clip")),
    ]
    shown = [block for block in blocks if block.pictures or block.films]
    return View("pictures", "Real beside synthetic", "Pictures", shown)


def worst_view(media: ReportMedia) -> View:
    """The worst cases: where the label holds least, and what the gate turned away."""
    blocks = []
    if media.worst is not None:
        text = (
            "Synthetic clips whose wire an independent segmenter finds least where the label says. Yellow: the "
            "label; magenta: what the segmenter finds."
        )
        blocks.append(Block("Lowest label fidelity", [text], films=films(media.worst, "Synthetic clip")))
    if media.rejected is not None:
        blocks.append(Block("Rejected by the gate", films=films(media.rejected, "Rejected synthetic clip")))
    nothing = [Block(text=["No such clips were kept in this run."])]
    return View("worst", "The worst clips", "Worst clips", blocks or nothing)
