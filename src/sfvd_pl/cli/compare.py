"""``sfvd data compare``: how much the clips of two source artifacts look alike, as a table."""

from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser
from tqdm import tqdm

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.compare import as_markdown, compare_sets, measure_clip


def add_compare(commands: Any) -> None:
    """Add the subcommand to ``sfvd data``'s."""
    parser = ArgumentParser(
        description="Put the clips of two source artifacts beside one another: grey values, noise, memory over time, "
        "wire. One line a measure: median (10 to 90 %) over the clips of each, and the difference of the medians in "
        "standard deviations between the second one's clips."
    )
    parser.add_argument("first", type=Path, help="A source artifact, e.g. simulated clips.")
    parser.add_argument("second", type=Path, help="The one to compare with, e.g. your own clips.")
    parser.add_argument(
        "--clips", type=int, default=100, help="Clips of each at most, spread over the artifact."
    )
    parser.add_argument(
        "--frames", type=int, default=32, help="Consecutive frames of a clip at most, from its middle."
    )
    commands.add_subcommand("compare", parser, help="compare two source artifacts: noise, grey values, wire")


def compare(first: Path, second: Path, *, clips: int, frames: int, progress: bool) -> str:
    """The table as Markdown.

    Raises:
        ArtifactError: A file isn't a source artifact.
        ConfigError: No clips or frames are asked for.
        MetricsError: The frames are too small.
    """
    for key, value, least in (("clips", clips, 1), ("frames", frames, 2)):
        if value < least:
            raise ConfigError("there is nothing to compare", key=key, expected=f">= {least}", found=value)
    sets = [_measure(path, clips, frames, progress) for path in (first, second)]
    return as_markdown(compare_sets(*sets), first.stem, second.stem)


def _measure(path: Path, clips: int, frames: int, progress: bool) -> list[dict[str, float]]:
    found = []
    with Artifact.open(path, Kind.SOURCE) as artifact:
        chosen = np.unique(np.linspace(0, artifact.n_clips - 1, min(clips, artifact.n_clips)).astype(int))
        size = [artifact.column(f"clips/{key}") for key in ("length", "height", "width")]
        for clip in tqdm(chosen.tolist(), path.name, disable=not progress, unit="clip"):
            total, height, width = (int(column[clip]) for column in size)
            count = min(frames, total)
            image, wire_mask = (
                artifact.clip_rows(key, clip, (total - count) // 2, count)[:, :height, :width]
                for key in ("frames/image", "frames/wire_mask")
            )
            found.append(measure_clip(image, wire_mask, intensity_max=artifact.intensity_max))
    return found
