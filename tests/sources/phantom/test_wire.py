"""Mechanics of heart and wire: energy, length, rest, periods, tips, the hand, and where wire and catheter lie."""

from dataclasses import replace

import numpy as np
import pytest

from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.course import INSERTED_MM, LEAST_MM, PLACES, Catheter, course
from sfvd_pl.sources.phantom.drive import Drive, make_drive, make_hand
from sfvd_pl.sources.phantom.exact import MM_GRID, arc_length
from sfvd_pl.sources.phantom.geometry import View
from sfvd_pl.sources.phantom.heart import BRANCHES, elastic_curve, make_heart, systole_curve
from sfvd_pl.sources.phantom.wire import (
    TIPS,
    Shadow,
    Tip,
    Wire,
    cast_shadow,
    make_tip,
    make_wire,
    second_wire,
    smeared,
    trace_wire,
    wire_points,
)

HEART = make_heart(np.random.default_rng(5))
REST = HEART.deformation(0.0, 0.0)
CONFIG = PhantomConfig()


def wire(branch: str = "LAD", place: str = "tree", tip: Tip | None = None) -> Wire:
    return Wire(branch, place, 3.0, tip or Tip(), np.array([0.0, 0.0, 7.0]), np.zeros(3), 0.65)


def catheter(branch: str = "LAD", back_mm: float = 0.0) -> Catheter:
    return Catheter(branch, np.array([-20.0, 15.0, 150.0]), back_mm, ((1.0, 0.2), (0.6, -0.2)))


def test_elastic_curve_minimises_its_energy() -> None:
    rng = np.random.default_rng(0)
    way = np.cumsum(rng.normal(size=(40, 3)), axis=0)
    d2 = np.diff(np.eye(40), 2, axis=0)
    dense = np.linalg.solve(np.eye(40) + (3 / 0.8) ** 4 * d2.T @ d2, way)
    assert np.abs(elastic_curve(way, 3.0, 0.8) - dense).max() <= 0.51 * MM_GRID


def test_straight_course_leaves_the_rod_straight() -> None:
    line = np.linspace([0.0, 1, 2], [30.0, 4, -5], 50)
    assert np.allclose(elastic_curve(line, 5.0, 1.0), line, atol=MM_GRID)


def test_heart_at_rest_doesnt_move_and_in_systole_shrinks() -> None:
    matrix, shift = REST
    assert np.allclose(matrix, np.eye(3), atol=1e-6) and np.allclose(shift, 0)
    squeezed, shift = HEART.deformation(1.0, 0.0)
    assert 0.6 < np.linalg.det(squeezed) < 0.97
    apex = HEART.frame[:, 2] * HEART.semi[2]
    assert np.allclose(squeezed @ apex + shift - HEART.swing_mm, apex, atol=1e-3), "the apex is held"


def test_vessels_and_their_side_branches_lie_on_the_heart() -> None:
    for name in BRANCHES:
        local = HEART.vessels[name] @ HEART.frame / HEART.semi
        radius = np.linalg.norm(local[30:-5], axis=1)
        assert 0.9 < radius.min() and radius.max() < 1.1, name
    assert len(HEART.twigs) >= 2 * len(BRANCHES)
    for name, start, line in HEART.twigs:
        assert np.allclose(line[0], HEART.vessels[name][start], atol=1e-3), "it leaves its branch there"
        assert np.linalg.norm(line[-1] @ HEART.frame / HEART.semi) == pytest.approx(1.02, abs=1e-3)


def test_systole_repeats_every_beat() -> None:
    time = np.linspace(0, 3, 301)
    curve = systole_curve(time, 1.25, 0.4)
    assert curve.min() == 0 and 0.99 < curve.max() <= 1
    assert np.allclose(curve, systole_curve(time + 0.8, 1.25, 0.4))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("branch", sorted(BRANCHES))
def test_wire_keeps_its_length_while_the_heart_beats(branch: str, place: str) -> None:
    lengths, tips, held = [], [], catheter(branch, 0.0 if place in ("tree", "ostium") else 20.0)
    for part in np.linspace(0, 1, 6):
        points, to_tip = wire_points(
            HEART, wire(branch, place), held, HEART.deformation(part, -8 * part), 60.0, 0.0
        )
        lengths.append(arc_length(points)[-1])
        tips.append(points[-1])
        assert to_tip[0] == pytest.approx(60) and to_tip[-1] == 0
    assert np.ptp(lengths) < 0.25 and lengths[0] == pytest.approx(60, abs=0.5)
    assert np.linalg.norm(tips[-1] - tips[0]) > 2


