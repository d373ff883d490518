"""What an anchored clip shows of its real clip, and what was drawn into it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.typing import NDArray

from sfvd_pl.artifacts import Artifact
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.datasets.windows import REGION_RADIUS_PX, band_around
from sfvd_pl.errors import ArtifactError


@dataclass(frozen=True)
class Drawn:
    """An anchored clip beside the real frames that it shows.

    Attributes:
        real: ``T H W``, those frames.
        wire_mask: ``T H W``, the drawn wire, without those that were there.
        region: ``T H W``, where the clip may differ from the real frames.
    """

    real: NDArray[np.generic]
    wire_mask: UInt8[np.ndarray, "T H W"]
    region: Bool[np.ndarray, "T H W"]


def shown_by_clip(artifact: Artifact, what: Literal["background", "background_patient"]) -> list[str]:
    """Name of the real clip, or of the patient, that each generated clip shows; empty where it shows none."""
    if f"clips/{what}" not in artifact.keys:
        return [""] * artifact.n_clips
    return [str(name) for name in artifact.column(f"clips/{what}")]


class Backgrounds:
    """The real clips behind the anchored clips of an artifact.

    Args:
        artifact: Synthetic clips.
        source: The source that they were made from.

    Raises:
        ArtifactError: The source has no training clip of such a name.
    """

    def __init__(self, artifact: Artifact, source: Path | str) -> None:
        self.artifact = artifact
        self.index = ClipIndex(source, "train")
        self._names = shown_by_clip(artifact, "background")
        rows = {str(self.index.name[clip]): int(clip) for clip in self.index.clips}
        missing = sorted(set(self._names) - {"", *rows})
        if missing:
            raise ArtifactError(
                "a synthetic clip shows a clip that is no training clip of the source",
                file=artifact.path,
                key="clips/background",
                expected=f"training clips of {source}",
                found=missing[0],
                remedy="pass the source that the clips were made from",
            )
        self._rows = rows
        self._erased = bool(artifact.config.get("plan", {}).get("erase_known", False))

    def drawn(self, row: int) -> Drawn:
        """What was drawn into the anchored clip of a row."""
        clip, column = self._rows[self._names[row]], self.artifact.column
        first = int(column("clips/background_start")[row])
        offsets = np.arange(first, first + int(column("clips/length")[row]))
        known = self.index.wire_mask(clip, offsets)
        label = self.artifact.clip_rows("frames/wire_mask", row)[:, : known.shape[1], : known.shape[2]]
        # A known wire that stays is a label too, but was not drawn.
        wire = label if self._erased else label & (1 - known)
        region = band_around(wire | known if self._erased else wire, REGION_RADIUS_PX)
        return Drawn(self.index.pixels(clip, offsets), wire.astype(np.uint8), region)
