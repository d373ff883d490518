"""Mechanics of heart and wire: energy, length, rest, periods."""

import numpy as np
import pytest

from sfvd_pl.sources.phantom_heart import BRANCHES, elastic_curve, make_heart, systole_curve
from sfvd_pl.sources.phantom_wire import Drive, Wire, make_drive, wire_points

HEART = make_heart(np.random.default_rng(5))


def test_elastic_curve_minimises_its_energy() -> None:
    rng = np.random.default_rng(0)
    course = np.cumsum(rng.normal(size=(40, 3)), axis=0)
    d2 = np.diff(np.eye(40), 2, axis=0)
    dense = np.linalg.solve(np.eye(40) + (3 / 0.8) ** 4 * d2.T @ d2, course)
    assert np.allclose(elastic_curve(course, 3.0, 0.8), dense, atol=1e-8)


def test_straight_course_leaves_the_rod_straight() -> None:
    line = np.linspace([0.0, 1, 2], [30.0, 4, -5], 50)
    assert np.allclose(elastic_curve(line, 5.0, 1.0), line, atol=1e-7)


def test_heart_at_rest_doesnt_move_and_in_systole_shrinks() -> None:
    matrix, shift = HEART.deformation(0.0, 0.0)
    assert np.allclose(matrix, np.eye(3)) and np.allclose(shift, 0)
    squeezed, shift = HEART.deformation(1.0, 0.0)
    assert 0.6 < np.linalg.det(squeezed) < 0.97
    apex = HEART.frame[:, 2] * HEART.semi[2]
    assert np.allclose(squeezed @ apex + shift - HEART.swing_mm, apex, atol=1e-9), "the apex is held"


def test_vessels_lie_on_the_heart() -> None:
    for name in BRANCHES:
        local = HEART.vessels[name] @ HEART.frame / HEART.semi
        radius = np.linalg.norm(local[30:-5], axis=1)
        assert 0.9 < radius.min() and radius.max() < 1.1, name


def test_systole_repeats_every_beat() -> None:
    time = np.linspace(0, 3, 301)
    curve = systole_curve(time, 1.25, 0.4)
    assert curve.min() == 0 and 0.99 < curve.max() <= 1
    assert np.allclose(curve, systole_curve(time + 0.8, 1.25, 0.4))


@pytest.mark.parametrize("branch", sorted(BRANCHES))
def test_wire_keeps_its_length_while_the_heart_beats(branch: str) -> None:
    wire = Wire(branch, 3.0, np.zeros(3), 0.65)
    drive = Drive(np.linspace(0, 1, 6), np.linspace(0, -8, 6), np.full(6, 60.0))
    lengths, tips = [], []
    for frame in range(6):
        points, to_tip = wire_points(HEART, wire, drive, frame)
        lengths.append(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        tips.append(points[-1])
        assert to_tip[0] == pytest.approx(60) and to_tip[-1] == 0
    assert np.ptp(lengths) < 0.2 and lengths[0] == pytest.approx(60, abs=0.3)
    assert np.linalg.norm(tips[-1] - tips[0]) > 2


def test_wire_is_advanced_by_what_the_hand_feeds() -> None:
    wire = Wire("LAD", 3.0, np.zeros(3), 0.65)
    drive = Drive(np.zeros(2), np.zeros(2), np.array([50.0, 62.0]))
    near, far = (wire_points(HEART, wire, drive, frame)[0] for frame in (0, 1))
    fine = np.stack([np.interp(np.linspace(0, 63, 2000), np.arange(len(far)), c) for c in far.T], axis=1)
    gap = np.linalg.norm(near[:40, None] - fine[None], axis=2).min(axis=1)
    assert gap.max() < 0.05, "what is inside already stays on its course"
    step = np.linalg.norm(np.diff(far, axis=0), axis=1)
    assert np.linalg.norm(far[np.searchsorted(np.cumsum(step), 50)] - near[-1]) < 1.1


def test_hand_stays_within_reach() -> None:
    feeds = [make_drive(np.random.default_rng(k), 40, 15.0, (1.0, 1.2), (0.0, 9.0)) for k in range(40)]
    moved = [np.ptp(feed.inserted_mm) for feed in feeds]
    assert 5 < sum(m == 0 for m in moved) < 35
    for feed in feeds:
        assert feed.inserted_mm.min() >= 40
        assert np.abs(np.diff(feed.inserted_mm)).max() <= 20 / 15 + 1e-9
        assert feed.breath_mm.max() <= 0 and feed.breath_mm.min() >= -9
