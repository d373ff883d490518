"""The result of a quality control: what was asked, what was found, and both as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.metrics.quality.facts import ClipFacts, CopyFacts, Limits
from sfvd_pl.metrics.quality.findings import Finding

FILE_VERSION = 1
"""Of ``findings.json``."""
SPLITS = ("train", "val", "test")
_NAMES = (("error", "error"), ("accepted", "accepted error"), ("warning", "warning"))


@dataclass(frozen=True)
class CheckConfig:
    """What a quality control is asked for.

    Args:
        accept: Errors that are known and shall not stop anything: ``CODE``, or ``CODE:CLIP`` for one clip.
        window: Training window in pixels, which frames should fill; 0 doesn't ask.
        frames: Frames that a training clip should have; 0 doesn't ask.
        limits: What is measured against what.
    """

    accept: tuple[str, ...] = ()
    window: int = 0
    frames: int = 0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Coverage:
    """Clips, frames and labels of one patient or one split.

    Attributes:
        name: Of the patient or the split.
        split: The patient's split; of a split, itself.
        patients, clips, frames: How many.
        annotated: Frames with a mask, also an empty one.
        labelled: Clips whose masks training may use and that hold a wire.
        visibility: Median over clips of the wire's CNR; NaN where unknown.
    """

    name: str
    split: str
    patients: int
    clips: int
    frames: int
    annotated: int
    labelled: int
    visibility: float


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        path, content_hash: The artifact.
        config: What was asked for.
        clips: Facts of every clip, in the order of the artifact.
        copies: Clips that share frames.
        findings: Errors first, then accepted errors, then warnings.
        notes: What a reader should know that is no fault.
    """

    path: Path
    content_hash: str
    config: CheckConfig
    clips: tuple[ClipFacts, ...]
    copies: tuple[CopyFacts, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def of(self, severity: str) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def counts(self) -> str:
        """``2 errors, 1 warning``, or ``nothing found``."""
        found = [(len(self.of(severity)), name) for severity, name in _NAMES]
        return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in found if n) or "nothing found"

    def lines(self, most: int = 12) -> Sequence[str]:
        """A few lines for the terminal."""
        frames = sum(clip.frames for clip in self.clips)
        lines = [f"{self.path}: {len(self.clips)} clips, {frames} frames: {self.counts()}"]
        lines += [f"  {finding.line()}" for finding in self.findings[:most]]
        if len(self.findings) > most:
            lines.append(f"  and {len(self.findings) - most} more: see the page")
        return lines + [f"  note: {note}" for note in self.notes]

    def patients(self) -> list[Coverage]:
        """One row a patient, by split and name."""
        names = {(SPLITS.index(clip.split), clip.patient) for clip in self.clips}
        return [
            _coverage(
                patient, [c for c in self.clips if c.patient == patient and SPLITS.index(c.split) == split]
            )
            for split, patient in sorted(names)
        ]

    def splits(self) -> list[Coverage]:
        """One row a split that has clips."""
        rows = [(split, [clip for clip in self.clips if clip.split == split]) for split in SPLITS]
        return [_coverage(split, clips) for split, clips in rows if clips]

    def as_json(self) -> dict[str, Any]:
        """Everything but the pictures, in JSON's types; an unknown number is null."""
        clips = [self._clip_row(clip) for clip in self.clips]
        return {
            "schema_version": FILE_VERSION,
            "source": {"file": str(self.path), "content_hash": self.content_hash},
            "config": _plain(asdict(self.config)),
            "counts": {severity: len(self.of(severity)) for severity, _ in _NAMES},
            "findings": [
                _plain(asdict(finding)) | {"title": finding.title, "remedy": finding.remedy}
                for finding in self.findings
            ],
            "notes": list(self.notes),
            "splits": [_plain(asdict(row)) for row in self.splits()],
            "patients": [_plain(asdict(row)) for row in self.patients()],
            "clips": clips,
        }

    @staticmethod
    def _clip_row(clip: ClipFacts) -> dict[str, Any]:
        row = asdict(clip) | {"masks": None, "annotated": len(clip.annotated), "wired": clip.wired}
        del row["masks"]
        return dict(_plain(row))


def _coverage(name: str, clips: Sequence[ClipFacts]) -> Coverage:
    seen = [clip.visibility for clip in clips if np.isfinite(clip.visibility)]
    return Coverage(
        name=name,
        split=clips[0].split,
        patients=len({clip.patient for clip in clips}),
        clips=len(clips),
        frames=sum(clip.frames for clip in clips),
        annotated=sum(len(clip.annotated) for clip in clips),
        labelled=sum(clip.labelled and clip.wired > 0 for clip in clips),
        visibility=float(np.median(seen)) if seen else float("nan"),
    )


def _plain(value: Any) -> Any:
    """Values as JSON has them: no NaN, no tuples, no NumPy."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
