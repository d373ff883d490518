"""Where a wire is suspected in the frames that have no label."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ArtifactError

SUSPECTED_FROM = 0.2
"""Probability of a wire from which a pixel is suspected."""
RIM_PX = 2
"""Pixels around those that are suspected too: the edge of a wire is where a segmenter is least sure."""


def suspected(probability: Float[np.ndarray, "... H W"]) -> Bool[np.ndarray, "... H W"]:
    """Pixels that may be wire: probability above ``SUSPECTED_FROM``, and ``RIM_PX`` around them."""
    seen = np.asarray(probability) > SUSPECTED_FROM
    flat = seen.reshape(-1, *seen.shape[-2:])
    near = [distance_transform_edt(~frame) <= RIM_PX if frame.any() else frame for frame in flat]
    return np.array(near, np.bool_).reshape(seen.shape)


class Suspicion:
    """The guide's probabilities on the frames of the training clips.

    Args:
        path: The predictions, of one arm.
        source: The source that they must have been made on.

    Raises:
        ArtifactError: They were made on another source.
    """

    def __init__(self, path: Path | str, source: Artifact) -> None:
        self.artifact = Artifact.open(Path(path), Kind.SEGMENTATION)
        if self.artifact.parents.get("source") != source.content_hash:
            raise ArtifactError(
                "these are suspicions about another source",
                file=path,
                key="parents['source']",
                expected=f"{source.content_hash} ({source.path})",
                found=self.artifact.parents.get("source", "no source"),
                remedy="make them again on this source",
            )
        rows = self.artifact.column("frames/source_frame")
        self._place = {int(row): place for place, row in enumerate(rows)}
        column = source.column
        clip = np.repeat(np.arange(source.n_clips), column("clips/length"))[rows]
        self._size = np.stack([column("clips/height")[clip], column("clips/width")[clip]], 1)

    def probability(self, source_row: int) -> Float[np.ndarray, "H W"]:
        """Probability of the wire in a frame, within its valid extent.

        Args:
            source_row: Row of the source's frames table; of a training clip.
        """
        place = self._place[source_row]
        height, width = self._size[place]
        found = self.artifact.clip_rows("frames/probability", *self._at(place), 1)[0, 0]
        probability: Float[np.ndarray, "H W"] = found[:height, :width].astype(np.float32)
        return probability

    def _at(self, place: int) -> tuple[int, int]:
        start = self.artifact.column("clips/start")
        clip = int(np.searchsorted(start, place, side="right")) - 1
        return clip, place - int(start[clip])
