"""Batches to generate, and a scenes artifact."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from toy import FRAMES, WINDOW, patients_of

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.augment.columns import scene_columns
from sfvd_pl.datasets.batch import GenerationBatch
from sfvd_pl.datasets.sequences import SequenceBank, SequenceConfig, SequenceDataset


def bank(source: Path, seed: int = 0) -> SequenceBank:
    """Mask sequences of the toy source."""
    return SequenceBank(source, SequenceConfig(FRAMES, WINDOW), seed)


def generation_batch(source: Path, ids: list[int], *, scene: bool = False) -> GenerationBatch:
    """Mask sequences by id; with scenes that depend on the id only."""
    dataset = SequenceDataset(bank(source), ids)
    batch = GenerationBatch.collate([dataset[i] for i in range(len(ids))])
    pictures = torch.stack(
        [torch.rand(1, WINDOW, WINDOW, generator=torch.Generator().manual_seed(i)) for i in ids]
    )
    return replace(batch, scene=pictures if scene else None)


def write_toy_scenes(path: Path, source: Path, count: int = 4, **provenance: Any) -> Path:
    """Scenes of random pixels for the first mask sequences."""
    batch = generation_batch(source, list(range(count)), scene=True)
    assert batch.scene is not None
    columns = scene_columns(batch, batch.scene[:, :, None], 0, 255)
    origin: dict[str, Any] = {
        "seed": 0,
        "config": {"toy": True},
        "parents": {"source": Artifact.open(source, Kind.SOURCE).content_hash},
        "patients": tuple(sorted(patients_of(source, "train"))),
    }
    with ArtifactWriter(path, Kind.SCENES, Provenance(**(origin | provenance))) as writer:
        for key, values in columns.items():
            writer.write(key, values)
        starts = FRAMES * torch.arange(count).numpy()
        writer.write("clips/start", starts)
    return path
