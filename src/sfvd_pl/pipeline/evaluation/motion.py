"""The section ``motion``: does the wire move as its masks, is the rest smooth, do clips change as they go on."""

from typing import Any

from sfvd_pl.metrics.motion_rows import MotionAccumulator, motion_section
from sfvd_pl.pipeline.evaluation.rows import REFERENCE, Compared, compared_sets, each, longest


def measure_motion(context: Compared) -> dict[str, Any]:
    """Wire displacement, flow-warp error, flicker and drift of every set."""
    sets = compared_sets(context, ("blur", "noise", "wrong masks"))
    frames, rows = longest(sets), dict[str, dict[str, Any]]()
    for name, clips in sets:
        found = MotionAccumulator(
            intensity_max=clips.intensity_max, frames=frames, smoothness=name != "wrong masks"
        )
        for group, clip in each(name, clips, "motion"):
            found.update(group, clip.image, clip.wire_mask, clip.annotated)
        rows[name] = found.row(name, seed=context.seed)
    reference = rows.pop(REFERENCE)
    return motion_section(reference, list(rows.values()))
