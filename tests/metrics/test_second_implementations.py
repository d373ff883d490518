"""Every measure of segmentation against its second implementation, on random and on adversarial masks.

``pytest -s`` prints the largest differences as a table.
"""

import itertools
from collections import defaultdict

import numpy as np
import pytest
import second
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import HausdorffDistanceMetric, MeanIoU, SurfaceDistanceMetric
from wire_shapes import SHAPES

from sfvd_pl.metrics.scores import MEASURES, PCK_MM, PCK_PX, score_frame
from sfvd_pl.metrics.segmentation import surface_distances
from sfvd_pl.metrics.wire import Wire, wire_ends, wire_path

SPACING = 0.3
ADVERSARIAL = [(a > 0, b > 0) for a, b in itertools.product(SHAPES.values(), repeat=2)]
RANDOM = second.random_pairs(50)
SMALL = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def compare(found: np.ndarray, wire: np.ndarray) -> dict[str, float]:
    """Absolute difference of each measure; of several equally long wires in a mask, the choice nearest to ours."""
    ours = score_frame(found, wire, spacing_mm=SPACING)
    hd95, assd = second.surface_distances(found, wire)
    theirs = {
        "dice": second.dice(found, wire),
        "iou": second.iou(found, wire),
        "cldice": second.cldice(found, wire),
        "hd95_px": hd95,
        "hd95_mm": hd95 * SPACING,
        "assd_px": assd,
        "assd_mm": assd * SPACING,
        "length_ratio": second.length(found) / second.length(wire) if wire.any() else np.nan,
        "false_components": second.false_components(found, wire),
    }
    gaps = {name: gap(ours[name], value) for name, value in theirs.items()}
    if not (second.exactly_found(found) and second.exactly_found(wire)):
        return gaps
    choices = [tips(distances, wire.shape) for distances in second.tip_distances(found, wire)]
    gaps.update(
        min(
            ({name: gap(ours[name], value) for name, value in choice.items()} for choice in choices),
            key=lambda each: max(each.values()),
        )
    )
    assert set(gaps) == set(MEASURES)
    return gaps


def tips(distances: np.ndarray, shape: tuple[int, ...]) -> dict[str, float]:
    if not distances.size:
        names = [*(f"pck_{k}px" for k in PCK_PX), *(f"pck_{k}mm" for k in PCK_MM)]
        return dict.fromkeys(["tip_error_px", "tip_error_mm", *names], np.nan)
    error = np.where(np.isinf(distances), np.hypot(*shape), distances).mean()
    within = {f"pck_{k}px": np.mean(distances <= k) for k in PCK_PX}
    within |= {f"pck_{k}mm": np.mean(distances * SPACING <= k) for k in PCK_MM}
    return {"tip_error_px": error, "tip_error_mm": error * SPACING, **within}


def gap(ours: float, theirs: float) -> float:
    if np.isnan(ours) and np.isnan(theirs):
        return 0.0
    return float("inf") if np.isnan(ours) or np.isnan(theirs) else abs(float(ours) - float(theirs))


def test_all_measures_agree_on_random_and_adversarial_masks() -> None:
    table: dict[str, dict[str, list[float]]] = {}
    for title, pairs in (("adversarial", ADVERSARIAL), ("random", RANDOM)):
        columns = defaultdict(list)
        for found, wire in pairs:
            for name, value in compare(found, wire).items():
                columns[name].append(value)
        table[title] = columns
    print(f"\n{'measure':18}" + "".join(f"{title + ', pairs':>20}{'difference':>12}" for title in table))
    for name in MEASURES:
        print(f"{name:18}" + "".join(f"{len(c[name]):20}{max(c[name]):12.0e}" for c in table.values()))
    assert all(len(columns["tip_error_px"]) >= 30 for columns in table.values())
    worst = {(title, name): max(columns[name]) for title, columns in table.items() for name in MEASURES}
    assert max(worst.values()) < 1e-9, {key: value for key, value in worst.items() if value >= 1e-9}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_all_measures_but_the_tips_agree_on_any_small_masks(data: st.DataObject) -> None:
    found = data.draw(SMALL)
    wire = data.draw(hnp.arrays(bool, found.shape))
    ours = score_frame(found, wire)
    assert ours["dice"] == pytest.approx(second.dice(found, wire))
    assert ours["iou"] == pytest.approx(second.iou(found, wire))
    assert ours["cldice"] == pytest.approx(second.cldice(found, wire))
    assert (ours["hd95_px"], ours["assd_px"]) == pytest.approx(second.surface_distances(found, wire))
    assert ours["false_components"] == second.false_components(found, wire)
    assert Wire(found).length == pytest.approx(second.length(found))


@settings(max_examples=100, deadline=None)
@given(SMALL)
def test_the_ends_are_ends_of_a_longest_way_through_the_largest_part(mask: np.ndarray) -> None:
    path = wire_path(mask)
    if not mask.any():
        assert path.shape == (0, 2)
        return
    np.testing.assert_array_equal(wire_ends(mask), path[[0, -1]])
    points, _, ways = second.graph(mask)
    number = {tuple(point): k for k, point in enumerate(points)}
    at = [number[tuple(point)] for point in path]
    steps = [ways[a, b] for a, b in itertools.pairwise(at)]
    # A way through the graph, no shorter way leads from end to end, and its part is a largest one.
    assert sum(steps) == pytest.approx(ways[at[0], at[-1]])
    sizes = np.isfinite(ways).sum(axis=1)
    assert sizes[at[0]] == sizes.max()
    # Two sweeps may miss the longest way where there are loops, but never by more than half.
    share = 1 if second.exactly_found(mask) else 0.5
    assert sum(steps) >= share * second.furthest(mask)[0] - 1e-9


@pytest.mark.parametrize("pixels_per_point", [0, 10**9], ids=["tree", "transform"])
def test_both_ways_to_the_nearest_surface_are_exact(pixels_per_point: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfvd_pl.metrics.segmentation._PIXELS_PER_POINT", pixels_per_point)
    for found, wire in [*ADVERSARIAL, *RANDOM[::2]]:
        assert surface_distances(found, wire) == pytest.approx(second.surface_distances(found, wire))


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")
def test_overlap_and_surfaces_agree_with_monai() -> None:
    pairs = [pair for pair in [*ADVERSARIAL, *RANDOM[::3]] if pair[0].any() and pair[1].any()]
    hausdorff = HausdorffDistanceMetric(include_background=True, percentile=95)
    mean_distance = SurfaceDistanceMetric(include_background=True, symmetric=True)
    for found, wire in pairs:
        # Away from the frame's border, where MONAI's surfaces are defined differently.
        batch = [torch.from_numpy(np.pad(mask, 4))[None, None].float() for mask in (found, wire)]
        ours = score_frame(found, wire)
        assert ours["iou"] == pytest.approx(MeanIoU(include_background=True)(*batch).item(), abs=1e-6)
        assert ours["hd95_px"] == pytest.approx(hausdorff(*batch).item(), abs=1e-4)
        assert ours["assd_px"] == pytest.approx(mean_distance(*batch).item(), abs=1e-4)
