"""The training clip, window and frame that a clip is nearest to.

Two steps. Coarse: the query's mean over time and a few of its frames, in all eight orientations, against every window
of every training frame, as one matrix product a training clip; it only proposes places. Close: the proposals at the
working scale, to a pixel, every frame of the query against every frame of the training clip.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sfvd_pl.metrics.memorisation.bank import Bank, Entry
from sfvd_pl.metrics.memorisation.views import (
    MARGIN_PX,
    ORIENTATIONS,
    REDUCTION,
    STEP,
    WORKING_PX,
    Orientation,
    View,
    query_frames,
)

PROPOSALS = 6
"""Training clips that are looked at closely for each kind of proposal."""
RIVALS = 2
"""The same of patients other than the likeliest one's: what chance reaches."""
REACH_PX = 6
"""Shifts around a proposed place that are tried."""
BLOCK_VALUES = 1 << 23
"""Correlations of one matrix product: 32 MB in float32."""
INNER = WORKING_PX - 2 * MARGIN_PX
"""Side of what is compared of a window."""
COARSE_RIM = MARGIN_PX // REDUCTION
COARSE_INNER = INNER // REDUCTION

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Match:
    """Where a likeness was found.

    Attributes:
        similarity: Correlation, or cosine, -1..1.
        rival: Mean similarity of the other training clips that were looked at closely, the nearest places of each: what
            this query has in common with clips that it can't be a copy of as well. NaN where there is no other.
        clip: Number of the training clip in the bank.
        frame: Frame of the query; the first where the whole clip is meant.
        training_frame: Frame of the bank's clip that it is like.
        orientation: How the training window was turned and mirrored.
        row: Upper edge of the window in the padded training frame, working pixels.
        column: Its left edge.
    """

    similarity: float
    rival: float
    clip: int
    frame: int
    training_frame: int
    orientation: Orientation
    row: int
    column: int


@dataclass(frozen=True)
class Nearest:
    """The nearest of all training clips, for each channel.

    Attributes:
        frame: The most alike pair of frames.
        clip: The most alike stretch of consecutive frames, by the mean over the frames.
    """

    frame: tuple[Match, ...]
    clip: tuple[Match, ...]


@dataclass(frozen=True)
class Query:
    """A clip to look for.

    Attributes:
        view: At the working scale, ``WORKING_PX`` wide and high.
        patient: Whose training clips are left out; empty leaves out none.
    """

    view: View
    patient: str = ""


@dataclass(frozen=True)
class _Place:
    """A proposal; frames are None where the mean over time proposed it."""

    score: float
    clip: int
    orientation: int
    row: int
    column: int
    frame: int | None = None
    training_frame: int | None = None


def find_nearest(bank: Bank, queries: Sequence[Query], *, workers: int = 1) -> list[Nearest | None]:
    """The nearest training clips of some queries.

    Args:
        bank: Training clips, of the same kind of view.
        queries: As many as memory may hold: about 60 kB each here, beside their views.
        workers: Threads.

    Returns:
        One a query; None where its patient's clips are the only ones.
    """
    templates = [_templates(query.view) for query in queries]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(pool.map(lambda clip: _propose(bank, clip, queries, templates), range(len(bank))))
        chosen = [_best(bank, [table[k] for table in found]) for k in range(len(queries))]
        return list(pool.map(lambda pair: _close(bank, *pair), zip(queries, chosen, strict=True)))


def _templates(view: View) -> Singles:
    """Coarse templates ``frames orientations pixels`` of unit length, 0 where nothing is seen; the mean's last."""
    frames = [*query_frames(len(view)), len(view)]
    rim = np.s_[..., COARSE_RIM:-COARSE_RIM, COARSE_RIM:-COARSE_RIM]
    # The later frames, and the mean, keep their wire: where its margin is most of a window, little else is left to
    # go by. The others don't, for a copy behind another wire.
    used = view.used[[min(frame, len(view) - 1) for frame in frames]].copy()
    used[2:] = True
    side = WORKING_PX // REDUCTION
    weight = used.reshape(len(frames), side, REDUCTION, side, REDUCTION).mean((2, 4)) > 0.5
    picture = view.coarse[frames]
    out = []
    for orientation in ORIENTATIONS:
        flat = np.ascontiguousarray(orientation.undo(picture)[rim]).reshape(len(frames), -1)
        kept = np.ascontiguousarray(orientation.undo(weight)[rim]).reshape(len(frames), -1)
        out.append(_unit(flat, kept, view.centred))
    return np.stack(out, axis=1)


