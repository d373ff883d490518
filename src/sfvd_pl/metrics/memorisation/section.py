"""The section ``memorisation`` of ``metrics.json``, from the scores of sets of clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sfvd_pl.metrics.memorisation.bank import Bank
from sfvd_pl.metrics.memorisation.calibration import CONFIDENCE, Threshold
from sfvd_pl.metrics.memorisation.scores import Calibrated, Level, Score, Scores
from sfvd_pl.metrics.memorisation.views import PAD_PX, WORKING_PX

LISTED = 200
"""Clips that are listed at most beside the copies, the most suspicious first."""


@dataclass(frozen=True)
class Judged:
    """A clip of a set with its scores."""

    name: str
    scores: Scores


def share(count: int, n: int) -> dict[str, float]:
    """A share with its exact interval (Clopper and Pearson 1934), 95 %; NaN without any clip."""
    if n == 0:
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    low = stats.beta.ppf(0.025, count, n - count + 1) if count else 0.0
    high = stats.beta.ppf(0.975, count + 1, n - count) if count < n else 1.0
    return {"mean": count / n, "low": float(low), "high": float(high)}


def level_entry(level: Level, threshold: Threshold) -> dict[str, Any]:
    """What a level is and how it was calibrated; similarities as a reader is shown them."""
    return {
        "name": level.name,
        "scale": level.scale,
        "space": level.space,
        "measure": level.measure,
        "rate": threshold.rate,
        "threshold": _shown(level, threshold.value),
        "clips": threshold.n,
        "patients": threshold.n_patients,
        "effective": threshold.n_effective,
        "median": _shown(level, threshold.median),
        "highest": _shown(level, threshold.highest),
        "assumption_free": threshold.assumption_free,
    }


def _shown(level: Level, score: float) -> float:
    return level.shown(score) if np.isfinite(score) else float("nan")


def set_row(name: str, judged: Sequence[Scores], calibrated: Calibrated) -> dict[str, Any]:
    """How many clips of a set are called copies, and how alike they are to training clips."""
    verdicts = [calibrated.evidence(scores) for scores in judged]
    found = sum(bool(by) for _, by in verdicts)
    by_level = []
    for level in calibrated.levels:
        values = np.array([_value(scores, level) for scores in judged], np.float64)
        values = values[np.isfinite(values)]
        by_level.append(
            {
                "level": level.name,
                "n": len(values),
                "copies": sum(level.name in by for _, by in verdicts),
                "median": _shown(level, float(np.median(values))) if len(values) else float("nan"),
                "highest": _shown(level, float(values.max())) if len(values) else float("nan"),
            }
        )
    return {"name": name, "n": len(judged), "copies": found, "share": share(found, len(judged)), "levels": by_level}


def planted_row(
    kind: str, judged: Sequence[Judged], calibrated: Calibrated, banks: Mapping[str, Bank]
) -> dict[str, Any]:
    """How many planted copies of a kind are caught, and whether the right training clip is named."""
    row = set_row(kind, [clip.scores for clip in judged], calibrated)
    right = 0
    for clip in judged:
        _, by = calibrated.evidence(clip.scores)
        matches = [(banks[name], clip.scores[name].match) for name in by]
        right += any(match is not None and bank[match.clip].name == clip.name for bank, match in matches)
    return {
        "kind": kind,
        "n": row["n"],
        "caught": row["copies"],
        "recall": row["share"],
        "named": right,
        "levels": [{"level": entry["level"], "caught": entry["copies"]} for entry in row["levels"]],
    }


def clip_entries(
    judged: Sequence[Judged], calibrated: Calibrated, banks: Mapping[str, Bank], window: int
) -> list[dict[str, Any]]:
    """Every copy, and the most suspicious of the other clips, each with its nearest training clip at each level.

    A clip without scores wasn't looked for, and is left out.
    """
    entries: list[dict[str, Any]] = []
    for number, clip in enumerate(judged):
        if not clip.scores:
            continue
        evidence, by = calibrated.evidence(clip.scores)
        nearest = [
            _nearest(level, clip.scores[level.name], threshold, banks[level.name], window)
            for level, threshold in zip(calibrated.levels, calibrated.thresholds, strict=True)
            if level.name in clip.scores
        ]
        entries.append(
            {
                "number": number,
                "clip": clip.name,
                "verdict": "copy" if by else "clear" if np.isfinite(evidence) else "unknown",
                "by": list(by),
                "evidence": evidence,
                "nearest": [entry for entry in nearest if entry is not None],
            }
        )
    entries.sort(key=lambda entry: (entry["verdict"] != "copy", -float(np.nan_to_num(entry["evidence"], nan=-1e9))))
    copies = sum(entry["verdict"] == "copy" for entry in entries)
    return entries[: copies + LISTED]


def _value(scores: Scores, level: Level) -> float:
    return scores[level.name].value if level.name in scores else float("nan")


def _nearest(level: Level, score: Score, threshold: Threshold, bank: Bank, window: int) -> dict[str, Any] | None:
    match = score.match
    if match is None:
        return None
    entry, scale = bank[match.clip], window / WORKING_PX
    return {
        "level": level.name,
        "similarity": _shown(level, score.value),
        "threshold": _shown(level, threshold.value),
        "training_clip": entry.name,
        "training_patient": entry.patient,
        "training_frame": entry.first + match.training_frame,
        "frame": match.frame,
        "top": round((match.row - PAD_PX) * scale),
        "left": round((match.column - PAD_PX) * scale),
        "quarter_turns": match.orientation.quarter_turns,
        "mirrored": match.orientation.mirrored,
    }


def memorisation_section(
    calibrated: Calibrated,
    *,
    rate: float,
    training: Mapping[str, int],
    judged: Mapping[str, int],
    artifact: str,
    wire_found_by: str,
    rows: Sequence[Mapping[str, Any]],
    planted: Sequence[Mapping[str, Any]],
    clips: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The whole section; ``docs/metrics.md`` says what each key means."""
    return {
        "rate": rate,
        "confidence": CONFIDENCE,
        "artifact": artifact,
        "training": dict(training),
        "judged": dict(judged),
        "wire_found_by": wire_found_by,
        "levels": [level_entry(*pair) for pair in zip(calibrated.levels, calibrated.thresholds, strict=True)],
        "rows": list(rows),
        "planted": list(planted),
        "clips": list(clips),
    }


