"""The section ``noise``: grain of synthetic clips beside that of real ones."""

from functools import partial
from typing import Any

from sfvd_pl.datasets.sets import MeasuredClip
from sfvd_pl.metrics.noise import NoiseAccumulator, noise_section
from sfvd_pl.metrics.noise_rows import clip_noise, noise_rows_section
from sfvd_pl.metrics.rows import RowAccumulator, Values
from sfvd_pl.pipeline.evaluation.context import EvaluationContext
from sfvd_pl.pipeline.evaluation.rows import REFERENCE, compared_sets, each


def measure_noise(context: EvaluationContext) -> dict[str, Any]:
    """Deviations, residual autocorrelation by lag and noise power spectrum of every set."""
    rows: dict[str, dict[str, Any]] = {}
    pooled: dict[str, NoiseAccumulator] = {}
    for name, clips in compared_sets(context, ("blur", "noise")):
        table, pool = RowAccumulator(), NoiseAccumulator(intensity_max=clips.intensity_max)
        for group, (values, own) in each(context, partial(_clip, scale=clips.intensity_max), name, clips, "noise"):
            table.update(group, values)
            pool.merge(own)
        rows[name], pooled[name] = table.row(name, seed=context.seed), pool
    reference = rows.pop(REFERENCE)
    return {
        **noise_section(pooled["synthetic"].result(), pooled[REFERENCE].result()),
        **noise_rows_section(reference, list(rows.values())),
    }


def _clip(clip: MeasuredClip, scale: int) -> tuple[Values, NoiseAccumulator]:
    own = NoiseAccumulator(intensity_max=scale)
    hidden = clip.wire_mask if clip.ignore is None else clip.wire_mask | clip.ignore
    own.update(clip.image, hidden)
    return clip_noise(clip.image, hidden, intensity_max=scale), own
