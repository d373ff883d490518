"""The sections noise, motion and wire of real windows, held against themselves and against worse ones."""

import pickle
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from generation import write_toy_scenes
from toy import FRAMES, WINDOW

from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, Degraded, MeasuredClip, Subset, WindowClips
from sfvd_pl.metrics.schema import clean_metrics, validate_section
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs, NotMeasuredError
from sfvd_pl.pipeline.evaluation.motion import _clip as _motion
from sfvd_pl.pipeline.evaluation.motion import measure_motion
from sfvd_pl.pipeline.evaluation.noise import _clip as _noise
from sfvd_pl.pipeline.evaluation.noise import measure_noise
from sfvd_pl.pipeline.evaluation.rows import CLIP_LIMIT, compared_sets, groups, longest, spread
from sfvd_pl.pipeline.evaluation.sections import SECTION_MEASURES
from sfvd_pl.pipeline.evaluation.wire import _clip as _wire
from sfvd_pl.pipeline.evaluation.wire import measure_wire


class Repeated(ClipSet):
    """A clip many times over; counts how many of its copies are in memory at once."""

    def __init__(self, base: ClipSet, times: int) -> None:
        self.title, self.intensity_max = "repeated", base.intensity_max
        self.clip, self.times = base[0], times
        self.given = self.alive = self.most = 0

    def __len__(self) -> int:
        return self.times

    @property
    def identity(self) -> str:
        return "repeated"

    @property
    def patients(self) -> tuple[str, ...]:
        return ("",) * len(self)

    def __getitem__(self, number: int) -> MeasuredClip:
        if not 0 <= number < self.times:
            raise IndexError(number)
        image = self.clip.image.copy()
        weakref.finalize(image, self._gone)
        self.given, self.alive = self.given + 1, self.alive + 1
        self.most = max(self.most, self.alive)
        return replace(self.clip, image=image, name=f"c{number}")

    def _gone(self) -> None:
        self.alive -= 1


def context_of(synthetic: ClipSet, reference: ClipSet | None, training: ClipSet | None) -> EvaluationContext:
    return EvaluationContext(Inputs(synthetic=synthetic, reference=reference, training=training))


@pytest.fixture(scope="module")
def context(source: Path) -> EvaluationContext:
    def windows(split: str) -> WindowClips:
        return WindowClips(source, split, window=WINDOW, frames=FRAMES, seed=0)

    return context_of(windows("train"), windows("test"), windows("train"))


def test_noise(context: EvaluationContext) -> None:
    section = measure_noise(context)
    rows = {row["name"]: row for row in section["rows"]}
    assert list(rows) == ["synthetic", "floor", "blur", "noise"]
    real = section["reference"]
    assert (real["name"], real["n"]) == ("real", len(context.reference))
    assert rows["blur"]["residual_std"]["mean"] < real["residual_std"]["mean"] < rows["noise"]["residual_std"]["mean"]
    # The very clips of the floor: only what they are resampled by differs.
    assert rows["synthetic"]["noise_std"]["mean"] == rows["floor"]["noise_std"]["mean"]
    assert len(real["autocorrelation"]) == len(section["lags"])
    assert np.isnan(real["autocorrelation"][FRAMES]["mean"]), "no clip is that long"
    assert section["pixel_std"]["real"] == pytest.approx(real["pixel_std"]["mean"], rel=0.2)
    validate_section("noise", clean_metrics(section))


def test_motion(context: EvaluationContext) -> None:
    section = measure_motion(context)
    rows = {row["name"]: row for row in section["rows"]}
    assert list(rows) == ["synthetic", "floor", "blur", "noise", "wrong masks"]
    real, wrong = section["reference"], rows["wrong masks"]
    assert wrong["displacement_error_px"]["mean"] > 2 * real["displacement_error_px"]["mean"]
    assert np.isnan(wrong["warp_error"]["mean"]) and np.isfinite(real["warp_error"]["mean"])
    assert rows["noise"]["warp_error"]["mean"] > real["warp_error"]["mean"] > rows["blur"]["warp_error"]["mean"]
    assert all(len(curve) == FRAMES for curve in real["by_frame"].values())
    validate_section("motion", clean_metrics(section))


