"""The nearest training frame of a clip in a learned feature space."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sfvd_pl.datasets.windows import Window
from sfvd_pl.metrics.memorisation.calibration import fisher
from sfvd_pl.metrics.memorisation.scores import NO_SCORE, Level, Score
from sfvd_pl.metrics.memorisation.search import Match
from sfvd_pl.metrics.memorisation.views import ORIENTATIONS, PAD_PX, WORKING_PX
from sfvd_pl.networks.features import FeatureSpace

DOMAIN = "domain-frames"
"""The space that is searched: a small network of this domain. A large one of photographs takes minutes on a CPU."""
TRAINING_FRAMES = 1
"""Frames of a piece of a training clip that are embedded."""
QUERY_FRAMES = 1
"""Frames of a query that are embedded, in all eight orientations."""
BATCH = 64
"""Windows that are embedded at once."""


@dataclass(frozen=True)
class _Spot:
    piece: int
    frame: int
    top: int
    left: int


class Neighbours:
    """Windows of training frames in a feature space of frames, on a grid of half a window.

    Args:
        space: The space.
        window: Side of a window, pixels.
    """

    def __init__(self, space: FeatureSpace, window: int) -> None:
        self.space = space
        self.window = window
        self.level = Level(
            f"features: {space.name}", "frame", space.name, "cosine of the features of the most alike frames", _cosine
        )
        self._spots: list[_Spot] = []
        self._patients: list[str] = []
        self._vectors: list[NDArray[np.float32]] = []
        self._table: NDArray[np.float32] | None = None
        self._mean = np.zeros(space.num_features, np.float32)

    def add(self, piece: int, patient: str, image: NDArray[np.float32]) -> None:
        """Add a piece of a training clip, ``T H W`` in 0..1, by its number in the bank."""
        frames = _spread(len(image), TRAINING_FRAMES)
        rows, columns = (_grid(side, self.window) for side in image.shape[1:])
        places = [(top, left) for top in rows for left in columns]
        windows = [Window(*place, self.window).cut(image[frame]) for frame in frames for place in places]
        self._vectors.append(self._embedded(windows))
        self._spots += [_Spot(piece, frame, *place) for frame in frames for place in places]
        self._patients += [patient] * len(windows)

    def scores(self, images: Sequence[NDArray[np.float32]], owners: Sequence[str]) -> list[Score]:
        """How near each of some clips, ``T W W`` in 0..1, comes to a training frame not of its owner's."""
        if self._table is None:
            vectors = np.concatenate(self._vectors)
            self._mean = vectors.mean(0)
            self._table = _unit(vectors - self._mean)
        patients = np.array(self._patients)
        found = []
        for image, owner in zip(images, owners, strict=True):
            frames = _spread(len(image), QUERY_FRAMES)
            turned = [orientation.undo(image[frame]) for frame in frames for orientation in ORIENTATIONS]
            cosine = _unit(self._embedded(turned) - self._mean) @ self._table.T
            cosine[:, patients == owner] = -np.inf
            row, column = np.unravel_index(int(cosine.argmax()), cosine.shape)
            best = float(cosine[row, column])
            if not np.isfinite(best):
                found.append(NO_SCORE)
                continue
            spot, scale = self._spots[int(column)], WORKING_PX / self.window
            match = Match(
                similarity=best,
                rival=float("nan"),
                clip=spot.piece,
                frame=frames[int(row) // len(ORIENTATIONS)],
                training_frame=spot.frame,
                orientation=ORIENTATIONS[int(row) % len(ORIENTATIONS)],
                row=round(spot.top * scale) + PAD_PX,
                column=round(spot.left * scale) + PAD_PX,
            )
            found.append(Score(float(fisher(best)), match))
        return found

    def _embedded(self, windows: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(windows), BATCH):
            batch = np.stack([np.ascontiguousarray(window) for window in windows[start : start + BATCH]])
            parts.append(self.space.embed(torch.from_numpy(batch.astype(np.float32))[:, None]).numpy())
        return np.concatenate(parts)


def _grid(side: int, window: int) -> list[int]:
    """Where windows begin: every half window, and the last one that fits."""
    last = max(0, side - window)
    return sorted({*range(0, last + 1, max(1, window // 2)), last})


def _spread(length: int, count: int) -> list[int]:
    """Frames in the middle of ``count`` equal parts of a clip."""
    return sorted({int((2 * k + 1) * length / (2 * count)) for k in range(count)})


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


def _cosine(score: float) -> float:
    return float(np.tanh(score))
