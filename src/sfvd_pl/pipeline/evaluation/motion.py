"""The section ``motion``: does the wire move as its masks, is the rest smooth, do clips change as they go on."""

from functools import partial
from typing import Any

from sfvd_pl.datasets.sets import MeasuredClip
from sfvd_pl.metrics.motion_rows import ClipMotion, MotionAccumulator, clip_motion, motion_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError
from sfvd_pl.pipeline.evaluation.rows import REFERENCE, compared_sets, each, longest


def measure_motion(context: EvaluationContext) -> dict[str, Any]:
    """Wire displacement, flow-warp error, flicker and drift of every set.

    Raises:
        NotMeasuredError: The clips are single frames.
    """
    sets = compared_sets(context, ("blur", "noise", "wrong masks"))
    frames, rows = longest(sets), dict[str, dict[str, Any]]()
    if frames < 2:
        raise NotMeasuredError("single frames have no motion")
    for name, clips in sets:
        found = MotionAccumulator(frames=frames)
        function = partial(_clip, scale=clips.intensity_max, smoothness=name != "wrong masks")
        for group, motion in each(context, function, name, clips, "motion"):
            found.update(group, motion)
        rows[name] = found.row(name, seed=context.seed)
    reference = rows.pop(REFERENCE)
    return motion_section(reference, list(rows.values()))


def _clip(clip: MeasuredClip, scale: int, smoothness: bool) -> ClipMotion:
    return clip_motion(
        clip.image, clip.wire_mask, clip.annotated, ignore=clip.ignore, intensity_max=scale, smoothness=smoothness
    )
