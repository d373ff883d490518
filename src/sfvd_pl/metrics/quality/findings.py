"""Findings of a quality control: what each code means, how grave it is, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from sfvd_pl.errors import ConfigError

Severity = Literal["error", "warning", "accepted"]


@dataclass(frozen=True)
class Code:
    """One kind of finding.

    Attributes:
        topic: Heading it stands under.
        title: What it is, in a few words.
        remedy: What to do about it.
    """

    topic: str
    title: str
    remedy: str


CODES: dict[str, Code] = {
    "copy-across-splits": Code(
        "Copies",
        "the same pictures in two splits",
        "a leak: give both clips one patient's name, or remove one of them, and import again",
    ),
    "copy-across-patients": Code(
        "Copies",
        "the same pictures under two patients",
        "find out whose they are: one patient under two names leaks as soon as the split changes",
    ),
    "copy-within-patient": Code(
        "Copies",
        "the same pictures in two runs of a patient",
        "remove one of them unless the repetition is meant; it counts twice in training and in every mean",
    ),
    "frozen-clip": Code(
        "Frames",
        "a clip that stands still",
        "import the run again from its source; a still picture repeated is no clip",
    ),
    "frozen-frames": Code(
        "Frames",
        "frames that repeat the one before",
        "a recording or conversion repeated frames: import at the frame rate of the source",
    ),
    "short-clip": Code(
        "Frames",
        "shorter than what training takes",
        "use longer runs, or a preset with fewer frames; frames that are missing are padded and don't count",
    ),
    "small-frame": Code(
        "Frames",
        "smaller than the training window",
        "use a preset with a smaller window, or larger pictures; the edge is repeated instead",
    ),
    "wire-bright": Code(
        "Labels",
        "the labelled wire is brighter than its surroundings",
        "invert the run's pictures (import with the other polarity); a bright wire teaches the opposite",
    ),
    "mask-beside": Code(
        "Labels",
        "the mask lies beside its wire",
        "check crop, scale and rounding between pictures and masks; move the masks by the offset given",
    ),
    "mask-late": Code(
        "Labels",
        "the mask fits another frame",
        "check the numbering of masks against that of the pictures; shift it by the frames given",
    ),
    "wire-unseen": Code(
        "Labels",
        "nothing darker lies under the mask",
        "look at the frames: the mask may belong to another clip, or the wire can't be seen",
    ),
    "mask-thick": Code(
        "Labels",
        "the mask is too thick for a wire",
        "label the wire itself, not a region or the catheter around it",
    ),
    "mask-area": Code(
        "Labels",
        "the mask covers too much of the frame",
        "label the wire itself; an inverted mask looks like this",
    ),
    "mask-pieces": Code(
        "Labels",
        "the mask is in many pieces",
        "join the pieces, and remove specks that annotation left behind",
    ),
    "mask-tiny": Code("Labels", "the mask is only a speck", "remove it, or draw the wire"),
    "mask-gap": Code(
        "Labels",
        "an empty mask between frames with a wire",
        "draw the wire, or remove the empty mask so that the frame counts as not annotated",
    ),
    "few-labels": Code(
        "Coverage",
        "hardly any labels in a split",
        "annotate more patients, or split otherwise (--split.*); scores on so few say little",
    ),
    "no-labels": Code(
        "Coverage",
        "no labels in a split",
        "annotate at least one patient of the split, split otherwise (SPLIT=), or test nobody (TEST=none)",
    ),
    "mixed-spacing": Code(
        "Geometry",
        "pixel spacing differs or is known for some clips only",
        "bring the runs to one spacing, or treat measures in pixels with care",
    ),
    "mixed-rate": Code(
        "Geometry",
        "frame rate differs or is known for some clips only",
        "bring the runs to one rate: the motion model knows frames, not seconds",
    ),
    "exposure-outlier": Code(
        "Exposure", "mean intensity unlike the other clips'", "check its window, bit depth and intensity_max"
    ),
    "clipped": Code(
        "Exposure",
        "many pixels at the end of the scale",
        "export it with a wider window; what was cut off can't be learned",
    ),
    "constant-border": Code(
        "Exposure",
        "a constant border",
        "crop it: a mask of zeros over black teaches nothing, and noise is missing",
    ),
    "few-levels": Code(
        "Exposure",
        "few grey levels",
        "export it with its full bit depth; coarse steps replace the noise the models are to learn",
    ),
    "noise-outlier": Code(
        "Exposure",
        "noise unlike the other clips'",
        "look for denoising, compression or another detector mode",
    ),
}
"""Every code there is; ``docs/check.md`` says how each is measured."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks wrong, with the data.

    Attributes:
        code: One of ``CODES``.
        severity: ``error`` where a result would be false, ``warning`` where it may be; ``accepted`` for an error
            that somebody knows of.
        clip: Name of the clip; empty where it concerns a split or the whole set.
        frames: Frames of the clip, counted from 0; empty where it concerns all of them.
        measured: What was measured, with its unit.
        limit: What it was held against.
        other: The other clip of a pair; empty where there is none.
        other_frames: Frames of the other clip that belong to ``frames``, one each.
        value: The figure behind ``measured``, for programs.
    """

    code: str
    severity: Severity
    clip: str
    frames: tuple[int, ...]
    measured: str
    limit: str
    other: str = ""
    other_frames: tuple[int, ...] = ()
    value: float = float("nan")

    def __post_init__(self) -> None:
        """Refuse a code that no page explains."""
        if self.code not in CODES:
            raise ConfigError("no such finding", key="code", expected=", ".join(CODES), found=self.code)

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return CODES[self.code].title

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return CODES[self.code].remedy

    def line(self) -> str:
        """One line for the terminal."""
        where = self.clip + (f" {frames_text(self.frames)}" if self.frames else "")
        if self.other:
            where += f" and {self.other}" + (
                f" {frames_text(self.other_frames)}" if self.other_frames else ""
            )
        parts = [self.code, where.strip(), self.title]
        return f"{self.severity}: " + ": ".join(part for part in parts if part) + f" ({self.measured})"


def frames_text(frames: Iterable[int]) -> str:
    """``frames 0-3, 7`` for (0, 1, 2, 3, 7)."""
    spans: list[list[int]] = []
    numbers = list(dict.fromkeys(frames))
    for frame in numbers:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans[:8]) + (
        ", ..." if len(spans) > 8 else ""
    )
    return f"frame{'' if len(numbers) == 1 else 's'} {shown}"


def accept(findings: Iterable[Finding], accepted: Iterable[str]) -> list[Finding]:
    """Mark the errors that somebody knows of.

    Args:
        findings: In any order.
        accepted: ``CODE`` for all findings of that code, ``CODE:CLIP`` for those that name the clip.

    Returns:
        Errors first, then accepted ones, then warnings; each group in its given order.

    Raises:
        ConfigError: A code that doesn't exist.
    """
    known = list(accepted)
    for entry in known:
        if entry.partition(":")[0] not in CODES:
            raise ConfigError(
                "no such finding to accept",
                key="accept",
                expected="CODE or CODE:CLIP with CODE one of " + ", ".join(CODES),
                found=entry,
                remedy="docs/check.md lists the codes",
            )
    marked = [
        replace(f, severity="accepted")
        if f.severity == "error" and is_accepted(f, known)
        else f
        for f in findings
    ]
    return sorted(marked, key=lambda f: ("error", "accepted", "warning").index(f.severity))


def is_accepted(finding: Finding, accepted: Iterable[str]) -> bool:
    """Whether one of the entries, as in :func:`accept`, means this finding."""
    return any(_names(entry, finding) for entry in accepted)


def _names(entry: str, finding: Finding) -> bool:
    code, _, clip = entry.partition(":")
    return code == finding.code and clip in ("", finding.clip, finding.other)