def test_wire(context: EvaluationContext) -> None:
    section = measure_wire(context)
    rows = {row["name"]: row for row in section["rows"]}
    assert list(rows) == ["synthetic", "floor", "wrong masks"]
    real, wrong = section["reference"], rows["wrong masks"]
    assert wrong["cnr"]["mean"] < 0.5 * real["cnr"]["mean"]
    assert wrong["offset_px"]["mean"] > 3 * real["offset_px"]["mean"]
    validate_section("wire", clean_metrics(section))


def test_without_training_clips_there_is_no_floor_and_without_a_reference_no_section(
    context: EvaluationContext,
) -> None:
    without = context_of(context.synthetic, context.reference, None)
    assert [row["name"] for row in measure_noise(without)["rows"]] == ["synthetic", "blur", "noise"]
    for section in SECTION_MEASURES:
        if section.name in ("noise", "motion", "wire"):
            with pytest.raises(NotMeasuredError, match="reference"):
                section.measure(context_of(context.synthetic, None, None).restricted(section.uses))


def test_single_frames_have_no_motion(source: Path, context: EvaluationContext) -> None:
    frames = WindowClips(source, "test", window=WINDOW, frames=1, seed=0)
    with pytest.raises(NotMeasuredError, match="motion"):
        measure_motion(context_of(frames, frames, frames))
    assert np.isnan(measure_noise(context_of(frames, frames, frames))["reference"]["noise_std"]["mean"])


def test_generated_clips_are_resampled_one_by_one_and_real_ones_by_patient(
    source: Path, context: EvaluationContext, tmp_path: Path
) -> None:
    made = ArtifactClips(write_toy_scenes(tmp_path / "scenes.h5", source, 3))
    assert groups(made) == ["clip 0", "clip 1", "clip 2"]
    assert groups(Subset(made, (2, 0))) == ["clip 2", "clip 0"]
    assert groups(context.training) == list(context.training.patients)
    assert groups(Degraded(context.reference, "blur")) == list(context.reference.patients)
    assert groups(ArtifactClips(source)) == list(ArtifactClips(source).patients)


def test_what_is_measured_can_be_handed_to_another_process_and_back(context: EvaluationContext) -> None:
    clip = context.reference[0]
    functions = [partial(_motion, smoothness=True), _noise, _wire]
    for function in functions:
        sent = pickle.loads(pickle.dumps((partial(function, scale=255), clip)))
        assert pickle.dumps(pickle.loads(pickle.dumps(sent[0](sent[1])))) == pickle.dumps(function(clip, scale=255))


def test_large_sets_are_thinned_evenly(context: EvaluationContext) -> None:
    many = Repeated(context.reference, 3 * CLIP_LIMIT)
    kept = spread(many)
    assert isinstance(kept, Subset) and len(kept) == CLIP_LIMIT
    assert kept.numbers[0] == 0 and kept.numbers[-1] == len(many) - 1 and len(set(kept.numbers)) == CLIP_LIMIT
    assert spread(context.reference) is context.reference
    sets = compared_sets(context_of(many, context.reference, many), ("blur",))
    assert [name for name, _ in sets] == ["real", "synthetic", "floor", "blur"]
    assert longest(sets) == FRAMES


@pytest.mark.parametrize("measure", [measure_noise, measure_motion, measure_wire])
def test_pictures_are_let_go_of_clip_by_clip(
    context: EvaluationContext, measure: Callable[[EvaluationContext], object]
) -> None:
    many = Repeated(context.reference, 12)
    measure(context_of(many, many, many))
    assert many.given >= 36 and many.most <= 4
