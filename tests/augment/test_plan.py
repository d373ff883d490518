from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from toy import FRAMES, WINDOW, patients_of, rewritten, write_suspects

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.augment.plan import Plan, PlanConfig, PlannedClip
from sfvd_pl.datasets.courses import MIN_WIRE_PIXELS
from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.metrics.visibility import clip_median, clip_visibility


def _plan(source: Path, suspects: Path, seed: int = 0, **config: Any) -> Plan:
    settings: dict[str, Any] = {"num_clips": 24, "frames": FRAMES, "window": WINDOW}
    return Plan(PlanConfig(**(settings | config)), source, suspects, seed)


def _clips(plan: Plan) -> list[PlannedClip]:
    return [plan.clip(i) for i in plan.sample_ids]


def _same(a: PlannedClip, b: PlannedClip) -> bool:
    return all(np.array_equal(value, vars(b)[key]) for key, value in vars(a).items())


def test_a_clip_depends_on_seed_and_id_alone(source: Path, suspects: Path) -> None:
    plan, again = _plan(source, suspects, hard_share=0.5), _plan(source, suspects, hard_share=0.5, num_clips=99)
    again.clip(50)
    for sample_id in (9, 3):
        assert _same(plan.clip(sample_id), again.clip(sample_id))
    assert not _same(plan.clip(3), _plan(source, suspects, seed=1, hard_share=0.5).clip(3))


