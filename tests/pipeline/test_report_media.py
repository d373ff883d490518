"""The clips that a report shows."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from toy import FRAMES, WINDOW, rewritten, write_synthetic, write_toy_source

from sfvd_pl.artifacts import Artifact
from sfvd_pl.datasets.sets import ArtifactClips
from sfvd_pl.pipeline.report.media import collect_media


def test_clips_of_several_sizes_are_shown_with_their_own_titles(tmp_path: Path) -> None:
    """A grid holds clips of one size: the second accepted clip is smaller, and black where it lacks rows."""
    made = write_synthetic(tmp_path / "synthetic.h5", write_toy_source(tmp_path / "source.h5"), accepted=[True] * 4)
    ignore = Artifact.open(made).column("frames/ignore").copy()
    ignore[FRAMES : 2 * FRAMES, WINDOW - 4 :] = 1
    path = rewritten(
        made,
        tmp_path / "sizes.h5",
        clips__height=WINDOW - 4 * (np.arange(4) == 1),
        clips__measured_visibility=np.arange(4, dtype=np.float32),
        frames__ignore=ignore,
    )
    inputs = SimpleNamespace(synthetic=ArtifactClips(path), reference=None, evaluator=None, source=None)
    shown = collect_media(SimpleNamespace(metrics={}, context=SimpleNamespace(inputs=inputs)), 0).synthetic
    assert shown is not None
    assert shown.clips.shape[::2] == (4, WINDOW)
    assert [title.rsplit(" ", 1)[1] for title in shown.titles] == ["0.0", "1.0", "2.0", "3.0"]
    assert not shown.clips[1, :, WINDOW - 4 :].any() and shown.clips[1].any()
