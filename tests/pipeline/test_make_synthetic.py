"""Stage 3 as a whole, on untrained models."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import FRAMES, WINDOW, patients_of, save_model, scene_module, segmentation_module, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind, merge_shards, verify
from sfvd_pl.augment.gate import LOST, GateConfig
from sfvd_pl.augment.plan import Plan, PlanConfig
from sfvd_pl.datasets.segmentation import AnnotatedFrames
from sfvd_pl.errors import CheckpointError, ConfigError, LeakError, SfvdError
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.generation import ClipGenerator
from sfvd_pl.modules.logging import LoggingConfig
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.modules.workers import Worker
from sfvd_pl.modules.writer import shards_folder
from sfvd_pl.pipeline.augment import AugmentSettings, make_synthetic, real_dice

Settings = Callable[..., AugmentSettings]
OPEN = GateConfig(attenuation_cnr=-1e9, drawn_share=0.0, dice_ratio=0.0)
"""Untrained models draw nothing."""


def plan(num_clips: int, **changes: Any) -> PlanConfig:
    given: dict[str, Any] = {"frames": FRAMES, "window": WINDOW, "anchored": 0.5, "vessel_share": 0.0}
    return PlanConfig(num_clips=num_clips, **(given | changes))


@pytest.fixture
def settings(source: Path, suspects: Path, models: dict[str, Path], tmp_path: Path) -> Settings:
    def make(name: str = "a", **changes: Any) -> AugmentSettings:
        given = AugmentSettings(
            source=source,
            suspects=suspects,
            scene_ckpt=models["scene"],
            motion_ckpt=models["motion"],
            guide_ckpt=models["guide"],
            gate_ckpt=models["gate"],
            out=tmp_path / f"{name}.h5",
            run_dir=tmp_path / name,
            plan=plan(6),
            gate=OPEN,
            batch_size=2,
            accelerator="cpu",
            devices=1,
            logging=LoggingConfig(wandb="disabled", stage="augment"),
        )
        return replace(given, **changes)

    return make


class Killed(BaseException):
    """What ends a process, as far as a test can."""


def _spy(monkeypatch: pytest.MonkeyPatch, die_after: int | None = None) -> list[list[int]]:
    """Ids of each batch that is generated; dies in the one behind ``die_after``."""
    made: list[list[int]] = []
    predict = ClipGenerator.predict_step

    def spying(self: ClipGenerator, batch: Any, batch_idx: int) -> Any:
        if die_after is not None and len(made) == die_after:
            raise Killed
        made.append([clip.sample_id for clip in batch])
        return predict(self, batch, batch_idx)

    monkeypatch.setattr(ClipGenerator, "predict_step", spying)
    return made


def test_a_killed_generation_makes_the_missing_clips_only_and_ends_byte_for_byte_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _spy(monkeypatch)
    unbroken = make_synthetic(settings("unbroken"))
    assert whole == [[0, 1], [2, 3], [4, 5]]
    monkeypatch.undo()
    first = _spy(monkeypatch, die_after=2)
    broken = settings("broken")
    with pytest.raises((Killed, SystemExit)):
        make_synthetic(broken)
    assert not broken.out.exists()
    monkeypatch.undo()
    second = _spy(monkeypatch)
    make_synthetic(broken)
    assert first + second == whole
    a, b = Artifact.open(unbroken, Kind.SYNTHETIC), Artifact.open(broken.out, Kind.SYNTHETIC)
    assert a.content_hash == b.content_hash
    assert sorted(p.name for p in broken.out.parent.glob("broken*")) == ["broken", "broken.h5"]


def _generate(settings: AugmentSettings, worker: Worker, die_after: int) -> None:
    """A process that is killed in its n-th batch."""
    predict, made = ClipGenerator.predict_step, []

    def dying(self: ClipGenerator, batch: Any, batch_idx: int) -> Any:
        if len(made) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        made.append(1)
        return predict(self, batch, batch_idx)

    ClipGenerator.predict_step = dying  # type: ignore[method-assign]
    make_synthetic(settings, worker)


def test_processes_of_which_some_are_killed_make_the_same_artifact(settings: Settings) -> None:
    asked = {"plan": plan(7), "batch_size": 1}
    alone, shared = settings("alone", **asked), settings("shared", **asked)
    make_synthetic(alone)
    fork = multiprocessing.get_context("fork")
    dying = (0, 1, 99)
    processes = [
        fork.Process(target=_generate, args=(shared, Worker(index, 3), die)) for index, die in enumerate(dying)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    first, second, last = (process.exitcode for process in processes)
    assert last == 0 and -9 in (first, second)  # one of them may find nothing left to die in
    assert Artifact.open(alone.out).content_hash == Artifact.open(shared.out).content_hash
    assert sorted(p.name for p in shared.out.parent.glob("shared*")) == ["shared", "shared.h5"]


def test_a_sample_depends_on_nothing_but_its_id(settings: Settings) -> None:
    """Batches, order and processes: the same bytes."""
    one = Artifact.open(make_synthetic(settings("ones", batch_size=1)))
    for name, size, worker in (("fives", 5, Worker()), ("from the middle", 2, Worker(3, 4))):
        other = Artifact.open(make_synthetic(settings(name, batch_size=size), worker))
        assert other.content_hash == one.content_hash


def test_smaller_batches_in_a_later_attempt_go_on_with_the_same_shards(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spy(monkeypatch, die_after=1)
    with pytest.raises((Killed, SystemExit)):
        make_synthetic(settings(batch_size=3))
    monkeypatch.undo()
    made = _spy(monkeypatch)
    make_synthetic(settings(batch_size=2))
    assert made == [[3, 4], [5]]
    assert Artifact.open(settings().out).column("clips/sample_id").tolist() == [0, 1, 2, 3, 4, 5]


def test_the_threshold_is_that_of_whoever_came_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measured number may differ in its last bit on another machine: that must not make two runs of one."""
    _spy(monkeypatch, die_after=1)
    with pytest.raises((Killed, SystemExit)):
        make_synthetic(settings(gate=replace(OPEN, dice_ratio=0.5)))
    monkeypatch.undo()
    monkeypatch.setattr("sfvd_pl.pipeline.augment.real_dice", lambda *_: pytest.fail("worked out again"))
    made = _spy(monkeypatch)
    make_synthetic(settings(gate=replace(OPEN, dice_ratio=0.5)))
    assert made == [[2, 3], [4, 5]]
    make_synthetic(settings(gate=replace(OPEN, dice_ratio=0.5)))
    assert len(made) == 2, "a process that comes after the end has nothing to do"
    assert not list(settings().out.parent.glob("*.shards"))


