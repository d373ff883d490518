import copy
from typing import Any

import numpy as np
import pytest
from memorisation_example import memorisation_example
from scipy import stats

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.memorisation.scores import (
    DISTINCT,
    FRAME,
    GRAIN_LEVEL,
    PICTURE_LEVELS,
    Score,
    calibrate,
    picture_scores,
    wire_score,
)
from sfvd_pl.metrics.memorisation.search import Match, Nearest
from sfvd_pl.metrics.memorisation.section import share
from sfvd_pl.metrics.memorisation.views import ORIENTATIONS
from sfvd_pl.metrics.schema import clean_metrics, validate_section


def match(similarity: float, rival: float) -> Match:
    return Match(similarity, rival, 0, 0, 0, ORIENTATIONS[0], 0, 0)


def nearest(structure: tuple[float, float], grain: tuple[float, float]) -> Nearest:
    pair = (match(*structure), match(*grain))
    return Nearest(pair, pair)


def test_scores_are_what_they_are_shown_as() -> None:
    scores = picture_scores(nearest((0.6, 0.3), (0.5, 0.05)))
    assert FRAME.shown(scores["frame"].value) == pytest.approx(0.6)
    assert GRAIN_LEVEL.shown(scores["grain"].value) == pytest.approx(0.5)
    assert DISTINCT.shown(scores["distinct"].value) == pytest.approx((0.6 / 0.3 * 0.5 / 0.05) ** 0.5)


def test_a_faint_likeness_is_distinct_only_beside_a_measurable_one() -> None:
    assert picture_scores(nearest((0.02, 0.0), (0.02, -0.1)))["distinct"].value == pytest.approx(0)
    alone = picture_scores(nearest((0.9, float("nan")), (0.9, float("nan"))))
    assert np.isnan(alone["distinct"].value) and alone["frame"].value > 1
    single = picture_scores(nearest((0.8, 0.2), (0.0, 0.0)))
    assert np.isnan(single["grain"].value) and DISTINCT.shown(single["distinct"].value) == pytest.approx(2)
    assert all(np.isnan(score.value) for score in (*picture_scores(None).values(), *wire_score(None).values()))


def test_levels_share_the_false_alarms_and_any_of_them_decides() -> None:
    rng = np.random.default_rng(0)
    real = [{level.name: Score(float(rng.gumbel()), None) for level in PICTURE_LEVELS} for _ in range(80)]
    patients = [f"p{k % 20}" for k in range(80)]
    found = calibrate(PICTURE_LEVELS, real, patients, 0.01)
    assert sum(t.rate for t in found.thresholds) == pytest.approx(0.01)
    usual = {level.name: Score(t.median, None) for level, t in zip(found.levels, found.thresholds, strict=True)}
    assert found.evidence(usual) == (0.0, ())
    high = found.thresholds[1].value + 1e-6
    evidence, by = found.evidence({**usual, "grain": Score(high, None)})
    assert by == ("grain",) and evidence == pytest.approx(1, abs=1e-5)
    assert np.isnan(found.evidence({})[0])
    fresh = [{level.name: Score(float(rng.gumbel()), None) for level in PICTURE_LEVELS} for _ in range(4000)]
    assert np.mean([bool(found.evidence(scores)[1]) for scores in fresh]) <= 0.01


@pytest.mark.parametrize(("count", "n"), [(0, 12), (12, 12), (3, 40)])
def test_shares_have_exact_intervals(count: int, n: int) -> None:
    expected = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    found = share(count, n)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(share(0, 0)["mean"])


@pytest.mark.parametrize(
    ("trail", "value"),
    [
        (("rate",), 1.5),
        (("wire_found_by",), "eye"),
        (("levels", 0, "scale"), "pixel"),
        (("levels", 1, "name"), "frame"),
        (("rows", 0, "copies"), 0),
        (("rows", 0, "name"), "made"),
        (("rows", 0, "levels", 0, "level"), "taste"),
        (("rows", 0, "levels"), []),
        (("planted", 0, "levels"), []),
        (("planted", 0, "recall", "mean"), 1.2),
        (("clips", 0, "verdict"), "clear"),
        (("clips", 0, "verdict"), "stolen"),
        (("clips", 0, "by"), []),
        (("clips", 0, "by"), ["taste"]),
        (("clips", 0, "nearest", 0, "level"), "taste"),
        (("clips", 0, "nearest", 0, "mirrored"), 1),
        (("clips", 0, "nearest", 0, "training_frame"), -1),
    ],
)
def test_the_schema_refuses(trail: tuple[Any, ...], value: object) -> None:
    section = copy.deepcopy(clean_metrics(memorisation_example()))
    validate_section("memorisation", section)
    place = section
    for key in trail[:-1]:
        place = place[key]
    place[trail[-1]] = value
    with pytest.raises(MetricsError) as caught:
        validate_section("memorisation", section)
    assert str(caught.value.key).startswith("memorisation")
