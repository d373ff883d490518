"""The section ``seam``: the edge of what was drawn, against the same real frames."""

from typing import Any

from sfvd_pl.datasets.backgrounds import Backgrounds, shown_by_clip
from sfvd_pl.datasets.sets import ArtifactClips
from sfvd_pl.metrics.rows import RowAccumulator
from sfvd_pl.metrics.seam import EDGE_PX, clip_seam
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError
from sfvd_pl.pipeline.evaluation.rows import CLIP_LIMIT, groups


def measure_seam(context: EvaluationContext) -> dict[str, Any]:
    """Residual at the band's edge, and how long it lasts, over the anchored clips.

    Raises:
        NotMeasuredError: No generated clip shows a real one.
    """
    artifact = context.synthetic_artifact()
    anchored = [row for row, name in enumerate(shown_by_clip(artifact, "background")) if name]
    if not anchored:
        raise NotMeasuredError("no generated clip shows a real one, so there is no seam")
    backgrounds = Backgrounds(artifact, context.source)
    clips = ArtifactClips(artifact.path, anchored[:: -(-len(anchored) // CLIP_LIMIT)])
    table = RowAccumulator()
    walk = context.track(clips, "seam", total=len(clips))
    for row, group, clip in zip(clips.rows, groups(clips), walk, strict=True):
        drawn = backgrounds.drawn(row)
        table.update(group, clip_seam(clip.image, drawn.real, drawn.region, clip.ignore))
    return {"edge_px": EDGE_PX, "rows": [table.row("synthetic", seed=context.seed)]}