def test_without_merging_the_shards_are_left(settings: Settings) -> None:
    asked = settings(plan=plan(2), merge=False)
    make_synthetic(asked)
    assert not asked.out.exists()
    out = merge_shards(shards_folder(asked.out))
    assert out == asked.out
    whole = make_synthetic(settings("whole", plan=plan(2)))
    assert Artifact.open(out).content_hash == Artifact.open(whole).content_hash


def test_the_artifact_holds_what_was_planned(settings: Settings, source: Path, suspects: Path) -> None:
    asked = settings()
    path = make_synthetic(asked)
    assert verify(path, parents={"source": source, "suspects": suspects}) == []
    made, planned = Artifact.open(path, Kind.SYNTHETIC), Plan(asked.plan, source, suspects, asked.seed)
    for row, clip in enumerate(map(planned.clip, range(6))):
        height, width = clip.wire_mask.shape[1:]
        assert np.array_equal(made.clip_rows("frames/wire_mask", row)[:, :height, :width], clip.label)
        for key in ("sample_id", "background", "background_patient", "background_start", "mask_source", "hard"):
            assert made.column(f"clips/{key}")[row] == getattr(clip, key)
        if clip.frames is not None:
            real = np.where(clip.region, 0, clip.frames)
            assert np.array_equal(np.where(clip.region, 0, made.clip_rows("frames/image", row)), real)
    shown = set(made.column("clips/background_patient"))
    assert "" in shown and shown - {""} <= patients_of(source, "train")
    assert set(made.patients) == patients_of(source, "train")
    assert {"source", "suspects", "scene_ckpt", "motion_ckpt", "guide_ckpt", "gate_ckpt"} <= set(made.parents)
    assert made.column("clips/accepted").all()
    assert list((asked.run_dir / "pictures").glob("synthetic-*.gif"))


def test_without_a_second_segmenter_the_first_rules_decide(settings: Settings) -> None:
    gate = GateConfig(attenuation_cnr=1e9)
    made = Artifact.open(make_synthetic(settings(gate_ckpt=None, gate=gate, plan=plan(2))))
    assert np.isnan(made.column("clips/gate_dice")).all() and "gate_ckpt" not in made.parents
    assert set(made.column("clips/reject_reason")) == {LOST}


def test_the_second_segmenter_is_measured_on_real_validation_clips(models: dict[str, Path], source: Path) -> None:
    judge = load_for_inference(SegmentationModule, models["gate"])
    frames, scores = AnnotatedFrames(source, "val"), dict[int, list[float]]()
    for position in range(len(frames)):
        batch = frames[position]
        found = (judge.probability(batch.image) >= 0.5)[0, 0].numpy()
        clip = int(frames.frames.clip_of_frame[int(batch.row[0])])
        scores.setdefault(clip, []).append(dice(found, batch.wire_mask[0, 0].numpy() > 0))
    assert len(scores) == 2
    expected = np.median([np.mean(each) for each in scores.values()])
    assert real_dice(judge, source) == pytest.approx(expected, abs=1e-5)


def _refused(settings: AugmentSettings, error: type[SfvdError], match: str) -> None:
    with pytest.raises(error, match=match):
        make_synthetic(settings)
    assert not settings.out.exists()


def test_guide_and_gate_must_differ(settings: Settings, models: dict[str, Path]) -> None:
    _refused(settings(gate_ckpt=models["guide"]), ConfigError, "the same segmenter")


def test_a_model_of_another_source_is_refused(settings: Settings, tmp_path: Path) -> None:
    other = write_toy_source(tmp_path / "other.h5", seed=8)
    ckpt = save_model(scene_module(), tmp_path / "other.ckpt", other)
    _refused(settings(scene_ckpt=ckpt), SfvdError, "(another source|must stay unseen)")


def test_a_model_that_saw_a_test_patient_is_refused(settings: Settings, source: Path, tmp_path: Path) -> None:
    leaked = sorted(patients_of(source, "test"))
    ckpt = save_model(segmentation_module(seed=5), tmp_path / "leak.ckpt", source, patients=leaked)
    _refused(settings(gate_ckpt=ckpt), LeakError, leaked[0])


def test_a_model_without_a_record_of_its_source_is_refused(settings: Settings, tmp_path: Path) -> None:
    ckpt = save_model(segmentation_module(seed=5), tmp_path / "unknown.ckpt")
    _refused(settings(guide_ckpt=ckpt), LeakError, "the guide doesn't say whom it was learned from")


def test_checkpoints_in_each_other_s_place_are_refused(settings: Settings, models: dict[str, Path]) -> None:
    _refused(settings(scene_ckpt=models["motion"]), CheckpointError, "another kind of model")
