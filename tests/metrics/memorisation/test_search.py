"""The search against a brute-force one, on clips whose answer is known."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import match_template
from toy import toy_clips

from sfvd_pl.datasets.windows import Window
from sfvd_pl.metrics.memorisation.bank import Bank
from sfvd_pl.metrics.memorisation.search import Nearest, Query, find_nearest
from sfvd_pl.metrics.memorisation.views import (
    MARGIN_PX,
    ORIENTATIONS,
    PAD_PX,
    padded,
    picture_view,
    wire_view,
)

T = 4


def grown(frames: np.ndarray) -> np.ndarray:
    """A toy clip twice as large: 96 x 96, so that windows of 64 lie in many places."""
    return np.kron(frames, np.ones((1, 2, 2))).astype(np.float32)


CLIPS = [grown(clip.image) for clip in toy_clips()]
NOISE = np.random.default_rng(0)
CLIPS = [clip + NOISE.normal(0, 4, clip.shape).astype(np.float32) for clip in CLIPS]
PATIENTS = [clip.patient for clip in toy_clips()]


@pytest.fixture(scope="module")
def bank() -> Iterator[Bank]:
    with Bank() as made:
        for number, (clip, patient) in enumerate(zip(CLIPS, PATIENTS, strict=True)):
            made.add(picture_view(padded(clip)), name=f"c{number}", patient=patient)
        yield made


def cut(clip: int, top: int, left: int, first: int, orientation: int) -> np.ndarray:
    way = ORIENTATIONS[orientation]
    window = Window(top, left, 64, way.quarter_turns, way.mirrored)
    return np.asarray(window.cut(CLIPS[clip][first : first + T]), np.float32)


def nearest(bank: Bank, image: np.ndarray, patient: str = "") -> Nearest:
    found = find_nearest(bank, [Query(picture_view(image), patient)])[0]
    assert found is not None
    return found


@pytest.mark.parametrize("orientation", range(8))
def test_a_window_is_found_where_it_was_cut(bank: Bank, orientation: int) -> None:
    clip, top, left, first = orientation, 5 + orientation, 21, orientation % 3
    found = nearest(bank, cut(clip, top, left, first, orientation))
    for match in (*found.frame, *found.clip):
        assert (match.clip, match.orientation) == (clip, ORIENTATIONS[orientation])
        assert (match.row, match.column) == (top + PAD_PX, left + PAD_PX)
        assert match.training_frame - match.frame == first
        assert match.similarity > 0.75  # of the grain: the means of four frames and of six are taken away
    assert found.frame[0].similarity > 0.98
    assert found.clip[1].rival < 0.3


def test_similarities_are_those_of_an_independent_implementation(bank: Bank) -> None:
    query = cut(2, 7, 9, 1, 0) + np.random.default_rng(1).normal(0, 8, (T, 64, 64)).astype(np.float32)
    view, entry = picture_view(query), bank[2]
    match = nearest(bank, query).frame[0]
    inside = np.s_[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    scores = [
        [match_template(np.asarray(frame, float), picture[inside]).max() for frame in entry.fine[0]]
        for picture in view.fine[0]
    ]
    assert match.similarity == pytest.approx(np.max(scores), abs=2e-3)
    assert np.unravel_index(np.argmax(scores), (T, 6)) == (match.frame, match.training_frame)


def test_a_copy_behind_another_wire_is_found_by_the_rest(bank: Bank) -> None:
    image, mask = cut(4, 10, 12, 0, 3), np.zeros((T, 64, 64), np.uint8)
    mask[:, 30:33, 5:60] = 1
    image = np.where(mask, image.min() - 60, image)
    found = find_nearest(bank, [Query(picture_view(image, mask))])[0]
    assert found is not None and bank[found.clip[0].clip].name == "c4" and found.clip[0].similarity > 0.9


def test_a_patients_own_clips_can_be_left_out(bank: Bank) -> None:
    image = cut(0, 4, 4, 0, 0)
    found = nearest(bank, image, PATIENTS[0])
    assert bank[found.clip[0].clip].patient != PATIENTS[0]
    assert found.clip[0].similarity < 0.7 and found.clip[1].similarity < 0.3
    with Bank() as only:
        only.add(picture_view(padded(CLIPS[0])), name="c0", patient=PATIENTS[0])
        assert find_nearest(only, [Query(picture_view(image), PATIENTS[0])]) == [None]
        assert np.isnan(nearest(only, image).clip[0].rival)


def test_a_copy_of_a_clip_whose_frames_are_all_differ_is_found() -> None:
    rng = np.random.default_rng(4)
    moving = 20 * ndimage.gaussian_filter(rng.normal(0, 60, (12, 96, 96)), (0, 3, 3))
    with Bank() as bank:
        bank.add(picture_view(padded(moving.astype(np.float32))), name="moving", patient="p")
        for first in range(9):
            found = nearest(bank, moving[first : first + T, 17:81, 11:75].astype(np.float32))
            match = found.frame[0]
            assert (match.row - PAD_PX, match.column - PAD_PX) == (17, 11)
            assert match.training_frame - match.frame == first and match.similarity > 0.97


def test_threads_and_company_change_nothing(bank: Bank) -> None:
    queries = [Query(picture_view(cut(k, 3 * k, k, 1, k))) for k in range(4)]
    together = find_nearest(bank, queries, workers=3)
    alone = [find_nearest(bank, [query])[0] for query in queries]
    for one, two in zip(together, alone, strict=True):
        assert one is not None and two is not None
        for match, other in zip((*one.frame, *one.clip), (*two.frame, *two.clip), strict=True):
            assert (match.clip, match.row, match.column) == (other.clip, other.row, other.column)
            assert match.similarity == pytest.approx(other.similarity, abs=1e-5)


def test_a_training_clip_may_be_shorter_than_the_query_or_smaller_than_a_window() -> None:
    with Bank() as bank:
        bank.add(picture_view(padded(CLIPS[0][:2])), name="short", patient="a")
        bank.add(picture_view(padded(CLIPS[1][:, :40, :40])), name="small", patient="b")
        bank.add(picture_view(padded(CLIPS[2][:1])), name="one", patient="c")
        assert bank[nearest(bank, cut(0, 9, 9, 0, 5)).clip[0].clip].name == "short"
        assert bank[nearest(bank, cut(2, 9, 9, 0, 5)[:1]).clip[0].clip].name == "one"


def test_the_folder_is_gone_afterwards() -> None:
    with Bank() as bank:
        bank.add(picture_view(padded(CLIPS[0])), name="c", patient="p")
        folder = bank.folder
        assert any(folder.iterdir()) and bank.frames == 6
    assert not folder.exists()


def test_a_wires_course_is_found_elsewhere_in_the_window() -> None:
    rows, shapes = np.arange(96), []
    for bend in (4.0, 9.0, 14.0):
        mask = np.zeros((T, 96, 96), np.uint8)
        for t in range(T):
            columns = np.rint(48 + bend * np.sin(rows / 12 + t / 3)).astype(int)
            mask[t, rows, columns] = mask[t, rows, columns + 1] = 1
        shapes.append(mask)
    with Bank() as bank:
        for number, mask in enumerate(shapes):
            bank.add(wire_view(padded(mask.astype(np.float32), mode="constant")), name=str(number), patient="p")
        window = np.ascontiguousarray(Window(13, 17, 64, 1, True).cut(shapes[1])).astype(np.uint8)
        found = find_nearest(bank, [Query(wire_view(window))])[0]
        assert found is not None
        match = found.clip[0]
        assert (match.clip, match.row - PAD_PX, match.column - PAD_PX) == (1, 13, 17)
        assert match.similarity > 0.97 > match.rival
