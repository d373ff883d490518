"""From likenesses to a verdict: the levels at which a clip may be a copy, and what each says of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfvd_pl.metrics.memorisation.calibration import Threshold, fisher, tolerance_threshold
from sfvd_pl.metrics.memorisation.search import Match, Nearest

STRUCTURE, GRAIN = 0, 1
"""Channels of a picture's view."""
FLOOR = 0.02
"""Similarities below it are as good as none: they don't make a ratio large."""


@dataclass(frozen=True)
class Level:
    """A way in which a clip may be a copy.

    Attributes:
        name: Of the level, unique.
        scale: ``frame``, ``clip`` or ``wire``.
        space: What is compared: ``pixels``, or the name of a feature space.
        measure: What the similarity is, in words.
        shown: From the score, which has no upper end, to the similarity that a reader is shown.
        weight: Its part of the false alarms that all levels may make together.
    """

    name: str
    scale: str
    space: str
    measure: str
    shown: Callable[[float], float]
    weight: float = 1.0


def _correlation(score: float) -> float:
    return float(np.tanh(score))


def _times(score: float) -> float:
    return float(np.exp(score / 2))


FRAME = Level("frame", "frame", "pixels", "correlation of the fine structure of the most alike frames", _correlation)
GRAIN_LEVEL = Level("grain", "clip", "pixels", "mean correlation of the grain of consecutive frames", _correlation)
DISTINCT = Level(
    "distinct", "clip", "pixels", "how many times more alike than the other nearest training clips", _times, weight=7.0
)
"""It sees the faintest copies, and the others have room to spare: so it gets most of the false alarms."""
WIRE = Level("wire", "wire", "pixels", "mean cosine of the courses of the wire in consecutive frames", _correlation)
PICTURE_LEVELS = (FRAME, GRAIN_LEVEL, DISTINCT)


@dataclass(frozen=True)
class Score:
    """How near a clip comes to the training clips at one level; ``match`` says to which. NaN where it can't be said."""

    value: float
    match: Match | None


NO_SCORE = Score(float("nan"), None)
Scores = Mapping[str, Score]
"""Of one clip, by the level's name."""


def picture_scores(nearest: Nearest | None) -> dict[str, Score]:
    """Scores of a clip by its pictures.

    ``distinct`` asks whether the nearest clip stands out: noise and blur lower the similarity to the original and to
    all others alike, so that of a noised copy is small, but many times that to any other clip. It is the sum of the
    logarithms of that ratio for structure and for grain, each the mean over the frames.
    """
    if nearest is None:
        return {level.name: NO_SCORE for level in PICTURE_LEVELS}
    frame, structure, grain = nearest.frame[STRUCTURE], nearest.clip[STRUCTURE], nearest.clip[GRAIN]
    distinct = _log_ratio(structure) + _log_ratio(grain)
    # A single frame has no grain: then structure says all that there is to say.
    return {
        FRAME.name: Score(float(fisher(frame.similarity)), frame),
        GRAIN_LEVEL.name: Score(float(fisher(grain.similarity)), grain) if grain.similarity != 0 else NO_SCORE,
        DISTINCT.name: Score(distinct, grain if grain.similarity != 0 else structure),
    }


def _log_ratio(match: Match) -> float:
    if not np.isfinite(match.rival):
        return float("nan")
    return float(np.log(max(match.similarity, FLOOR) / max(match.rival, FLOOR)))


def wire_score(nearest: Nearest | None) -> dict[str, Score]:
    """Score of a clip by the course of its wire."""
    if nearest is None:
        return {WIRE.name: NO_SCORE}
    return {WIRE.name: Score(float(fisher(nearest.clip[0].similarity)), nearest.clip[0])}


@dataclass(frozen=True)
class Calibrated:
    """Levels with their thresholds.

    Attributes:
        levels: In order.
        thresholds: One a level; its value is NaN where there are too few real clips.
    """

    levels: tuple[Level, ...]
    thresholds: tuple[Threshold, ...]

    def evidence(self, scores: Scores) -> tuple[float, tuple[str, ...]]:
        """How near a clip comes to being called a copy, 1 or more where it is, 0 where it is as alike as the usual
        real clip; and the levels that call it so. NaN where no level can say.
        """
        found: list[float] = []
        by: list[str] = []
        for level, threshold in zip(self.levels, self.thresholds, strict=True):
            value = scores[level.name].value if level.name in scores else float("nan")
            if not (np.isfinite(value) and np.isfinite(threshold.value)):
                continue
            found.append((value - threshold.median) / max(threshold.value - threshold.median, 1e-9))
            if value > threshold.value:
                by.append(level.name)
        return (max(found) if found else float("nan")), tuple(by)


def calibrate(
    levels: Sequence[Level], scores: Sequence[Scores], patients: Sequence[str], rate: float
) -> Calibrated:
    """Thresholds at which real clips of other patients are called copies at a rate of ``rate`` at most.

    A clip is a copy if any level says so, so the levels share the rate, by their weights (Bonferroni).

    Args:
        levels: Those that are measured.
        scores: Of each real clip.
        patients: Whose each is.
        rate: For all levels together.
    """
    thresholds = []
    total = sum(level.weight for level in levels)
    for level in levels:
        values = [entry[level.name].value if level.name in entry else float("nan") for entry in scores]
        thresholds.append(tolerance_threshold(values, list(patients), rate * level.weight / total))
    return Calibrated(tuple(levels), tuple(thresholds))
