"""Leaks built on purpose, end to end: each is refused, and the patient is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import (
    FRAMES,
    SEGMENTER,
    motion_module,
    patients_of,
    rewritten,
    save_model,
    scene_module,
    segmentation_module,
    toy_clips,
    write_suspects,
    write_synthetic,
    write_toy_source,
)
from training import Stop, StoppedError, fit, motion_data, scene_data, segmentation_data

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.augment.gate import GateConfig
from sfvd_pl.augment.plan import PlanConfig
from sfvd_pl.cli.main import dispatch
from sfvd_pl.datasets.modules.segmentation import SegmentationDataModule
from sfvd_pl.datasets.segmentation import MixConfig
from sfvd_pl.errors import ArtifactError, CheckpointError, LeakError
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.logging import LoggingConfig
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.augment import AugmentSettings, make_synthetic
from sfvd_pl.pipeline.evaluation.arms import score_segmentations
from sfvd_pl.pipeline.evaluation.run import evaluate
from sfvd_pl.pipeline.evaluation.segmentation import write_segmentation
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings


@pytest.fixture(scope="module")
def other_split(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same clips of the same patients, split with another seed so that a training patient is now held out."""
    folder = tmp_path_factory.mktemp("split")
    learned = patients_of(source, "train")
    for seed in range(50):
        path = write_toy_source(folder / f"{seed}.h5", seed=seed, clips=toy_clips())
        if patients_of(path, "test") <= learned:
            return path
    raise AssertionError("no seed moves a training patient to the test")


@pytest.fixture(scope="module")
def leaked(source: Path, other_split: Path) -> list[str]:
    """Patients that a model trained on the one source has seen and the other holds out."""
    held_out = patients_of(other_split, "val") | patients_of(other_split, "test")
    return sorted(patients_of(source, "train") & held_out)


def settings(folder: Path, source: Path, models: dict[str, Path], **changes: Any) -> AugmentSettings:
    suspects = folder / "suspects.h5"
    if not suspects.exists() and "suspects" not in changes:
        write_suspects(suspects, source)
    given = AugmentSettings(
        source=source,
        suspects=suspects,
        scene_ckpt=models["scene"],
        motion_ckpt=models["motion"],
        guide_ckpt=models["guide"],
        gate_ckpt=models["gate"],
        out=folder / "synthetic.h5",
        run_dir=folder / "augment",
        plan=PlanConfig(num_clips=2, frames=FRAMES, vessel_share=0.0),
        gate=GateConfig(attenuation_cnr=-1e9, drawn_share=0.0, dice_ratio=0.0),
        batch_size=2,
        accelerator="cpu",
        devices=1,
        logging=LoggingConfig(wandb="disabled", stage="augment"),
    )
    return replace(given, **changes)


