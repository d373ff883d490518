import numpy as np

from sfvd_pl.metrics.quality.likeness import LENGTH, NEAREST, ZOOMS, Likeness


def _like(direction: int, share: float, noise: int) -> np.ndarray:
    """A description of unit length whose correlation with its patient's direction is ``share``."""
    one = np.zeros(LENGTH, np.float32)
    one[direction], one[noise] = share, np.sqrt(1 - share**2)
    return one


def _add(likeness: Likeness, described: np.ndarray) -> None:
    queries = np.repeat(described[None, None], 2 * len(ZOOMS), axis=1)
    likeness.add(described[None], queries, [0])


def test_many_runs_of_a_patient_leave_a_place_to_a_copy_under_another_name() -> None:
    """Both clips of the pair have more look-alikes of their own patients than are looked at."""
    likeness, patients = Likeness(), []
    for patient, direction in (("a", 0), ("b", 1)):
        for _ in range(NEAREST + 3):
            _add(likeness, _like(direction, 0.98, 10 + len(patients)))
            patients.append(patient)
    for patient, own in (("a", 0), ("b", 1)):  # nearer to its own patient's runs (0.86) than to its copy (0.84)
        pair = np.zeros(LENGTH, np.float32)
        pair[own], pair[1 - own] = 0.88, np.sqrt(1 - 0.88**2)
        _add(likeness, pair)
        patients.append(patient)
    found = {(c.first, c.second) for c in likeness.candidates(patients)}
    assert (len(patients) - 2, len(patients) - 1) in found
    assert max(sum(k in pair for pair in found) for k in range(len(patients))) > NEAREST


def test_one_clip_has_no_candidates_and_every_pair_comes_once() -> None:
    likeness = Likeness()
    _add(likeness, _like(0, 0.9, 10))
    assert list(likeness.candidates(["a"])) == []
    for number in range(4):
        _add(likeness, _like(0, 0.9, 11 + number))
    pairs = [(c.first, c.second) for c in likeness.candidates(["a", "a", "b", "b", "c"])]
    assert sorted(pairs) == [(i, j) for i in range(5) for j in range(i + 1, 5)]
