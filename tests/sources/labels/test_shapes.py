"""Which pixels a shape covers: brute force over every pixel, and the simulator's own rule."""

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from scipy import interpolate

from sfvd_pl.sources.labels.shapes import (
    Bitmap,
    Curve,
    Polygon,
    checked_points,
    checked_width,
    curve_points,
    rasterise,
    resampled,
)
from sfvd_pl.sources.phantom.wire import Trace, cast_shadow

RNG = np.random.default_rng(7)
SHAPE = (40, 50)


def distance(point: np.ndarray, begin: np.ndarray, end: np.ndarray) -> float:
    """From a point to a piece of a straight line, as in a school book."""
    length2 = float(((end - begin) ** 2).sum())
    if length2 == 0:
        return float(np.hypot(*(point - begin)))
    share = min(1.0, max(0.0, float((point - begin) @ (end - begin)) / length2))
    return float(np.hypot(*(point - begin - share * (end - begin))))


def brute_curve(points: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Mask, and distance less the reach, pixel by pixel."""
    gap = np.empty(SHAPE)
    for y in range(SHAPE[0]):
        for x in range(SHAPE[1]):
            centre = np.array([x, y], float)
            gap[y, x] = min(distance(centre, a, b) for a, b in zip(points[:-1], points[1:], strict=True))
    gap -= max(width / 2, 0.5)
    return gap <= 0, gap


@pytest.mark.parametrize("width", [0.3, 1.0, 2.6, 7.0])
def test_a_polyline_against_brute_force(width: float) -> None:
    points = RNG.uniform(-15, 65, (6, 2))
    mask = rasterise([Curve(tuple(map(tuple, points)), width)], SHAPE)
    expected, gap = brute_curve(points, width)
    sure = np.abs(gap) > 1e-9
    assert mask.dtype == np.uint8 and np.array_equal(mask[sure] == 1, expected[sure])
    assert mask.any() and not mask.all()


def test_a_line_through_pixel_centres_is_one_pixel_wide() -> None:
    mask = rasterise([Curve(((3.0, 5.0), (9.0, 5.0)), 0.1)], SHAPE)
    assert mask[5, 3:10].all() and mask.sum() == 7, "half a pixel at least, so that it is connected"
    wide = rasterise([Curve(((3.0, 5.0), (9.0, 5.0)), 2.0)], SHAPE)
    assert wide[4:7, 3:10].all() and wide[5, 2] == wide[5, 10] == 1 and wide.sum() == 23


def test_the_rule_is_the_simulators() -> None:
    along = np.linspace(0, 1, 2001)
    samples = np.stack([5 + 35 * along, 20 + 12 * np.sin(5 * along)], axis=1)
    for radius in (0.4, 0.7, 1.3):
        shadow = cast_shadow(Trace(samples, np.ones(2001), np.zeros(2001)), radius, *SHAPE)
        expected = np.zeros(SHAPE, np.uint8)
        expected.ravel()[shadow.index[shadow.covered]] = 1
        mask = rasterise([Curve(tuple(map(tuple, samples)), 2 * radius)], SHAPE)
        assert int((mask != expected).sum()) <= 1, (
            "the simulator measures to samples, not to the line between"
        )


def test_a_polygon_against_matplotlib() -> None:
    for count in (3, 5, 9):
        points = RNG.uniform(-10, 60, (count, 2))
        mask = rasterise([Polygon(tuple(map(tuple, points)))], SHAPE)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        crossings = np.zeros(SHAPE, int)
        for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):  # a ray to the right
            spans = (a[1] > y) != (b[1] > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                crossings += spans & (x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0])
        assert np.array_equal(mask, crossings % 2)
    square = np.array([(2.2, 3.3), (20.7, 3.3), (20.7, 30.1), (2.2, 30.1)])
    inside = Outline(square).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(SHAPE)
    assert np.array_equal(rasterise([Polygon(tuple(map(tuple, square)))], SHAPE), inside)


def test_polygons_that_share_an_edge_share_no_pixel() -> None:
    left, right = (
        ((0.0, 0.0), (10.0, 0.0), (10.0, 9.0), (0.0, 9.0)),
        ((10.0, 0.0), (20.0, 0.0), (20.0, 9.0), (10.0, 9.0)),
    )
    both = [rasterise([Polygon(points)], SHAPE) for points in (left, right)]
    assert not (both[0] & both[1]).any() and (both[0] | both[1]).sum() == 20 * 9


def test_shapes_join() -> None:
    line, square = (
        Curve(((1.0, 1.0), (8.0, 1.0)), 1.0),
        Polygon(((20.0, 20.0), (24.0, 20.0), (24.0, 24.0), (20.0, 24.0))),
    )
    assert np.array_equal(
        rasterise([line, square], SHAPE), rasterise([line], SHAPE) | rasterise([square], SHAPE)
    )
    assert not rasterise([], SHAPE).any()


def test_far_and_long_curves_cost_nothing() -> None:
    zigzag = tuple((float(x), float(y)) for x, y in RNG.uniform(-1e5, 1e5, (4096, 2)))
    assert rasterise([Curve(zigzag, 2.0)], (64, 64)).shape == (64, 64)


def test_bitmaps_in_both_orders() -> None:
    wanted = RNG.random((5, 7)) < 0.5
    for by_column in (True, False):
        flat = wanted.T.ravel() if by_column else wanted.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]).astype(int)) != 0)
        runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
        bitmap = Bitmap(45, 37, 5, 7, tuple(int(run) for run in runs), by_column)
        assert np.array_equal(bitmap.mask(), wanted)
        mask = rasterise([bitmap], SHAPE)
        assert np.array_equal(mask[37:40, 45:50], wanted[:3, :5]) and mask.sum() == wanted[:3, :5].sum(), (
            "cut at the edge"
        )


def test_a_cropped_and_a_scaled_frame() -> None:
    points = RNG.uniform(5, 35, (4, 2))
    curve, outline = Curve(tuple(map(tuple, points)), 2.4), Polygon(tuple(map(tuple, points)))
    bitmap = Bitmap(8, 6, 20, 25, (0, 500), by_column=False)
    whole = rasterise([curve, outline, bitmap], SHAPE)
    cropped = ((1.0, 0.0, 7.0), (0.0, 1.0, 3.0))
    assert np.array_equal(rasterise([curve, outline, bitmap], (30, 35), cropped), whole[3:33, 7:42])
    assert np.array_equal(resampled(whole == 1, (30, 35), cropped), whole[3:33, 7:42] == 1)
    finer = ((0.5, 0.0, 0.0), (0.0, 0.5, 0.0))  # two pixels of the frame a pixel of the source
    fine = rasterise([curve], (80, 100), finer)
    scaled = rasterise([Curve(tuple(map(tuple, 2 * points)), 4.8)], (80, 100))
    assert np.array_equal(fine, scaled)


def test_a_spline_goes_through_its_points() -> None:
    control = np.array([(5.0, 5.0), (20.0, 12.0), (25.0, 30.0), (40.0, 33.0), (44.0, 20.0)])
    dense = np.array(curve_points("spline", tuple(map(tuple, control))))
    assert max(np.hypot(*(dense - point).T).min() for point in control) < 0.3
    (t, c, k), _ = interpolate.splprep(control.T, s=0)
    reference = np.stack(interpolate.splev(np.linspace(0, 1, 4000), (t, c, k)), axis=1)
    mask = rasterise([Curve(tuple(map(tuple, dense)), 2.0)], SHAPE)
    expected = rasterise([Curve(tuple(map(tuple, reference)), 2.0)], SHAPE)
    assert int((mask != expected).sum()) <= 1
    assert curve_points("spline", ((1.0, 1.0), (1.0, 1.0), (5.0, 5.0)))[-1] == pytest.approx((5.0, 5.0))


def test_a_b_spline_of_control_points_and_of_scipys_knots() -> None:
    control = np.array([(5.0, 5.0), (20.0, 2.0), (25.0, 30.0), (40.0, 33.0), (44.0, 20.0), (30.0, 8.0)])
    points = tuple(map(tuple, control))
    dense = np.array(curve_points("bspline", points))
    assert dense[0] == pytest.approx(control[0]) and dense[-1] == pytest.approx(control[-1])
    knots = [0, 0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1, 1]
    reference = interpolate.BSpline(np.array(knots), control, 3)(np.linspace(0, 1, 4000))
    assert max(np.hypot(*(reference - point).T).min() for point in dense) < 0.05
    again = curve_points("bspline", points, knots=knots, degree=3)
    assert np.allclose(again, dense)
    quadratic = np.array(curve_points("bspline", points[:4], knots=[0, 0, 0, 1, 2, 2, 2], degree=2))
    expected = interpolate.BSpline([0, 0, 0, 1, 2, 2, 2], control[:4], 2)(np.linspace(0, 2, 9))
    assert max(np.hypot(*(quadratic - point).T).min() for point in expected) < 0.3
    assert curve_points("bspline", points[:2])[0] == pytest.approx(points[0])
    assert curve_points("polyline", points) == points


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("circle", {}),
        ("polyline", {"knots": [0, 1]}),
        ("bspline", {"knots": [0, 1]}),
        ("bspline", {"knots": [0, 0, 0, 0, 1, 0.5, 1, 1, 1, 1]}),
        ("bspline", {"knots": [0.0] * 10}),
        ("bspline", {"knots": [0, 0, 0, 0, float("nan"), 1, 1, 1, 1, 1]}),
        ("bspline", {"knots": [0.0] * 20, "degree": 13}),
    ],
)
def test_curves_that_are_none(kind: str, settings: dict) -> None:
    points = tuple((float(k), float(k * k)) for k in range(6))
    with pytest.raises(ValueError, match=r".+"):
        curve_points(kind, points, **settings)
    with pytest.raises(ValueError, match="one point"):
        curve_points("spline", ((1.0, 1.0), (1.0, 1.0)))


@pytest.mark.parametrize(
    "values",
    [
        [(1, 2)],
        [(0, 0)] * 5000,
        [(0, 0), (1e6, 0)],
        [(0, 0), (float("nan"), 1)],
        [(0, 0, 0), (1, 1, 1)],
        ["ab"],
    ],
)
def test_points_that_are_none(values: list) -> None:
    with pytest.raises(ValueError, match=r".+"):
        checked_points(values, 2)


@pytest.mark.parametrize("width", [0, -1, float("nan"), 1e6, True, "wide"])
def test_widths_that_are_none(width: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        checked_width(width)
