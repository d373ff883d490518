"""``sfvd study``: how much each arm makes of few labels, on patients held out in turn."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.index import ClipIndex
from sfvd_pl.errors import ConfigError
from sfvd_pl.metrics.schema import clean_metrics
from sfvd_pl.metrics.study import COLUMNS, REFERENCE, StudyRun, check_study, study_metrics, study_rows
from sfvd_pl.metrics.tables import write_table
from sfvd_pl.pipeline.evaluation.arms import SegmentationScores, score_segmentations
from sfvd_pl.pipeline.run import Pipeline
from sfvd_pl.pipeline.settings import RunSettings
from sfvd_pl.pipeline.steps import Step, say
from sfvd_pl.report.overlay import save_bytes
from sfvd_pl.report.study import write_study


@dataclass(frozen=True)
class StudySettings:
    """What ``sfvd study`` is asked for.

    Attributes:
        runs: What all runs share; its name is the study's. Its seed is the simulator's alone.
        patients: Who is held out in one run, each element of it by one; empty: each patient with labels by itself.
        labels: Numbers of labelled clips; None: all.
        arms: What segmenters learn from; empty: the preset's.
        arms_with_all_labels: The same where all labels are there.
        seeds: Of the draw of labelled clips and of all trainings.
    """

    runs: RunSettings
    patients: tuple[tuple[str, ...], ...] = ()
    labels: tuple[int | None, ...] = (2, 4, 8, None)
    arms: tuple[str, ...] = ()
    arms_with_all_labels: tuple[str, ...] = (REFERENCE,)
    seeds: tuple[int, ...] = (0,)


def perform_study(settings: StudySettings) -> dict[str, Any]:
    """Do what is missing of a study, and write its table, picture and page after each held-out patient.

    Returns:
        The content of ``study.json``.

    Raises:
        ConfigError: A patient has no labels or is named twice, or there are fewer labelled clips than asked for.
        SfvdError: Whatever a run refuses.
    """
    runs = settings.runs
    folder = runs.root / runs.name
    everything = {"val_fraction": 0.0, "test_fraction": 0.0, "labelled_fraction": 1.0}
    whole = Pipeline(replace(runs, name="source", root=folder, split=everything))
    whole.perform(["source"])
    clips, patients = _annotated(whole.source)
    held_out = settings.patients or tuple((patient,) for patient in clips)
    _require_possible(clips, held_out, settings.labels)
    own = {step: given for step, given in runs.overrides.items() if step != "source"}
    shared = replace(runs, root=folder, data=whole.source, overrides=own)
    done: list[StudyRun] = []
    for seed in settings.seeds:
        for held in held_out:
            parts = {patient: "test" if patient in held else "train" for patient in patients}
            order = label_order(
                {p: names for p, names in clips.items() if p not in held}, f"{seed} {' '.join(held)}"
            )
            for number in settings.labels:
                arms = settings.arms_with_all_labels if number is None else settings.arms or tuple(whole.arms)
                named = order[:number]
                name = f"{'+'.join(held)}-{number or 'all'}" + (f"-seed{seed}" if seed else "")
                asked = replace(shared, name=name, seed=seed, split={"parts": parts, "labelled_clips": named})
                scores = _scores(Pipeline(asked), tuple(dict.fromkeys((REFERENCE, *arms))))
                tables = {arm: scores.arms[arm][0] for arm in scores.arms}
                done.append(StudyRun(name, held, number, tuple(named), seed, tables, scores.frames))
            found = _write(folder / "report", settings, done)
    return found


def label_order(clips: Mapping[str, Sequence[str]], seed: str) -> list[str]:
    """The order in which clips get their labels: one of each patient, then a second of each, and so on.

    The clips of a smaller number are so among those of a larger one, and of different patients as far as these reach.

    Args:
        clips: Patient -> names of annotated clips.
        seed: Decides the order of patients, and of each one's clips.
    """
    rng = random.Random(f"few labels {seed}")
    queues = [
        rng.sample(sorted(clips[who]), len(clips[who])) for who in rng.sample(sorted(clips), len(clips))
    ]
    return [clip for turn in zip_longest(*queues) for clip in turn if clip is not None]


def _annotated(source: Path) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Names of the clips with labels by patient, and all patients, of a source in which everybody trains."""
    index = ClipIndex(source, "train")
    clips: dict[str, list[str]] = {}
    for clip in np.unique(index.clip_of_frame[index.labelled_rows]):
        clips.setdefault(str(index.patient[clip]), []).append(str(index.name[clip]))
    return dict(sorted(clips.items())), index.patients


def _require_possible(
    clips: Mapping[str, Sequence[str]], held_out: Sequence[Sequence[str]], labels: Sequence[int | None]
) -> None:
    named = [patient for held in held_out for patient in held]
    if wrong := [patient for patient in named if patient not in clips or named.count(patient) > 1]:
        raise ConfigError(
            "nobody to hold out by this name, or the same one twice",
            key="PATIENTS",
            expected=f"each once, of those with labels: {', '.join(clips)}",
            found=wrong[0],
        )
    for held in held_out:
        left = sum(len(names) for patient, names in clips.items() if patient not in held)
        if wrong_numbers := [number for number in (*labels, 1) if number is not None and number > left]:
            raise ConfigError(
                "the study asks for more labelled clips than there are",
                key="LABELS",
                expected=f"at most {left}, which are left when {', '.join(held)} is held out",
                found=wrong_numbers[0],
                remedy='name smaller numbers, for example LABELS="2 4 all", or hold fewer patients out at a time',
            )


def _scores(pipeline: Pipeline, arms: tuple[str, ...]) -> SegmentationScores:
    """Train, predict and score one run; what is there already stays."""
    seed, run, source = pipeline.settings.seed, pipeline.run, pipeline.source
    predictions, out = pipeline.compare(arms), run.path("scores.npy")

    def action(resume: bool) -> None:
        scores = score_segmentations([predictions], Artifact.open(source, Kind.SOURCE), seeds=[seed])
        np.save(out, scores.as_table())

    inputs = {"source": source, "segmentation": predictions}
    with run.locked():
        run.perform(Step("scores", {"seed": seed}, inputs, [out], action))
    return SegmentationScores.of_table(np.load(out), Artifact.open(predictions, Kind.SEGMENTATION), [seed])


def _write(folder: Path, settings: StudySettings, runs: Sequence[StudyRun]) -> dict[str, Any]:
    study = clean_metrics(study_metrics(settings.runs.name, settings.runs.preset, runs))
    check_study(study, "")
    save_bytes(folder / "study.json", (json.dumps(study, indent=1, allow_nan=False) + "\n").encode())
    write_table(folder / "study.csv", COLUMNS, study_rows(runs))
    say(f"study {settings.runs.name}: {len(runs)} runs done, wrote {write_study(folder, study)}")
    return study
