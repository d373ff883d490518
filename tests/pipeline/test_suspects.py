from pathlib import Path

import numpy as np
import torch
from toy import patients_of, rewritten

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.datasets.suspicion import Suspicion
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.suspects import write_suspects


def test_the_guide_looks_at_every_training_frame(source: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """Labelled or not, at its own size; nothing is suspected beyond it."""
    height = Artifact.open(source).column("clips/height").copy()
    height[0] -= 10
    uneven = rewritten(source, tmp_path / "uneven.h5", clips__height=height)
    out = write_suspects(tmp_path / "suspects.h5", uneven, models["guide"], seed=0)
    artifact, made = Artifact.open(uneven), Artifact.open(out, Kind.SEGMENTATION)
    assert verify(out, parents={"source": uneven}) == []
    train = np.flatnonzero(artifact.column("clips/split") == "train")
    rows = np.flatnonzero(np.isin(np.repeat(np.arange(artifact.n_clips), artifact.column("clips/length")), train))
    assert made.column("frames/source_frame").tolist() == rows.tolist()
    assert list(made.column("arms/name")) == ["guide"]
    assert set(made.patients) == patients_of(uneven, "train")
    module, suspicion = load_for_inference(SegmentationModule, models["guide"]), Suspicion(out, artifact)
    for row in (rows[0], rows[7], rows[-1]):
        clip = int(np.searchsorted(artifact.column("clips/start"), row, side="right")) - 1
        image = artifact.rows("frames/image", int(row), int(row) + 1)[:, : height[clip]].astype(np.float32) / 255
        with torch.no_grad():
            expected = module(torch.from_numpy(image)[None]).sigmoid()[0, 0].numpy()
        assert np.allclose(suspicion.probability(int(row)), expected, atol=2e-3)
    if 0 in train:
        assert not made.clip_rows("frames/probability", 0)[:, :, height[0] :].any()