@pytest.fixture(scope="module")
def made(source: Path, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic clips from models that were really trained on the source: scene, motion from it, guide and gate."""
    folder = tmp_path_factory.mktemp("made")
    trained = {}
    for role, module, data in (
        ("scene", scene_module(), scene_data(source)),
        ("guide", segmentation_module(seed=1), segmentation_data(source)),
        ("gate", segmentation_module(seed=2), segmentation_data(source)),
    ):
        trainer = fit(module, data, folder / role, max_steps=1, limit_val_batches=0)
        trained[role] = folder / f"{role}.ckpt"
        trainer.save_checkpoint(trained[role])
    motion = motion_module(scene_ckpt=trained["scene"])
    trainer = fit(motion, motion_data(source), folder / "motion", max_steps=1, limit_val_batches=0)
    trained["motion"] = folder / "motion.ckpt"
    trainer.save_checkpoint(trained["motion"])
    return make_synthetic(settings(folder, source, trained))


def _refused_with(found: LeakError, names: list[str]) -> None:
    assert found.key == "patients"
    assert str(found.found).split(", ") == names


def test_synthetic_clips_of_another_split_are_refused_by_the_patient_s_name(
    made: Path, other_split: Path, leaked: list[str], tmp_path: Path
) -> None:
    for arm in ("synthetic", "pretrain"):
        data = segmentation_data(other_split, synthetic=made, mix=MixConfig(arm))
        with pytest.raises(LeakError) as caught:
            fit(segmentation_module(), data, tmp_path, max_steps=1, limit_val_batches=0)
        _refused_with(caught.value, leaked)
        assert caught.value.file == str(made)
        with pytest.raises(LeakError) as caught:
            data.train_dataloader()  # nor without a trainer
        _refused_with(caught.value, leaked)


def test_the_command_refuses_as_well(
    made: Path, other_split: Path, leaked: list[str], tmp_path: Path
) -> None:
    arguments = ["segment", "fit", "--data.source", other_split, "--data.synthetic", made]
    arguments += ["--run_dir", tmp_path / "run"]
    arguments += ["--data.mix.arm", "synthetic", "--data.window", "32", "--trainer.max_steps", "1"]
    arguments += ["--trainer.accelerator", "cpu", "--logging.wandb", "disabled", "--data.num_workers", "0"]
    arguments += ["--model.network.features", str(list(SEGMENTER.features))]
    with pytest.raises(LeakError, match=leaked[0]):
        dispatch([str(argument) for argument in arguments])
    assert not list(tmp_path.rglob("*.ckpt"))


def test_on_the_source_they_were_made_from_they_are_welcome(made: Path, source: Path, tmp_path: Path) -> None:
    data = segmentation_data(source, synthetic=made, mix=MixConfig("synthetic"))
    module = segmentation_module()
    fit(module, data, tmp_path, max_steps=1, limit_val_batches=0)
    assert set(module.learned_from["patients"]) == patients_of(source, "train")


def test_a_mask_sequence_of_a_held_out_patient_is_found_without_the_list_of_patients(
    source: Path, tmp_path: Path
) -> None:
    """The masks were re-paired from a test patient's clip; the list of patients is clean."""
    victim = sorted(patients_of(source, "test"))[0]
    columns = Artifact.open(source).column
    clip = next(str(n) for n, p in zip(columns("clips/name"), columns("clips/patient"), strict=True) if p == victim)
    clean = write_synthetic(tmp_path / "clean.h5", source)
    origin = np.array(["simulated"] * 5 + ["labelled"], object)
    for name, masks in (("simulated", ["simulated"] * 6), ("labelled", origin)):
        sources = np.array(["0"] * 5 + [clip], object)
        path = rewritten(
            clean,
            tmp_path / f"{name}.h5",
            clips__mask_origin=np.array(masks, object),
            clips__mask_source=sources,
        )
        data = segmentation_data(source, synthetic=path, mix=MixConfig("synthetic"))
        if name == "simulated":  # the number of the simulator's seed may look like anything
            assert set(data.patients) == patients_of(source, "train")
            continue
        with pytest.raises(LeakError) as caught:
            fit(segmentation_module(), data, tmp_path, max_steps=1, limit_val_batches=0)
        _refused_with(caught.value, [victim])


def test_synthetic_clips_that_do_not_say_whom_they_were_learned_from_are_refused(source: Path, tmp_path: Path) -> None:
    path = write_synthetic(tmp_path / "anonymous.h5", source, patients=[])
    with pytest.raises(LeakError, match="doesn't say whom"):
        segmentation_data(source, synthetic=path, mix=MixConfig("pretrain")).train_dataloader()


def test_clips_of_another_source_without_common_names_come_with_a_warning(source: Path, tmp_path: Path) -> None:
    """Names can't tell whether two sources show one patient; ``sfvd data check`` compares the pictures."""
    other = tmp_path / "other.h5"
    clips = [
        replace(clip, patient=f"x{clip.patient}", name=f"x{clip.name}") for clip in toy_clips()
    ]
    write_toy_source(other, clips=clips)
    synthetic = write_synthetic(tmp_path / "synthetic.h5", other)
    data = segmentation_data(source, synthetic=synthetic, mix=MixConfig("synthetic"))
    with pytest.warns(UserWarning, match="told apart from the held-out ones by their names only"):
        data.train_dataloader()
    assert patients_of(other, "train") <= set(data.patients), "whoever trains on them has learned from them"


@pytest.mark.parametrize("role", ["scene", "motion", "guide", "gate"])
def test_augment_refuses_a_model_that_saw_a_held_out_patient(
    role: str, source: Path, models: dict[str, Path], other_split: Path, leaked: list[str], tmp_path: Path
) -> None:
    """Each of the four in turn is the one that was trained on the first split."""
    build = {"scene": scene_module, "motion": motion_module, "guide": segmentation_module, "gate": segmentation_module}
    seeds = {"scene": 4, "motion": 0, "guide": 1, "gate": 2}
    ours = {
        name: save_model(make(seed=seeds[name]), tmp_path / f"{name}.ckpt", other_split)
        for name, make in build.items()
    }
    given = settings(tmp_path, other_split, ours | {role: models[role]})
    with pytest.raises(LeakError) as caught:
        make_synthetic(given)
    _refused_with(caught.value, leaked)
    assert caught.value.message == f"the {role} was learned from patients that must stay unseen"
    assert caught.value.file == str(models[role])
    assert not given.out.exists()


def test_augment_refuses_suspicions_of_a_guide_that_saw_a_held_out_patient(
    source: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    victim = sorted(patients_of(source, "val"))[0]
    learned = (*patients_of(source, "train"), victim)
    suspects = rewritten(write_suspects(tmp_path / "clean.h5", source), tmp_path / "leaky.h5", patients=learned)
    with pytest.raises(LeakError) as caught:
        make_synthetic(settings(tmp_path, source, models, suspects=suspects))
    _refused_with(caught.value, [victim])
    assert caught.value.file == str(suspects)


def test_augment_refuses_suspicions_about_another_source(
    source: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    other = write_suspects(tmp_path / "foreign.h5", write_toy_source(tmp_path / "other.h5", seed=8, clips=toy_clips()))
    with pytest.raises(ArtifactError, match="another source"):
        make_synthetic(settings(tmp_path, source, models, suspects=other))


def test_a_motion_model_inherits_the_patients_of_the_scene_model_it_starts_from(
    source: Path, models: dict[str, Path], other_split: Path, leaked: list[str], tmp_path: Path
) -> None:
    motion = motion_module(scene_ckpt=models["scene"])
    with pytest.raises(LeakError) as caught:
        fit(motion, motion_data(other_split), tmp_path, max_steps=1, limit_val_batches=0)
    _refused_with(caught.value, leaked)
    kept = motion_module(scene_ckpt=save_model(scene_module(), tmp_path / "s.ckpt", source, patients=["elsewhere"]))
    fit(kept, motion_data(source), tmp_path, max_steps=1, limit_val_batches=0)
    assert set(kept.learned_from["patients"]) == patients_of(source, "train") | {"elsewhere"}
    silent = motion_module(scene_ckpt=save_model(scene_module(), tmp_path / "silent.ckpt", source, patients=[]))
    with pytest.raises(LeakError, match="the model to start from doesn't say whom it was learned from"):
        fit(silent, motion_data(source), tmp_path, max_steps=1, limit_val_batches=0)


def test_going_on_with_other_synthetic_clips_is_refused(source: Path, tmp_path: Path) -> None:
    own, stopped = sorted(patients_of(source, "train")), tmp_path / "stopped.ckpt"

    def data(name: str) -> SegmentationDataModule:
        clips = write_synthetic(tmp_path / f"{name}.h5", source, patients=[*own, name])
        return segmentation_data(source, mix=MixConfig(arm="synthetic"), synthetic=clips)

    with pytest.raises(StoppedError):
        fit(segmentation_module(), data("before"), tmp_path / "a", callbacks=[Stop(1, stopped)])
    with pytest.raises(CheckpointError, match=r"another training\n  key: data.synthetic"):
        fit(segmentation_module(), data("after"), tmp_path / "b", resume=stopped, limit_val_batches=0)


def test_a_segmenter_is_not_tested_on_whom_it_has_seen(
    source: Path, models: dict[str, Path], other_split: Path, tmp_path: Path
) -> None:
    seen = sorted(patients_of(other_split, "test"))
    with pytest.raises(LeakError) as caught:
        write_segmentation(tmp_path / "s.h5", other_split, {"real": models["guide"]}, seed=0, config={})
    _refused_with(caught.value, seen)
    assert not (tmp_path / "s.h5").exists()
    synthetic = write_synthetic(tmp_path / "synthetic.h5", other_split)
    with pytest.raises(LeakError, match="the evaluator was learned from"):
        evaluate(EvaluateSettings(other_split, synthetic, models["guide"]))
    from lightning.pytorch import Trainer

    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    module = load_for_inference(SegmentationModule, models["guide"])
    for run in (trainer.test, trainer.validate):
        with pytest.raises(LeakError, match="the model was learned from"):
            run(module, datamodule=segmentation_data(other_split), ckpt_path=models["guide"], weights_only=True)


def test_predictions_remember_whom_their_segmenters_learned_from(
    source: Path, tmp_path: Path
) -> None:
    learned = [*patients_of(source, "train"), "elsewhere"]
    ckpt = save_model(segmentation_module(), tmp_path / "m.ckpt", source, patients=learned)
    out = write_segmentation(tmp_path / "s.h5", source, {"real": ckpt}, seed=0, config={})
    assert set(Artifact.open(out, Kind.SEGMENTATION).patients) == set(learned)


def test_predictions_are_not_scored_against_the_masks_of_another_source(source: Path, tmp_path: Path) -> None:
    """The rows exist in both, so nothing else would tell."""
    ckpt = save_model(segmentation_module(), tmp_path / "m.ckpt", source)
    out = write_segmentation(tmp_path / "s.h5", source, {"real": ckpt}, seed=0, config={})
    scored = score_segmentations([out], Artifact.open(source), seeds=[0])
    assert set(scored.frames.everybody) == patients_of(source, "test")
    other = write_toy_source(tmp_path / "other.h5", seed=8)
    with pytest.raises(ArtifactError, match="predictions on another source"):
        score_segmentations([out], Artifact.open(other), seeds=[0])
