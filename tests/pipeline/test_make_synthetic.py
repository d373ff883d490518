"""Stage 3 as a whole, on untrained models."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generation import write_toy_scenes
from toy import patients_of, save_model, scene_module, segmentation_module, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind, merge_shards, verify
from sfvd_pl.augment.gate import GateConfig
from sfvd_pl.augment.plan import PlanConfig
from sfvd_pl.datasets.segmentation import AnnotatedFrames
from sfvd_pl.errors import CheckpointError, ConfigError, LeakError, SfvdError
from sfvd_pl.metrics.segmentation import dice
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.generation import ClipGenerator
from sfvd_pl.modules.logging import LoggingConfig
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.modules.workers import Worker
from sfvd_pl.modules.writer import shards_folder
from sfvd_pl.pipeline.augment import AugmentSettings, make_synthetic, work_out_gate


@pytest.fixture(scope="module")
def scenes(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_scenes(tmp_path_factory.mktemp("augment") / "scenes.h5", source)


Settings = Callable[..., AugmentSettings]


@pytest.fixture
def settings(source: Path, scenes: Path, models: dict[str, Path], tmp_path: Path) -> Settings:
    def make(name: str = "a", **changes: Any) -> AugmentSettings:
        given = AugmentSettings(
            source=source,
            scenes=scenes,
            scene_ckpt=models["scene"],
            motion_ckpt=models["motion"],
            guide_ckpt=models["guide"],
            gate_ckpt=models["gate"],
            out=tmp_path / f"{name}.h5",
            run_dir=tmp_path / name,
            plan=PlanConfig(num_clips=6, reuse_scenes=0.5),
            gate=GateConfig(0.0, None),
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
    generate = ClipGenerator.generate

    def spying(self: ClipGenerator, batch: Any) -> Any:
        if die_after is not None and len(made) == die_after:
            raise Killed
        made.append(batch.sample_id.tolist())
        return generate(self, batch)

    monkeypatch.setattr(ClipGenerator, "generate", spying)
    return made


def test_a_killed_generation_makes_the_missing_clips_only_and_ends_byte_for_byte_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _spy(monkeypatch)
    unbroken = make_synthetic(settings("unbroken"))
    assert whole == [[0, 1], [2], [4, 5], [6]]
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
    generate, made = ClipGenerator.generate, []

    def dying(self: ClipGenerator, batch: Any) -> Any:
        if len(made) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        made.append(1)
        return generate(self, batch)

    ClipGenerator.generate = dying  # type: ignore[method-assign]
    make_synthetic(settings, worker)


def test_processes_of_which_some_are_killed_make_the_same_artifact(settings: Settings) -> None:
    asked = {"plan": PlanConfig(num_clips=7, reuse_scenes=0.3), "batch_size": 1}
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


MEASURED = {"frames/image", "frames/visibility", "clips/measured_visibility", "clips/gate_dice"}


def test_what_is_asked_of_a_sample_depends_on_nothing_but_its_id(settings: Settings) -> None:
    """Batches, order and processes: the same bytes, but for the pictures' last bit and what is measured on them."""
    one = Artifact.open(make_synthetic(settings("ones", batch_size=1)))
    for name, size, worker in (("fives", 5, Worker()), ("from the middle", 2, Worker(3, 4))):
        other = Artifact.open(make_synthetic(settings(name, batch_size=size), worker))
        for key in one.keys:
            a, b = one.column(key), other.column(key)
            if key == "frames/image":
                assert np.abs(a.astype(int) - b.astype(int)).max() <= 1
                assert (a != b).mean() < 0.001
            elif key in MEASURED:
                assert np.allclose(a, b, atol=0.02, equal_nan=True)
            else:
                assert a.tobytes() == b.tobytes() if a.dtype != object else list(a) == list(b), key


