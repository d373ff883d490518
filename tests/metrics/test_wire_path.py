"""The centreline's pixels in order."""

import numpy as np
import pytest
from wire_shapes import SHAPES

from sfvd_pl.metrics.wire import GAP_PX, skeleton, wire_ends, wire_path


@pytest.mark.parametrize("name", SHAPES)
def test_a_path_leads_from_end_to_end_along_the_centreline(name: str) -> None:
    mask = SHAPES[name]
    path, line = wire_path(mask), skeleton(mask)
    assert wire_ends(mask) == pytest.approx(path[[0, -1]] if len(path) else path)
    assert all(line[int(row), int(column)] for row, column in path)
    assert len(np.unique(path, axis=0)) == len(path)
    assert (np.linalg.norm(np.diff(path, axis=0), axis=1) <= GAP_PX).all()


def test_a_side_branch_is_left_out() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[5:28, 15] = 1
    mask[12, 15:20] = 1
    path = wire_path(mask)
    assert sorted(path[[0, -1], 0]) == [5, 27]
    assert (np.abs(np.diff(path[:, 0])) == 1).all() and path[:, 1].max() <= 16
