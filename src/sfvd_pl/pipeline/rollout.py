"""Long clips of a finished run: whether they keep what they begin with, many blocks on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline.presets import merged
from sfvd_pl.pipeline.steps import Run, Step

SECTIONS = "noise,motion,wire"
"""What is measured of long clips; ``motion`` has each measure by frame index."""
LEAST_FRAMES = 4
"""A quarter of a clip has to be a frame at least, for late frames to be held against early ones."""


@dataclass(frozen=True)
class RolloutConfig:
    """Long clips, as ``rollout.yaml`` asks for them.

    Attributes:
        frames: Length of the clips. Their masks are simulated: a simulated wire can be followed for any time.
        num_clips: How many.
    """

    frames: int = 64
    num_clips: int = 8

    def __post_init__(self) -> None:
        """Check both."""
        for key, value, least in (("frames", self.frames, LEAST_FRAMES), ("num_clips", self.num_clips, 1)):
            if value < least:
                raise ConfigError(
                    "no long clips can be made like that", key=f"rollout.{key}", expected=f">= {least}", found=value
                )

    @classmethod
    def read(cls, config: dict[str, Any]) -> "RolloutConfig":
        """From a preset file and the command line.

        Raises:
            ConfigError: An unknown key, or a value that isn't a whole number in range.
        """
        for key, value in config.items():
            if key not in cls.__dataclass_fields__ or isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(
                    "not a setting of long clips",
                    key=f"rollout.{key}",
                    expected=" or ".join(f"{name}: a whole number" for name in cls.__dataclass_fields__),
                    found=repr(value),
                )
        return cls(**config)

    def scenes(self, config: dict[str, Any]) -> dict[str, Any]:
        """The scene step's configuration, for scenes with long mask sequences."""
        return merged(
            config, {"data": {"frames": self.frames, "num_scenes": self.num_clips, "simulated_share": 1.0}}
        )

    def motions(self, config: dict[str, Any], scenes: Path) -> dict[str, Any]:
        """The motion step's configuration, for clips that follow them."""
        data = {"scenes": str(scenes), "frames": self.frames, "num_clips": self.num_clips}
        return merged(config, {"data": data})


def measure_step(run: Run, source: Path, motions: Path, preset: str, seed: int) -> Step:
    """Measures and a page of the long clips.

    Args:
        run: The run.
        source: Its source, whose test patients are the reference.
        motions: The long clips.
        preset: Name of the preset, for the page.
        seed: Of windows and resampling.
    """
    from sfvd_pl.pipeline.evaluation.run import evaluate, metrics_head
    from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
    from sfvd_pl.pipeline.report.logs import stages_of
    from sfvd_pl.pipeline.report.write import write_evaluation

    folder = run.path("rollout", "report")

    def action(resume: bool) -> None:
        settings = EvaluateSettings(source, motions, seed=seed, only=SECTIONS)
        head = metrics_head(f"{run.name}, long clips", preset, seed, stages_of(run))
        write_evaluation(folder, evaluate(settings, run.path("rollout", "measures")), head)

    outputs = [folder / "index.html", folder / "metrics.json"]
    inputs = {"source": source, "long clips": motions}
    config = {"sections": SECTIONS, "seed": seed, "preset": preset}
    return Step("rollout/report", config, inputs, outputs, action, lambda: f"wrote {outputs[0]}")
