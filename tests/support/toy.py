"""A tiny data set and tiny models, shared by the tests of everything above the artifacts.

The source has five patients: three to train on, one for validation, one for the test; see :func:`toy_clips`.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.datasets.batch import ClipBatch
from sfvd_pl.datasets.clips import ClipDataset
from sfvd_pl.diffusion import SamplerConfig
from sfvd_pl.modules.base import OptimiserConfig
from sfvd_pl.modules.checkpoint import RECORD_KEY
from sfvd_pl.modules.features import FeaturesModule
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.networks import SegmenterConfig, UNetConfig, WireCondition
from sfvd_pl.networks.features import FeatureNetworkConfig
from sfvd_pl.sources import Clip
from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.simulate import simulate_clips
from sfvd_pl.sources.split import SplitConfig
from sfvd_pl.sources.write import write_source

WINDOW = 32
FRAMES = 5
"""The first and two blocks of two."""
STAGES = Path(__file__).parent / "stages"
PHANTOM = PhantomConfig(patients=5, clips_per_patient=2, frames=6, height=48, width=48)
SPLIT = SplitConfig(val_fraction=0.2, test_fraction=0.2, labelled_fraction=0.6)
UNET = UNetConfig(block_out_channels=(8, 16), norm_num_groups=4)
SEGMENTER = SegmenterConfig(features=(8, 8, 8, 8, 8, 8), unshuffle=1)
FEATURES = FeatureNetworkConfig(channels=(8, 8, 8, 8), projection=8)
SAMPLER = SamplerConfig(num_inference_steps=2)
OPTIMISER = OptimiserConfig(warmup_steps=1)


@lru_cache(maxsize=2)
def toy_clips(seed: int = 3) -> tuple[Clip, ...]:
    """Ten simulated clips of six 48 x 48 frames, all annotated."""
    return tuple(simulate_clips(PHANTOM, seed))


def write_toy_source(path: Path, *, seed: int = 3, clips: Sequence[Clip] | None = None, **split: Any) -> Path:
    """The toy clips as a source artifact, some of the training clips labelled and the others annotated only."""
    config = SplitConfig(**({"val_fraction": 0.2, "test_fraction": 0.2, "labelled_fraction": 0.6} | split))
    made = toy_clips(seed) if clips is None else clips
    write_source(path, made, split=config, seed=seed, config={"toy": seed}, progress=False)
    return path


def rewritten(artifact: Path, out: Path, *, patients: Sequence[str] | None = None, **columns: np.ndarray) -> Path:
    """A copy of an artifact with some columns replaced; ``clips__split`` stands for ``clips/split``."""
    old = Artifact.open(artifact)
    changed = {key.replace("__", "/"): value for key, value in columns.items()}
    origin = Provenance(
        seed=old.seed,
        config=old.config,
        parents=old.parents,
        patients=old.patients if patients is None else tuple(patients),
    )
    with ArtifactWriter(out, old.kind, origin, intensity_max=old.intensity_max) as writer:
        for key in old.keys:
            values = changed.get(key, old.column(key))
            writer.write(key, [str(v) for v in values] if values.dtype == object else values)
    return out


def patients_of(source: Path, split: str) -> set[str]:
    """Patients of a split, read without the code under test."""
    artifact = Artifact.open(source, Kind.SOURCE)
    columns = zip(artifact.column("clips/patient"), artifact.column("clips/split"), strict=True)
    return {str(patient) for patient, of in columns if of == split}


def scene_module(**changes: Any) -> SceneModule:
    """A tiny scene module that knows its intensities."""
    return _ready(SceneModule(**({"network": UNET, "sampler": SAMPLER, "optimiser": OPTIMISER} | changes)))


def motion_module(**changes: Any) -> MotionModule:
    """A tiny motion module that knows its intensities."""
    settings = {"network": UNET, "sampler": SAMPLER, "optimiser": OPTIMISER, "block": 2} | changes
    return _ready(MotionModule(**settings))


def segmentation_module(**changes: Any) -> SegmentationModule:
    """A tiny segmentation module that knows its intensities."""
    return _ready(
        SegmentationModule(**({"network": SEGMENTER, "optimiser": OPTIMISER} | changes))
    )


def features_module(**changes: Any) -> FeaturesModule:
    """A tiny features module that knows its intensities."""
    return _ready(FeaturesModule(**({"network": FEATURES, "optimiser": OPTIMISER} | changes)))


def _ready(module: Any) -> Any:
    if torch.isnan(module.intensity).any():
        module.intensity.copy_(torch.tensor([0.5, 0.12]))
    return module.eval()


def awaken(module: torch.nn.Module, seed: int = 5) -> None:
    """Random numbers in every parameter that starts at zero, so that nothing is switched off."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def save_model(module: RecordedModule, path: Path, source: Path | None = None, **record: Any) -> Path:
    """A checkpoint as a finished training on ``source`` leaves it."""
    if source is not None:
        module.learned_from = {
            "source": Artifact.open(source, Kind.SOURCE).content_hash,
            "patients": sorted(patients_of(source, "train")),
        }
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict(), "pytorch-lightning_version": pl.__version__}
    module.on_save_checkpoint(checkpoint)
    checkpoint[RECORD_KEY] |= record
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, path)
    return path