def test_smaller_batches_in_a_later_attempt_go_on_with_the_same_shards(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spy(monkeypatch, die_after=1)
    with pytest.raises((Killed, SystemExit)):
        make_synthetic(settings(batch_size=3))
    monkeypatch.undo()
    made = _spy(monkeypatch)
    make_synthetic(settings(batch_size=2))
    assert made == [[4, 5], [6]]
    assert Artifact.open(settings().out).column("clips/sample_id").tolist() == [0, 1, 2, 4, 5, 6]


def test_the_thresholds_are_those_of_whoever_came_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measured number may differ in its last bit on another machine: that must not make two runs of one."""
    _spy(monkeypatch, die_after=1)
    with pytest.raises((Killed, SystemExit)):
        make_synthetic(settings(gate=GateConfig(0.5, None)))
    monkeypatch.undo()
    monkeypatch.setattr("sfvd_pl.pipeline.augment.work_out_gate", lambda *_: pytest.fail("worked out again"))
    made = _spy(monkeypatch)
    make_synthetic(settings(gate=GateConfig(0.5, None)))
    assert made == [[2], [4, 5], [6]]
    make_synthetic(settings(gate=GateConfig(0.5, None)))
    assert len(made) == 3, "a process that comes after the end has nothing to do"
    assert not list(settings().out.parent.glob("*.shards"))


def test_without_merging_the_shards_are_left(settings: Settings) -> None:
    plan = PlanConfig(num_clips=2)
    asked = settings(plan=plan, merge=False)
    make_synthetic(asked)
    assert not asked.out.exists()
    out = merge_shards(shards_folder(asked.out))
    assert out == asked.out
    assert Artifact.open(out).content_hash == Artifact.open(make_synthetic(settings("whole", plan=plan))).content_hash


def test_the_artifact_holds_what_was_planned(settings: Settings, source: Path, scenes: Path) -> None:
    asked = settings()
    path = make_synthetic(asked)
    assert verify(path, parents={"source": source, "scenes": scenes}) == []
    made = Artifact.open(path, Kind.SYNTHETIC)
    plan = json.loads((asked.run_dir / "plan.json").read_text())
    assert made.column("clips/sample_id").tolist() == [line["sample_id"] for line in plan]
    for key in ("requested_visibility", "segmentation_scale"):
        assert np.allclose(made.column(f"clips/{key}"), [line[key] for line in plan])
    assert list(made.column("clips/scene_origin")) == ["scenes"] * 3 + ["fresh"] * 3
    assert list(made.column("clips/mask_source")) == [line["mask_source"] for line in plan]
    assert set(made.patients) == patients_of(source, "train")
    assert {"source", "scenes", "scene_ckpt", "motion_ckpt", "guide_ckpt", "gate_ckpt"} <= set(made.parents)
    assert made.column("clips/accepted").all()
    assert list((asked.run_dir / "pictures").glob("synthetic-*.gif"))


def test_the_gate_is_worked_out_on_real_validation_frames(models: dict[str, Path], source: Path) -> None:
    judge = load_for_inference(SegmentationModule, models["gate"])
    scores = []
    frames = AnnotatedFrames(source, "val")
    for position in range(len(frames)):
        batch = frames[position]
        found = (judge(batch.image).sigmoid() >= 0.5)[0, 0].numpy()
        scores.append(dice(found, batch.wire_mask[0, 0].numpy() > 0))
    artifact = Artifact.open(source, Kind.SOURCE)
    use = np.repeat(artifact.column("clips/labelled") & (artifact.column("clips/split") == "train"), 6)
    faintest = np.quantile(artifact.column("frames/visibility")[use], 0.1)
    gate = work_out_gate(judge, source, GateConfig(0.5, 0.1))
    assert gate.dice == pytest.approx(0.5 * float(np.mean(scores)), abs=1e-5)
    assert gate.visibility == pytest.approx(float(faintest))
    assert work_out_gate(judge, source, GateConfig(0.5, None)).visibility is None


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
