"""How a run turns its settings into commands."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toy import STAGES

from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline import run as module
from sfvd_pl.pipeline.run import Pipeline
from sfvd_pl.pipeline.settings import RunSettings
from sfvd_pl.pipeline.steps import Step


@pytest.fixture(autouse=True)
def labels_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a second segmenter: there is no source to count them in."""
    monkeypatch.setattr(Pipeline, "_has_second_segmenter", True)


def _pipeline(root: Path, **settings: Any) -> Pipeline:
    return Pipeline(RunSettings("r", root, "toy", STAGES, **settings))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """The commands that steps give, none of them run."""
    given: list[tuple[list[str], dict[str, Any]]] = []
    monkeypatch.setattr(module, "sfvd_command", lambda arguments, **how: given.append((arguments, how)))
    return given


def test_the_launcher_starts_trainings_and_generation_alike(
    tmp_path: Path, commands: list[tuple[list[str], dict[str, Any]]]
) -> None:
    pipeline = _pipeline(tmp_path, devices="4", nodes=2, launcher=("srun", "--wait=60"))
    *_, fit, predict = pipeline._stage1()
    (clips,) = pipeline._clips()
    for step in (fit, predict, clips):
        step.action(True)
    assert all(how["launcher"] == ("srun", "--wait=60") and how["isolated"] for _, how in commands)
    (trained, generated, augmented) = (arguments for arguments, _ in commands)
    wide = ["--trainer.devices", "4", "--trainer.num_nodes", "2", "--ckpt_path", "last"]
    assert trained == ["scene", "fit", "--config", str(tmp_path / "r/scene/fit.yaml"), *wide]
    assert generated[4:6] == ["--trainer.devices", "4"]
    assert "--trainer.num_nodes" not in generated  # its processes don't meet
    assert augmented == ["augment", "--config", str(tmp_path / "r/augment/augment.yaml"), "--devices", "4"]


def test_one_device_needs_no_process_of_its_own(
    tmp_path: Path, commands: list[tuple[list[str], dict[str, Any]]]
) -> None:
    _pipeline(tmp_path, devices="1")._stage1()[-2].action(False)
    assert not commands[0][1]["isolated"]


def _training(root: Path, devices: str, nodes: int = 1, **scene: Any) -> dict[str, Any]:
    pipeline = _pipeline(root, devices=devices, nodes=nodes, overrides={"scene": scene})
    return pipeline._stage1()[-2].config


def test_the_same_samples_a_step_on_other_devices_is_the_same_training(tmp_path: Path) -> None:
    one = _training(tmp_path, "4", data={"batch_size": 8})
    assert one == _training(tmp_path, "2", nodes=2, data={"batch_size": 8})
    assert one == _training(tmp_path, "2", data={"batch_size": 8}, trainer={"accumulate_grad_batches": 2})
    assert one == _training(tmp_path, "2", data={"batch_size": 16})
    assert one != _training(tmp_path, "2", data={"batch_size": 8})
    assert one != _training(tmp_path, "4", data={"batch_size": 8}, trainer={"max_steps": 7})
    assert one == _training(tmp_path, "1", data={"batch_size": 32})
    assert _training(tmp_path, "auto") == _training(tmp_path, "1")


@pytest.mark.parametrize(
    "setting",
    [{"logging": {"wandb": "online"}}, {"checkpoint": {"every_minutes": 7}}, {"data": {"num_workers": 3}},
     {"trainer": {"log_every_n_steps": 2}}],
)  # fmt: skip
def test_how_a_training_is_watched_and_saved_makes_nothing_anew(tmp_path: Path, setting: dict[str, Any]) -> None:
    plain, changed = (_pipeline(tmp_path, overrides={"scene": given})._stage1() for given in ({}, setting))
    assert [step.config for step in plain] == [step.config for step in changed]


def test_a_run_that_was_moved_is_the_same_run(tmp_path: Path) -> None:
    """Paths of its own files, however they are spelled, are none of a step's settings."""
    roots = (tmp_path, tmp_path / "elsewhere")
    here, there = ([_configuration(step, root / "r") for step in _steps(_pipeline(root))] for root in roots)
    assert len(here) == 9
    assert here == there
    assert here[0] != _configuration(_steps(_pipeline(tmp_path))[0], tmp_path)


def _steps(pipeline: Pipeline) -> list[Step]:
    arm = pipeline._arm(pipeline._config("segment"), "synthetic", 0)
    return [*pipeline._stage1()[2:], *pipeline._stage2(), *pipeline._guides(), *pipeline._clips(), arm]


def _configuration(step: Step, folder: Path) -> str:
    return replace(step, inputs={}).fingerprint(folder)["configuration"]


def test_how_many_devices_generate_changes_nothing(tmp_path: Path) -> None:
    few, many = (_pipeline(tmp_path, devices=devices) for devices in ("1", "4"))
    assert few._clips()[0].config == many._clips()[0].config
    assert few._stage1()[-1].config == many._stage1()[-1].config


def test_augment_is_guides_and_clips(tmp_path: Path) -> None:
    pipeline = _pipeline(tmp_path)
    names = [step.name for step in pipeline._augment()]
    assert names == [step.name for step in [*pipeline._guides(), *pipeline._clips()]] == ["gate", "augment"]


def test_only_clips_may_be_made_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Array tasks run ``clips`` beside one another; a stage that isn't shared keeps them out."""
    monkeypatch.setattr(module, "require_passed", lambda *_: None)
    pipeline = _pipeline(tmp_path)
    monkeypatch.setattr(pipeline, "_clips", list)
    monkeypatch.setattr(pipeline, "_segment", list)
    with _pipeline(tmp_path).run.locked(together=True):
        pipeline.perform(["clips"])
        with pytest.raises(ConfigError, match="another process"):
            pipeline.perform(["clips", "segment"])
    with _pipeline(tmp_path).run.locked(), pytest.raises(ConfigError, match="another process"):
        pipeline.perform(["clips"])
