"""What is measured against what, as a user asks for it."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class EvaluateSettings:
    """What is measured against what.

    Attributes:
        real: The source artifact whose clips are the reference.
        generated: What is measured: scenes, motions, synthetic, or another source.
        evaluator_ckpt: Segmenter that looks for the wire: neither guide nor gate. Without it sections that need one
            are left out.
        segmentation: Predictions of the compared segmenters on the test clips of ``real``, one artifact for each seed.
        seeds: Seeds of those segmenters, in the same order; counted from 0 without.
        features_ckpt: Network of this domain (`sfvd features fit`) by whose features clips are compared.
        feature_script: A further such network of your own: a TorchScript file, such as Inception.
        seed: Of windows, shuffling and resampling.
        split: Whose clips of ``real`` are the reference; nobody of them may have been learned from.
        windows_per_clip: Windows cut from each real clip.
        window: Side of the windows, pixels; 0: that of the generated clips (whole frames where they show real clips),
            or of the smaller of two sources.
        frames: Frames of a window; 0: those of the longest generated clip, and 16 of another source.
        only: Sections to measure, with commas between; empty: all of them.
        processes: Processes for what no network does; 0: one for each processor.
    """

    real: Path
    generated: Path
    evaluator_ckpt: Path | None = None
    segmentation: list[Path] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    features_ckpt: Path | None = None
    feature_script: Path | None = None
    seed: int = 0
    split: str = "test"
    windows_per_clip: int = 2
    window: int = 0
    frames: int = 0
    only: str = ""
    processes: int = 0

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names in ``only``."""
        return tuple(name.strip() for name in self.only.split(",") if name.strip())