def _unit(flat: Singles, kept: npt.NDArray[np.bool_], centred: bool) -> Singles:
    """Rows without their mean where they are kept, 0 elsewhere, of unit length."""
    if centred:
        flat = flat - (flat * kept).sum(1, keepdims=True) / np.maximum(kept.sum(1, keepdims=True), 1)
    flat = flat * kept
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-3, flat / np.maximum(length, 1e-3), 0), np.float32)


def _windows(coarse: npt.NDArray[np.float16], centred: bool) -> tuple[Singles, tuple[int, int]]:
    """All windows of some frames, ``(frames rows columns) pixels`` of unit length; how many rows and columns."""
    views = np.lib.stride_tricks.sliding_window_view(
        np.asarray(coarse, np.float32), (COARSE_INNER, COARSE_INNER), axis=(1, 2)
    )
    flat = views.reshape(-1, COARSE_INNER**2)
    if centred:
        flat = flat - flat.mean(1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", flat, flat))[:, None]
    return np.asarray(flat / np.maximum(length, 1e-3), np.float32), (views.shape[1], views.shape[2])


def _propose(
    bank: Bank, clip: int, queries: Sequence[Query], templates: Sequence[Singles]
) -> list[tuple[_Place, ...] | None]:
    """The likeliest places in one training clip for each query; None for its own patient's."""
    entry = bank[clip]
    rows, (height, width) = _windows(entry.coarse[:-1:STEP], bank.centred)
    still, _ = _windows(entry.coarse[-1:], bank.centred)
    asking = [k for k, query in enumerate(queries) if query.patient == "" or query.patient != entry.patient]
    out: list[tuple[_Place, ...] | None] = [None] * len(queries)
    step = max(1, BLOCK_VALUES // (len(ORIENTATIONS) * 4 * len(rows)))
    for start in range(0, len(asking), step):
        block = asking[start : start + step]
        product = np.concatenate([templates[k][:-1].reshape(-1, rows.shape[1]) for k in block]) @ rows.T
        means = np.stack([templates[k][-1] for k in block]) @ still.T
        done = 0
        for k, mean in zip(block, means, strict=True):
            frames = query_frames(len(queries[k].view))
            count = len(frames) * len(ORIENTATIONS)
            shape = (len(frames), len(ORIENTATIONS), -1, height, width)
            table = product[done : done + count].reshape(shape)
            still_place = _peak(mean.reshape(len(ORIENTATIONS), height, width))
            out[k] = (
                _Place(still_place[0], clip, *still_place[1]),
                *_places(table, clip, frames, len(queries[k].view)),
            )
            done += count
    return out


def _peak(table: npt.NDArray[np.float32]) -> tuple[float, tuple[int, ...]]:
    """The greatest value and where it is."""
    place = int(table.argmax())
    return float(table.flat[place]), tuple(int(i) for i in np.unravel_index(place, table.shape))


def _places(table: Singles, clip: int, frames: list[int], length: int) -> tuple[_Place, _Place]:
    """Best entries of ``frames orientations training_frames rows columns``: along time, and of single frames.

    The training frames are every ``STEP``-th, so places in time are found to ``STEP`` frames.
    """
    score, (t, orientation, at, row, column) = _peak(table)
    single = _Place(score, clip, orientation, row, column, frames[t], STEP * at)
    steps = [frame // STEP for frame in frames]
    starts = max(1, table.shape[2] - (length - 1) // STEP)
    inside = [j for j, step in enumerate(steps) if step + starts <= table.shape[2]]
    total = sum(table[j, :, steps[j] : steps[j] + starts] for j in inside)
    score, (orientation, at, row, column) = _peak(np.asarray(total))
    return _Place(score / len(inside), clip, orientation, row, column, 0, STEP * at), single


def _best(bank: Bank, found: list[tuple[_Place, ...] | None]) -> list[_Place]:
    """The places that are worth a close look, each once."""
    chosen: dict[_Place, None] = {}
    for kind in range(3):
        ranked = sorted((places[kind] for places in found if places is not None), key=lambda p: -p.score)
        others = [p for p in ranked if bank[p.clip].patient != bank[ranked[0].clip].patient]
        # Two kinds may propose one place at different times: what lies there is told by the frames that proposed it.
        chosen |= dict.fromkeys([*ranked[:PROPOSALS], *others[:RIVALS]])
    return list(chosen)


def _close(bank: Bank, query: Query, places: list[_Place]) -> Nearest | None:
    """The nearest of the proposals, looked at closely."""
    if not places:
        return None
    looks = [_look(bank[place.clip], query.view, place) for place in places]
    frames = [_nearest_of(matches) for matches in zip(*(frames for frames, _ in looks), strict=True)]
    clips = [_nearest_of(matches) for matches in zip(*(clips for _, clips in looks), strict=True)]
    return Nearest(tuple(frames), tuple(clips))


def _nearest_of(matches: Sequence[Match]) -> Match:
    best = max(matches, key=lambda match: match.similarity)
    others: dict[int, float] = {}
    for match in matches:
        if match.clip != best.clip:
            others[match.clip] = max(match.similarity, others.get(match.clip, -1.0))
    return replace(best, rival=float(np.mean(list(others.values()))) if others else float("nan"))


class _Template:
    """Frames of one channel of a query in one orientation, ready to be held against windows."""

    def __init__(self, channel: Singles, used: npt.NDArray[np.bool_], orientation: Orientation, centred: bool) -> None:
        inner = np.s_[..., MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        flat = np.ascontiguousarray(orientation.undo(channel)[inner]).reshape(len(channel), -1)
        kept = np.ascontiguousarray(orientation.undo(used)[inner]).reshape(len(channel), -1)
        self._unit, self._kept, self._centred = _unit(flat, kept, centred), kept.astype(np.float32), centred

    def against(self, windows: Singles) -> Singles:
        """Similarities ``frames windows`` with ``windows pixels``, over the pixels that count in each frame."""
        energy = self._kept @ (windows * windows).T
        if self._centred:
            energy -= (self._kept @ windows.T) ** 2 / np.maximum(self._kept.sum(1, keepdims=True), 1)
        found = self._unit @ windows.T
        return np.asarray(np.where(energy > 1e-2, found / np.sqrt(np.maximum(energy, 1e-2)), 0), np.float32)


def _look(entry: Entry, view: View, place: _Place) -> tuple[list[Match], list[Match]]:
    """Compare closely at one proposed place: best frames, and best stretch, of each channel."""
    orientation = ORIENTATIONS[place.orientation]
    row, column = _placed(entry, view, place, orientation)
    frames, clips = [], []
    for channel, training in zip(view.fine, entry.fine, strict=True):
        windows = np.asarray(training[:, row : row + INNER, column : column + INNER], np.float32)
        table = _Template(channel, view.used, orientation, view.centred).against(windows.reshape(len(windows), -1))
        where = (orientation, row - MARGIN_PX, column - MARGIN_PX)
        similarity, (t, at) = _peak(table)
        frames.append(Match(similarity, float("nan"), place.clip, t, at, *where))
        similarity, at = max(_stretches(table))
        clips.append(Match(similarity, float("nan"), place.clip, 0, at, *where))
    return frames, clips


def _stretches(table: Singles) -> Iterator[tuple[float, int]]:
    """Means of ``table[t, at + t]``, and ``at``: every stretch that holds the query, or all of a shorter clip."""
    length, training = table.shape
    count = min(length, training)
    for at in range(max(1, training - length + 1)):
        yield float(table[np.arange(count), at + np.arange(count)].mean()), at


def _placed(entry: Entry, view: View, place: _Place, orientation: Orientation) -> tuple[int, int]:
    """Upper left corner, to a pixel, of what is compared in the training frame, by what proposed it."""
    if place.frame is None or place.training_frame is None:
        always: npt.NDArray[np.bool_] = np.asarray(view.used.all(0, keepdims=True))
        pairs = [(view.still, always, entry.still[0])]
    else:
        last = min(len(view) - place.frame, len(entry) - place.training_frame) - 1
        pairs = [
            (view.fine[0][t : t + 1], view.used[t : t + 1], entry.fine[0][place.training_frame + step])
            for step in sorted({0, last})
            for t in [place.frame + step]
        ]
    height, width = entry.still.shape[1:]
    top = int(np.clip(REDUCTION * place.row - REACH_PX, 0, height - INNER))
    left = int(np.clip(REDUCTION * place.column - REACH_PX, 0, width - INNER))
    bottom = min(height, REDUCTION * place.row + REACH_PX + INNER)
    right = min(width, REDUCTION * place.column + REACH_PX + INNER)
    tables = []
    for frame, used, training in pairs:
        part = np.asarray(training[top:bottom, left:right], np.float32)
        shifted = np.lib.stride_tricks.sliding_window_view(part, (INNER, INNER))
        template = _Template(frame, used, orientation, view.centred)
        tables.append(template.against(shifted.reshape(-1, INNER**2)).reshape(shifted.shape[:2]))
    _, (row, column) = _peak(np.asarray(sum(tables)))
    return top + row, left + column
