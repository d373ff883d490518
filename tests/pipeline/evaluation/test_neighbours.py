import numpy as np
import pytest
import torch
from toy import toy_clips

from sfvd_pl.datasets.windows import Window
from sfvd_pl.metrics.memorisation.views import ORIENTATIONS, PAD_PX
from sfvd_pl.networks.features import NetworkSpace
from sfvd_pl.pipeline.evaluation.neighbours import DOMAIN, Neighbours

CLIPS = [clip.image.astype(np.float32) / 255 for clip in toy_clips()]
PATIENTS = [clip.patient for clip in toy_clips()]
WINDOW = 32


def shrunk(images: torch.Tensor) -> torch.Tensor:
    """A stand-in for a network: the picture itself, four times smaller."""
    return torch.nn.functional.avg_pool2d(images, 4).flatten(1)


@pytest.fixture(scope="module")
def neighbours() -> Neighbours:
    space = NetworkSpace(DOMAIN, "frame", 64, "0" * 64, "none", shrunk, torch.device("cpu"))
    found = Neighbours(space, WINDOW)
    for piece, (clip, patient) in enumerate(zip(CLIPS, PATIENTS, strict=True)):
        found.add(piece, patient, clip)
    return found


@pytest.mark.parametrize("number", range(8))
def test_a_window_on_the_grid_is_found_in_every_orientation(neighbours: Neighbours, number: int) -> None:
    way = ORIENTATIONS[number]
    window = Window(16, 0, WINDOW, way.quarter_turns, way.mirrored)
    query = np.asarray(window.cut(CLIPS[number][1:6]), np.float32)
    score = neighbours.scores([query], [""])[0]
    match = score.match
    assert match is not None and (match.clip, match.orientation) == (number, way)
    assert (match.row, match.column) == (32 + PAD_PX, PAD_PX)  # the working scale is twice this one
    assert match.frame + 1 == match.training_frame == 3
    assert match.similarity == pytest.approx(1, abs=1e-5)
    assert neighbours.level.shown(score.value) == pytest.approx(0.9999, abs=1e-4)


def test_the_nearest_is_that_of_a_brute_force_search(neighbours: Neighbours) -> None:
    query = np.asarray(Window(5, 9, WINDOW).cut(CLIPS[3][2:3]), np.float32)
    spots = [
        (piece, top, left) for piece in range(len(CLIPS)) for top in (0, 16) for left in (0, 16)
    ]
    windows = [CLIPS[p][3, top : top + WINDOW, left : left + WINDOW] for p, top, left in spots]
    vectors = shrunk(torch.from_numpy(np.stack(windows))[:, None]).numpy()
    asked = shrunk(torch.from_numpy(np.stack([w.undo(query[0]).copy() for w in ORIENTATIONS]))[:, None]).numpy()
    one, two = asked - vectors.mean(0), vectors - vectors.mean(0)
    cosine = (one @ two.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(two, axis=1)
    match = neighbours.scores([query], [""])[0].match
    assert match is not None and match.similarity == pytest.approx(cosine.max(), abs=1e-5)
    assert match.clip == spots[int(cosine.max(0).argmax())][0]


def test_a_patients_own_windows_can_be_left_out(neighbours: Neighbours) -> None:
    query = np.asarray(Window(0, 0, WINDOW).cut(CLIPS[0]), np.float32)
    match = neighbours.scores([query], [PATIENTS[0]])[0].match
    assert match is not None and PATIENTS[match.clip] != PATIENTS[0] and match.similarity < 0.999
    alone = Neighbours(neighbours.space, WINDOW)
    alone.add(0, "p", CLIPS[0])
    score = alone.scores([query], ["p"])[0]
    assert score.match is None and np.isnan(score.value)