def test_wire_is_advanced_by_what_the_hand_feeds() -> None:
    near, far = (wire_points(HEART, wire(), catheter(), REST, length, 0.0)[0] for length in (50.0, 62.0))
    fine = np.stack([np.interp(np.linspace(0, 63, 2000), np.arange(len(far)), c) for c in far.T], axis=1)
    gap = np.linalg.norm(near[:40, None] - fine[None], axis=2).min(axis=1)
    assert gap.max() < 0.05, "what is inside already stays on its course"
    step = np.linalg.norm(np.diff(far, axis=0), axis=1)
    assert np.linalg.norm(far[np.searchsorted(np.cumsum(step), 50)] - near[-1]) < 1.1


@pytest.mark.parametrize(("length", "turn", "bend"), [(5.0, 45, 1.5), (4.0, 90, 1.5), (6.0, 170, 6.0)])
def test_a_tip_keeps_the_length_and_turns_by_its_angle(length: float, turn: float, bend: float) -> None:
    bent = wire(tip=Tip(length, float(np.deg2rad(turn)), bend))
    points, to_tip = wire_points(HEART, bent, catheter(), REST, 60.0, 0.0)
    assert arc_length(points)[-1] == pytest.approx(60, abs=0.4)
    assert np.all(np.diff(to_tip) < 0) and to_tip[-1] == 0
    body, end = points[to_tip > length + 0.1], points[-1] - points[-2]
    ahead = body[-1] - body[-3]
    cosine = ahead @ end / np.linalg.norm(ahead) / np.linalg.norm(end)
    assert np.rad2deg(np.arccos(cosine)) == pytest.approx(turn, abs=6)
    straight, _ = wire_points(HEART, wire(), catheter(), REST, 60.0, 0.0)
    assert np.linalg.norm(points[20] - straight[20]) < 1, "the rest lies where it lay"


def test_torque_turns_the_tip_about_the_wire() -> None:
    bent = wire(tip=Tip(5.0, float(np.deg2rad(90)), 1.5))
    ends = [wire_points(HEART, bent, catheter(), REST, 60.0, turn)[0] for turn in (0.0, np.pi, 2 * np.pi)]
    assert np.linalg.norm(ends[0][-1] - ends[1][-1]) > 6
    assert np.allclose(ends[0], ends[2], atol=2 * MM_GRID)
    assert np.allclose(ends[0][:40], ends[1][:40])


def test_tips_come_in_their_shares() -> None:
    rng = np.random.default_rng(1)
    for number, kind in enumerate(TIPS):
        only = [make_tip(rng, np.eye(4)[number]) for _ in range(50)]
        turns = np.rad2deg([tip.turn_rad for tip in only])
        least, most = {"straight": (0, 0), "J": (140, 200), "45": (33, 54), "90": (67, 108)}[kind]
        assert least <= turns.min() and turns.max() <= most
    mixed = [make_tip(rng, (3, 0, 1, 0)).turn_rad == 0 for _ in range(400)]
    assert np.mean(mixed) == pytest.approx(0.75, abs=0.07)


def test_catheter_ends_where_it_has_slipped_to() -> None:
    line = catheter().line(HEART, *REST)
    assert np.linalg.norm(line[-1] - HEART.vessels["LAD"][0]) < 3, "its whole line ends in the ostium"
    for back in (0.0, 18.0):
        inside, way = catheter(back_mm=back).ending(line)
        assert arc_length(way)[-1] == pytest.approx(back, abs=1e-6)
        assert arc_length(inside)[-1] + back == pytest.approx(arc_length(line)[-1])
        assert np.allclose(inside[-1], way[0])


def test_courses_start_at_the_catheter_and_lead_in_or_stay_out() -> None:
    ostium = HEART.vessels["LCX"][0]
    for place in PLACES:
        held = catheter("LCX", 20.0 if place in ("aorta", "root") else 0.0)
        way = course(place, np.array([6.0, 0, 0]), held, HEART, "LCX", *REST)
        end = held.ending(held.line(HEART, *REST))[0][-1]
        assert np.linalg.norm(way[0] - end) < 3
        step = np.linalg.norm(np.diff(way, axis=0), axis=1)
        assert step.max() < 1.2 and arc_length(way)[-1] > INSERTED_MM[place][1] - 20
        to_tree = np.linalg.norm(way[:, None] - HEART.vessels["LCX"][None, 25:], axis=2).min(axis=1)
        if place == "root":
            assert to_tree.min() > 3, "a loop in the root enters no coronary"
            assert way[:, 2].argmin() not in (0, len(way) - 1), "down to the valve and up again"
        else:
            assert to_tree[-1] < 0.5 and np.linalg.norm(way - ostium, axis=1).min() < 1.5


