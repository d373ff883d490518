"""Feature spaces on this machine: pictures a second, cost of the distances, memory against the number of clips.

``python -m tests.bench.bench_features``; with SFVD_RUN, the folder of a finished run (``data/artifacts/default``), also
the time and the rows of its sections ``image`` and ``video``.
"""

import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sfvd_pl.datasets.sets import ClipSet, MeasuredClip
from sfvd_pl.metrics.distribution import VectorSet
from sfvd_pl.metrics.likeness import likeness_row
from sfvd_pl.modules.features import FeaturesModule
from sfvd_pl.networks.features import FeatureSpace, NetworkSpace, imagenet_space
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs
from sfvd_pl.pipeline.evaluation.features import embedded_sets
from sfvd_pl.pipeline.evaluation.run import evaluate
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings

SIDE = 64


@dataclass
class Noise(ClipSet):
    """Any number of clips with a wire, made as they are asked for."""

    number: int
    seed: int
    title: str = "noise"
    intensity_max: int = 255

    def __len__(self) -> int:
        return self.number

    @property
    def identity(self) -> str:
        return f"noise {self.number} {self.seed}"

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(f"p{i % 12}" for i in range(self.number))

    def __getitem__(self, number: int) -> MeasuredClip:
        rng = np.random.default_rng([self.seed, number])
        mask = np.zeros((8, SIDE, SIDE), np.uint8)
        mask[:, 8:56, 32] = 1
        image = rng.integers(0, 256, mask.shape, np.uint8)
        return MeasuredClip(image, mask, np.ones(8, bool), self.patients[number], str(number), mask_group=str(number))


def domain_spaces() -> tuple[NetworkSpace, NetworkSpace]:
    """The network's two spaces, untrained: weights don't change its speed."""
    module = FeaturesModule().requires_grad_(False).eval()
    module.intensity.copy_(torch.tensor([0.5, 0.2]))
    cpu, width = torch.device("cpu"), module.network.config.num_features
    return (
        NetworkSpace("domain-frames", "frame", width, "untrained", "none", module.embed_frames, cpu),
        NetworkSpace("domain-clips", "clip", width, "untrained", "none", module.embed_clips, cpu),
    )


def speed(space: FeatureSpace) -> None:
    """Print how long a picture takes."""
    shape = (16, 1, SIDE, SIDE) if space.kind == "frame" else (16, 1, 8, SIDE, SIDE)
    pictures = torch.rand(shape)
    space.embed(pictures)
    begun = time.process_time()
    for _ in range(4):
        space.embed(pictures)
    each = (time.process_time() - begun) / 64
    print(f"{space.name}: {each * 1e3:.2f} CPU ms a {space.kind} of {SIDE} px")


def distances(features: int, vectors: int) -> None:
    """Print how long a row of distances takes."""
    rng = np.random.default_rng(0)
    clips = np.arange(vectors) // 4
    sets = [VectorSet(rng.standard_normal((vectors, features)), clips, clips // 8) for _ in range(2)]
    begun = time.process_time()
    likeness_row("synthetic", *sets, n=vectors // 4, seed=0)
    print(f"one row, {vectors} vectors of {features} numbers: {time.process_time() - begun:.2f} CPU s")


def peak_mib() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(clips: int) -> None:
    """Print the largest memory after reading and embedding so many clips of each set, in a space that costs nothing."""
    sets: dict[str, Any] = {
        name: Noise(clips, seed) for seed, name in enumerate(("synthetic", "reference", "training"))
    }
    space = NetworkSpace("mean", "frame", 1, "none", "none", lambda x: x.mean((2, 3)), torch.device("cpu"))
    begun = time.process_time()
    taken = len(embedded_sets(EvaluationContext(Inputs(spaces=(space,), **sets)))["reference"].rows)
    spent = time.process_time() - begun
    print(f"{clips} clips of each set, {taken} taken: peak {peak_mib():.0f} MiB, {spent:.1f} CPU s", flush=True)


def finished_run(folder: Path) -> None:
    """Print the sections of a run, and what they cost."""
    settings = EvaluateSettings(
        folder / "source.h5",
        folder / "synthetic.h5",
        features_ckpt=folder / "features" / "model.ckpt",
        only="image,video",
    )
    begun, spent = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as cache:
        metrics = evaluate(settings, Path(cache), progress=False).metrics
    print(
        f"image and video of {folder}: {time.perf_counter() - begun:.1f} s, "
        f"{time.process_time() - spent:.1f} CPU s, peak {peak_mib():.0f} MiB"
    )
    for section in ("image", "video"):
        for space in metrics[section]["spaces"]:
            for view in ("whole", "roi"):
                for row in space[view]:
                    print(_line(section, space["name"], view, row))


def _line(section: str, space: str, view: str, row: dict[str, Any]) -> str:
    frechet, kernel = row["frechet"], row["kernel"]
    return (
        f"  {section} {space} {view} {row['name']}: n {row['n']}, Frechet {frechet['value']:.4g}"
        f"{'' if frechet['reliable'] else ' (unreliable)'}, kernel {kernel['value']:.4g} "
        f"[{kernel['low']:.4g}, {kernel['high']:.4g}]"
    )


def main() -> None:
    """Measure."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for space in (*domain_spaces(), imagenet_space()):
        speed(space)
    for features, vectors in ((64, 128), (1280, 128), (2560, 32), (1280, 2048)):
        distances(features, vectors)
    for clips in (52, 520, 5200):
        memory(clips)
    if "SFVD_RUN" in os.environ:
        finished_run(Path(os.environ["SFVD_RUN"]))


if __name__ == "__main__":
    main()
