"""``sfvd evaluate``: every section that can be measured, from the cache where nothing changed."""

import platform
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sfvd_pl.artifacts import Kind
from sfvd_pl.datasets.backgrounds import shown_by_clip
from sfvd_pl.datasets.modules.base import cpu_cores
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.schema import SCHEMA_VERSION, clean_metrics, validate_section
from sfvd_pl.pipeline.evaluation.cache import Cache
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, NotMeasuredError
from sfvd_pl.pipeline.evaluation.inputs import gather
from sfvd_pl.pipeline.evaluation.sections import SECTION_MEASURES, SectionMeasure
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
from sfvd_pl.pipeline.hashing import measuring_hash
from sfvd_pl.pipeline.inference import default_device
from sfvd_pl.pipeline.steps import say


@dataclass(frozen=True)
class Evaluation:
    """Measures, and what the report shows of what was measured.

    Attributes:
        metrics: ``sets``, ``not_measured`` and the sections of ``metrics.json``, in JSON's own types.
        context: The sets of clips, and the networks that measured them.
        cached: Sections that were not measured anew.
    """

    metrics: dict[str, Any]
    context: EvaluationContext
    cached: tuple[str, ...] = field(default=())


def evaluate(settings: EvaluateSettings, cache: Path | None = None, *, progress: bool | None = None) -> Evaluation:
    """Measure every section, or those asked for.

    Args:
        settings: What is measured against what.
        cache: Folder of earlier results; None measures everything anew.
        progress: Show bars; None: where they'd be seen.

    Raises:
        ConfigError: A section that is asked for doesn't exist.
        SfvdError: An input can't be read, or patients that must stay unseen went into one.
    """
    known = [section.name for section in SECTION_MEASURES]
    for name in settings.wanted:
        if name not in known:
            raise ConfigError("there is no such section", key="only", expected=", ".join(known), found=name)
    context = EvaluationContext(
        inputs=gather(settings),
        seed=settings.seed,
        device=default_device(),
        cache=None if cache is None else Cache(cache, measuring_hash()),
        progress=sys.stderr.isatty() if progress is None else progress,
        processes=settings.processes or cpu_cores(),
    )
    metrics: dict[str, Any] = {}
    not_measured: dict[str, str] = {}
    cached = []
    for section in SECTION_MEASURES:
        if settings.wanted and section.name not in settings.wanted:
            not_measured[section.name] = "it was not asked for"
            continue
        try:
            metrics[section.name], from_cache = measured(section, context)
        except NotMeasuredError as reason:
            not_measured[section.name] = str(reason)
            say(f"  {section.name}: not measured, {reason}")
            continue
        if from_cache:
            cached.append(section.name)
    return Evaluation({"sets": _sets(context), "not_measured": not_measured, **metrics}, context, tuple(cached))


def measured(section: SectionMeasure, context: EvaluationContext) -> tuple[dict[str, Any], bool]:
    """One section, in JSON's own types, and whether it came from the cache.

    Raises:
        NotMeasuredError: It can't be measured.
        MetricsError: What was measured breaks the schema.
    """
    parts = {name: context.identity(name) for name in section.uses} | {"seed": context.seed}
    kept = None if context.cache is None else context.cache.section(section.name, parts)
    if kept is not None:
        say(f"  {section.name}: from the cache")
        return kept, True
    begun = time.monotonic()
    found = clean_metrics(section.measure(context.restricted(section.uses)))
    validate_section(section.name, found)
    if context.cache is not None:
        context.cache.keep_section(section.name, parts, found)
    say(f"  {section.name}: measured ({time.monotonic() - begun:.1f} s)")
    return found, False


def _sets(context: EvaluationContext) -> dict[str, Any]:
    """What was measured, by role."""
    inputs = context.inputs
    sets: dict[str, ClipSet | None] = {
        "synthetic": inputs.synthetic,
        "reference": inputs.reference,
        "training": inputs.training,
    }
    return {
        name: {
            "title": clips.title,
            "identity": clips.identity,
            "clips": len(clips),
            "patients": _patients(clips),
            **_backgrounds(clips),
        }
        for name, clips in sets.items()
        if clips is not None
    }


def _patients(clips: ClipSet) -> int:
    """Patients that a set shows, or that generated clips were learned from."""
    if isinstance(clips, ArtifactClips) and clips.artifact.kind is not Kind.SOURCE:
        return len(clips.artifact.patients)
    return len(set(clips.patients))


def _backgrounds(clips: ClipSet) -> dict[str, Any]:
    """Of synthetic clips, how many show each patient."""
    if not isinstance(clips, ArtifactClips) or clips.artifact.kind is not Kind.SYNTHETIC:
        return {}
    shown = shown_by_clip(clips.artifact, "background_patient")
    return {"backgrounds": dict(Counter(patient for patient in shown if patient))}


def machine() -> dict[str, Any]:
    """What the figures were got on."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpu_cores": cpu_cores(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def metrics_head(run: str, preset: str, seed: int, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """The part of ``metrics.json`` that says what was run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": run,
        "preset": preset,
        "seed": seed,
        "machine": machine(),
        "stages": stages,
    }