def test_hand_stays_within_reach_and_no_faster_than_it_can() -> None:
    config = replace(CONFIG, frames=40)
    hands = [make_hand(np.random.default_rng(k), config, 50.0, 40.0) for k in range(200)]
    moved = np.array([np.ptp(hand.inserted_mm) for hand in hands])
    assert 0.4 < (moved == 0).mean() < 0.6
    net = np.array([hand.inserted_mm[-1] - hand.inserted_mm[0] for hand in hands])
    assert (net > 3).any() and (net < -3).any(), "it advances and retracts"
    fro = [np.sign(np.diff(hand.inserted_mm)) for hand in hands]
    assert any({-1.0, 1.0} <= set(signs) for signs in fro), "it goes to and fro"
    assert any(hand.torque_rad.any() for hand in hands)
    for hand in hands:
        assert hand.inserted_mm.min() >= 40 and np.abs(np.diff(hand.inserted_mm)).max() <= 20 / 15 + 1e-3
    for place in PLACES:
        assert LEAST_MM[place] < INSERTED_MM[place][0]


def test_drive_breathes_out_of_zero_and_the_table_moves_in_its_share_of_runs() -> None:
    config = replace(CONFIG, frames=31, panning_probability=0.5, panning_mm_s=(5.0, 20.0))
    drives = [make_drive(np.random.default_rng(k), config) for k in range(120)]
    for drive in drives:
        assert drive.breath_mm.max() <= 0 and drive.breath_mm.min() >= -10
        assert not drive.pan_mm[15].any(), "the picture was centred for the middle frame"
        assert np.linalg.norm(np.diff(drive.pan_mm, axis=0), axis=1).max() <= 20 / 15 + 1e-3
    moves = [drive for drive in drives if drive.pan_mm.any()]
    assert 0.35 < len(moves) / len(drives) < 0.65
    assert any(np.linalg.norm(np.ptp(drive.pan_mm, axis=0)) > 5 for drive in moves)
    assert not any(
        make_drive(np.random.default_rng(k), replace(config, panning_probability=0.0)).pan_mm.any()
        for k in range(9)
    )


def test_drive_between_frames() -> None:
    drive = Drive(np.array([0.0, 1.0, 0.5]), np.array([0.0, -2.0, -3.0]), np.zeros((3, 2)))
    assert drive.at(1) == (1.0, -2.0)
    assert drive.at(1.5) == (0.75, -2.5)
    assert drive.at(-1) == (0.0, 0.0) and drive.at(9) == (0.5, -3.0)
    assert Drive(np.array([0.3]), np.array([-1.0]), np.zeros((1, 2))).at(0.4) == (0.3, -1.0)


def test_second_wire_lies_beside_the_first() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        first = make_wire(rng, CONFIG, 0.65)
        other = second_wire(rng, CONFIG, first)
        assert BRANCHES[other.branch][0] == BRANCHES[first.branch][0]
        assert 0.35 < np.linalg.norm(other.offset_mm) < 0.95
    beside = replace(wire(), offset_mm=np.array([0.0, 0.8, 0.0]))
    one, two = (wire_points(HEART, each, catheter(), REST, 60.0, 0.0)[0] for each in (wire(), beside))
    gap = np.linalg.norm(two[:, None] - one[None], axis=2).min(axis=1)
    assert gap[0] < 0.2 and 0.6 < gap[10:].max() < 1.0


def test_smear_is_the_mean_shadow_and_keeps_the_first_label() -> None:
    view = View(*View.axes(0, 0), np.zeros(2), 1.0, 20, 24)
    points = np.array([[-6.0, 0, 0], [6.0, 0, 0]])
    casts: list[Shadow] = []
    for move in (0.0, -1.2, 1.2):
        trace = trace_wire(points + [0, 0, move], np.array([12.0, 0.0]), view, 0.6)
        casts.append(cast_shadow(trace, 0.6, 20, 24))
    mean = np.zeros(20 * 24)
    for each in casts:
        mean[each.index] += each.chord_px / 3
    found = smeared(casts[0], casts[1:])
    assert np.allclose(found.chord_px, mean[found.index]) and found.chord_px.sum() == pytest.approx(
        mean.sum()
    )
    assert np.array_equal(found.index[found.covered], casts[0].index[casts[0].covered])
