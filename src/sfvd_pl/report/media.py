"""What the page shows besides numbers: stacks of clips with their labels and titles."""

from dataclasses import dataclass

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, require_axes, require_same_shape
from sfvd_pl.report.curves import Curve


@dataclass(frozen=True)
class MediaClips:
    """Clips to show, all of one size and length.

    Attributes:
        clips: (K, T, H, W) uint8, K and T at least 1.
        wire_masks: (K, T, H, W), non-zero on the wire: the labels.
        titles: K captions, plain text.
        predicted: (K, T, H, W), non-zero on the predicted wire; None where nothing was predicted.
        ignore: (K, T, H, W), non-zero where nobody knows whether there is a wire; None for nowhere.

    Raises:
        MetricsError: If shapes, type or the number of titles are wrong.
    """

    clips: Array
    wire_masks: Array
    titles: tuple[str, ...]
    predicted: Array | None = None
    ignore: Array | None = None

    def __post_init__(self) -> None:
        require_axes(self.clips, "K T H W", "clips")
        require_same_shape(self.wire_masks, self.clips, "wire_masks", "clips")
        for key, masks in (("predicted", self.predicted), ("ignore", self.ignore)):
            if masks is not None:
                require_same_shape(masks, self.clips, key, "clips")
        if self.clips.dtype != np.uint8 or 0 in self.clips.shape:
            raise MetricsError(
                "these clips can't be shown",
                key="clips",
                expected="uint8, at least one clip of one frame",
                found=f"{self.clips.dtype} {self.clips.shape}",
                remedy="convert them with sfvd_pl.report.overlay.to_grey, and leave an empty group out",
            )
        if len(self.titles) != len(self.clips):
            raise MetricsError(
                "there is not one title a clip",
                key="titles",
                expected=f"{len(self.clips)} titles",
                found=f"{len(self.titles)} titles",
                remedy="give each clip a title",
            )

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.clips)


@dataclass(frozen=True)
class ReportMedia:
    """Everything that the page shows besides numbers; None leaves a part out, and the page says so.

    Attributes:
        real: Held-out real clips.
        synthetic: Synthetic clips that the gate accepted.
        rejected: Synthetic clips that the gate rejected, with reasons as titles.
        worst: Synthetic clips whose label holds least, with predictions, worst first.
        suspects: Synthetic clips most like a training clip, the most suspicious first.
        originals: What each of them is most like, in the same order.
        curves: Numbers that the trainings logged.
        made: When and where the page was made, in words.
        studies: Names of the label-efficiency studies that lie beside the run.
    """

    real: MediaClips | None = None
    synthetic: MediaClips | None = None
    rejected: MediaClips | None = None
    worst: MediaClips | None = None
    suspects: MediaClips | None = None
    originals: MediaClips | None = None
    curves: tuple[Curve, ...] = ()
    made: str = ""
    studies: tuple[str, ...] = ()