def write_suspects(path: Path, source: Path, probability: np.ndarray | float = 0.0) -> Path:
    """What a guide suspects in the training clips: one probability everywhere, or the training frames' in a row."""
    artifact = Artifact.open(source, Kind.SOURCE)
    clips = np.flatnonzero(artifact.column("clips/split") == "train")
    length = artifact.column("clips/length")
    rows = np.flatnonzero(np.isin(np.repeat(np.arange(artifact.n_clips), length), clips))
    columns: dict[str, Any] = {
        "arms/name": ["guide"],
        "frames/probability": np.broadcast_to(probability, (1, len(rows), *artifact.frame_shape)).astype(np.float16),
        "frames/source_frame": rows,
        "clips/source_clip": clips,
        "clips/name": [str(artifact.column("clips/name")[c]) for c in clips],
        "clips/patient": [str(artifact.column("clips/patient")[c]) for c in clips],
        "clips/start": np.cumsum(length[clips]) - length[clips],
        "clips/length": length[clips],
    }
    learned = tuple(sorted(patients_of(source, "train")))
    origin = Provenance(seed=0, config={}, parents={"source": artifact.content_hash}, patients=learned)
    with ArtifactWriter(path, Kind.SEGMENTATION, origin) as writer:
        for key, values in columns.items():
            writer.write(key, values)
    return path


def clip_batch(source: Path, ids: list[int], *, motion: bool = False, **changes: Any) -> ClipBatch:
    """Training samples by id."""
    settings: dict[str, Any] = {"seed": 1, "window": WINDOW}
    if motion:
        settings |= {"context": 3, "block": 2, "frames": FRAMES}
    dataset = ClipDataset(source, "train", **(settings | changes))
    return ClipBatch.collate([dataset[i] for i in ids])


def random_condition(batch: int, frames: int, size: int | tuple[int, int] = 16, seed: int = 0) -> WireCondition:
    """Random masks, known everywhere but in some pixels, in frames of which half is to be drawn."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (size, size) if isinstance(size, int) else size
    mask, nearness, known, x0, region = torch.rand(5, batch, 1, frames, height, width, generator=generator)
    return WireCondition.build(
        (mask < 0.1).float(), nearness, (known < 0.9).float(), 2 * x0 - 1, (region < 0.5).float()
    )


def wire_row(frames: int, height: int, width: int, row: int) -> np.ndarray:
    """A mask with one straight wire, two pixels wide."""
    mask = np.zeros((frames, height, width), np.uint8)
    mask[:, row : row + 2, 2:-2] = 1
    return mask


def write_synthetic(
    path: Path, source: Path, *, patients: Sequence[str] | None = None, accepted: Sequence[bool] | None = None
) -> Path:
    """Six synthetic clips: frames of 64 where the gate accepted, of 191 where it did not."""
    verdicts = [True, False, True, True, False, True] if accepted is None else list(accepted)
    learned = sorted(patients_of(source, "train")) if patients is None else list(patients)
    clips, rows = len(verdicts), len(verdicts) * FRAMES
    levels = np.repeat(np.where(verdicts, 64, 191), FRAMES)
    columns: dict[str, Any] = {
        "frames/image": np.broadcast_to(levels[:, None, None], (rows, WINDOW, WINDOW)).astype(np.uint8),
        "frames/wire_mask": wire_row(rows, WINDOW, WINDOW, 12),
        "frames/annotated": np.ones(rows, np.bool_),
        "frames/visibility": np.full(rows, 2.0, np.float32),
        "clips/name": [f"synthetic/{i:06d}" for i in range(clips)],
        "clips/patient": ["synthetic"] * clips,
        "clips/start": np.arange(clips) * FRAMES,
        "clips/length": np.full(clips, FRAMES),
        "clips/sample_id": np.arange(clips),
        "clips/sample_seed": np.arange(clips),
        "clips/requested_visibility": np.full(clips, 2.0, np.float32),
        "clips/measured_visibility": np.full(clips, 2.0, np.float32),
        "clips/mask_origin": ["simulated"] * clips,
        "clips/mask_source": [str(i) for i in range(clips)],
        "clips/segmentation_scale": np.zeros(clips, np.float32),
        "frames/ignore": np.zeros((rows, WINDOW, WINDOW), np.uint8),
        "clips/height": np.full(clips, WINDOW),
        "clips/width": np.full(clips, WINDOW),
        "clips/background": [""] * clips,
        "clips/background_patient": [""] * clips,
        "clips/background_start": np.zeros(clips, np.int64),
        "clips/contrast": np.ones(clips, np.float32),
        "clips/attenuation_cnr": np.full(clips, np.nan, np.float32),
        "clips/hard": np.zeros(clips, np.bool_),
        "clips/gate_dice": np.full(clips, 0.5, np.float32),
        "clips/accepted": np.array(verdicts),
        "clips/reject_reason": ["" if verdict else "wire not found" for verdict in verdicts],
    }
    parents = {"source": Artifact.open(source, Kind.SOURCE).content_hash}
    origin = Provenance(seed=0, config={"toy": True}, parents=parents, patients=tuple(learned))
    with ArtifactWriter(path, Kind.SYNTHETIC, origin) as writer:
        for key, values in columns.items():
            writer.write(key, values)
    return path
