"""Whether the wire is dark, as it must be: checked against the labels, not assumed."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from sfvd_pl.errors import SourceError
from sfvd_pl.metrics.visibility import clip_visibility
from sfvd_pl.sources.clip import Clip

Polarity = Literal["check", "keep", "invert"]
POLARITIES: tuple[str, ...] = get_args(Polarity)
BRIGHT_CNR = -0.5
"""Median contrast-to-noise ratio below which a wire is clearly brighter than its ring. A wire that can hardly be seen
measures about 0, by chance a little below."""
MIN_FRAMES = 3
"""Labelled frames that can be measured, without which nothing is said."""


def with_polarity(clip: Clip, polarity: Polarity, *, told: bool) -> Clip:
    """The clip with a dark wire.

    Args:
        clip: As read.
        polarity: ``check`` leaves it as it is and refuses a bright wire; ``keep`` leaves it; ``invert`` inverts it.
        told: Whether the recording's own meta.json says ``inverted``, true or false, which is then what counts.

    Raises:
        SourceError: With ``check``: labelled frames show a bright wire.
    """
    if polarity == "invert" and not told:
        clip = clip.inverted()
    if polarity == "check":
        check_polarity(clip)
    return clip


def check_polarity(clip: Clip) -> None:
    """Refuse a clip whose labelled wire is clearly brighter than its surroundings.

    Raises:
        SourceError: So it is: the median CNR of at least ``MIN_FRAMES`` frames is below ``BRIGHT_CNR``.
    """
    known = clip.annotated
    ignore = None if clip.ignore is None else clip.ignore[known]
    seen = clip_visibility(clip.image[known], clip.wire_mask[known], ignore=ignore)
    seen = seen[np.isfinite(seen)]
    if seen.size < MIN_FRAMES or float(np.median(seen)) >= BRIGHT_CNR:
        return
    raise SourceError(
        f"clip {clip.name!r}: the labelled wire is brighter than its surroundings",
        key="polarity",
        expected="a dark wire",
        found=f"a median contrast-to-noise ratio of {np.median(seen):.2f} in {seen.size} labelled frames",
        remedy='if its grey values are inverted: "inverted": true in its meta.json (<stem>.json), or --polarity '
        "invert if those of all clips are; if the labels are right and the wire is bright, --polarity keep",
    )


def narrowed(clip: Clip) -> Clip:
    """The clip in the smallest type of pixel that its range needs, so that all clips of a range have one type."""
    if clip.intensity_max <= 255 and clip.image.dtype != np.uint8:
        return replace(clip, image=clip.image.astype(np.uint8))
    return clip