def test_backgrounds_are_the_training_clips_in_turn(source: Path, suspects: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    names, patients = (list(artifact.column(f"clips/{key}")) for key in ("name", "patient"))
    training = {str(n) for n, p in zip(names, patients, strict=True) if p in patients_of(source, "train")}
    clips = _clips(_plan(source, suspects))
    for turn in range(4):
        shown = clips[6 * turn : 6 * turn + 6]
        assert {clip.background for clip in shown} == training
    assert [clip.background for clip in clips[:6]] != [clip.background for clip in clips[6:12]]
    for clip in clips:
        row = names.index(clip.background)
        assert clip.background_patient == patients[row]
        real = artifact.clip_rows("frames/image", row, clip.background_start, FRAMES)
        assert np.array_equal(clip.frames, real)  # type: ignore[arg-type]
    assert {clip.background_start for clip in clips} == {0, 1}


def test_masks_are_drawn_simulated_or_a_labelled_training_clip_s(source: Path, suspects: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    labelled = artifact.column("clips/labelled") & (artifact.column("clips/split") == "train")
    names = {str(name) for name in artifact.column("clips/name")[labelled]}
    clips = _clips(_plan(source, suspects, vessel_share=0.0, labelled_share=0.5))
    origins = [clip.mask_origin for clip in clips]
    assert 5 < origins.count("labelled") < 19 and origins.count("simulated") + origins.count("labelled") == 24
    assert {clip.mask_source for clip in clips if clip.mask_origin == "labelled"} <= names
    for clip in clips:
        assert clip.wire_mask.shape == (FRAMES, 48, 48)
        assert clip.mask_origin == "simulated" or clip.wire_mask.sum((1, 2)).min() >= MIN_WIRE_PIXELS


def test_known_wires_are_labels_and_suspected_ones_are_ignored(source: Path, suspects: Path) -> None:
    """The guide finds every wire of the toy source."""
    artifact = Artifact.open(source, Kind.SOURCE)
    names, labelled = list(artifact.column("clips/name")), artifact.column("clips/labelled")
    kinds = set()
    for clip in _clips(_plan(source, suspects, num_clips=6)):
        row = names.index(clip.background)
        wire = artifact.clip_rows("frames/wire_mask", row, clip.background_start, FRAMES)
        kinds.add(bool(labelled[row]))
        if labelled[row]:
            assert np.array_equal(clip.known_wire, wire) and not clip.ignore.any()
            assert np.array_equal(clip.label, clip.wire_mask | wire)
        else:
            near = np.stack([distance_transform_edt(frame == 0) <= 2 for frame in wire])
            assert not clip.known_wire.any() and np.array_equal(clip.label, clip.wire_mask)
            assert np.array_equal(clip.ignore > 0, near & (clip.wire_mask == 0))
        band = np.stack([distance_transform_edt(frame == 0) <= 4 for frame in clip.wire_mask])
        assert np.array_equal(clip.region, band)
    assert kinds == {True, False}


def test_an_erased_wire_is_drawn_over_and_is_no_label(source: Path, suspects: Path) -> None:
    clips = _clips(_plan(source, suspects, num_clips=6, erase_known=True))
    assert any(clip.known_wire.any() for clip in clips)
    for clip in clips:
        assert np.array_equal(clip.label, clip.wire_mask)
        assert clip.region[clip.known_wire > 0].all() and clip.region[clip.wire_mask > 0].all()


def test_what_the_source_says_to_ignore_is_ignored(source: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    ignore = 1 - artifact.column("frames/wire_mask")
    path = rewritten(source, tmp_path / "s.h5", frames__ignore=ignore)
    plan = _plan(path, write_suspects(tmp_path / "suspects.h5", path), num_clips=6)
    labelled = [clip for clip in _clips(plan) if clip.known_wire.any()]
    assert labelled and all(np.array_equal(clip.ignore, 1 - clip.label) for clip in labelled)


def test_a_wire_is_to_be_as_plain_as_one_of_known_attenuation_on_its_background(source: Path, suspects: Path) -> None:
    plan = _plan(source, suspects, num_clips=60, attenuation=(0.4, 0.5))
    labelled = plan.index.labelled_attenuation()
    low, high = min(0.4, 0.5 * labelled.min()), max(0.5, 2 * labelled.max())
    assert plan.attenuation == pytest.approx((low, high)) and low < 0.4
    asked = []
    for clip in _clips(plan):
        wired = [clip.frames / 255 * np.exp(-a * clip.wire_mask) for a in np.geomspace(low, high, 4)]
        at = [clip_median(clip_visibility(frames, clip.wire_mask, ignore=clip.ignore)) for frames in wired]
        assert at[0] - 1e-3 <= clip.visibility <= at[-1] + 1e-3
        asked.append(int(np.searchsorted(at[1:3], clip.visibility)))
    faint, usual, plain = np.bincount(asked, minlength=3)
    assert usual > 20 and 4 < faint < usual and 4 < plain < usual, "most often in the middle of the log scale"


@pytest.mark.parametrize(("anchored", "low", "high"), [(0.0, 0, 0), (0.5, 5, 19), (1.0, 24, 24)])
def test_anchored_share(source: Path, suspects: Path, anchored: float, low: int, high: int) -> None:
    plan = _plan(source, suspects, anchored=anchored, vessel_share=0.0)
    clips = _clips(plan)
    assert low <= sum(clip.frames is not None for clip in clips) <= high
    for clip in clips:
        if clip.frames is None:
            assert (clip.background, clip.background_patient, clip.background_start) == ("", "", 0)
            assert clip.wire_mask.shape == (FRAMES, WINDOW, WINDOW) and clip.region.all()
            assert not clip.known_wire.any() and not clip.ignore.any()
    assert plan.frame_shape == ((WINDOW, WINDOW) if anchored == 0.0 else (48, 48))


def test_hard_clips_and_guidance_are_drawn_as_often_and_as_strong_as_asked(source: Path, suspects: Path) -> None:
    plan = _plan(source, suspects, hard_share=0.3, segmentation_scale=0.05, vessel_share=0.0, num_clips=60)
    clips = _clips(plan)
    assert np.mean([clip.hard for clip in clips]) == pytest.approx(0.3, abs=0.15)
    scales = np.array([clip.segmentation_scale for clip in clips])
    assert np.abs(scales).max() <= 0.05 and scales.min() < -0.03 and scales.max() > 0.03


def test_a_source_that_can_not_be_planned_for_is_refused(source: Path, tmp_path: Path, suspects: Path) -> None:
    with pytest.raises(SourceError, match="at least 7 frames"):
        _plan(source, suspects, frames=7)
    bright = rewritten(source, tmp_path / "bright.h5", frames__image=255 - Artifact.open(source).column("frames/image"))
    with pytest.raises(SourceError, match="darker than what surrounds it"):
        _plan(bright, write_suspects(tmp_path / "suspects.h5", bright))


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_clips", 0), ("anchored", 1.5), ("vessel_share", -0.1), ("labelled_share", 2), ("hard_share", -1)],
)
def test_counts_and_shares_are_checked(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        PlanConfig(**{key: value})  # type: ignore[arg-type]
