from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy import STAGES

from sfvd_pl import __version__
from sfvd_pl.cli import main as cli

Sfvd = Callable[..., Any]


@pytest.mark.parametrize(
    "command",
    [
        "", "data", "data simulate", "data import", "data compare", "data check", "data verify", "data merge",
        "data exclude",
        "scene", "scene fit", "scene predict", "motion fit", "segment fit", "segment test", "segment predict",
        "augment", "evaluate", "run",
    ],
)  # fmt: skip
def test_help_everywhere(sfvd: Sfvd, command: str) -> None:
    done = sfvd(*command.split(), "--help")
    assert done.status == 0
    assert "usage:" in done.out
    assert done.err == ""


def test_usage_without_a_command_and_version(sfvd: Sfvd) -> None:
    assert sfvd().status == 2
    assert sfvd("--version").out == f"sfvd {__version__}\n"
    done = sfvd("dance")
    assert done.status == 2
    assert "unknown command 'dance'" in done.err


def _fit(stage: str, source: Path) -> list[object]:
    return [stage, "fit", "--config", STAGES / "toy" / f"{stage}.yaml", "--data.source", source]


@pytest.mark.parametrize("stage", ["scene", "motion"])
def test_print_config_shows_everything_and_can_be_read_back(
    sfvd: Sfvd, stage: str, source: Path, tmp_path: Path
) -> None:
    done = sfvd(*_fit(stage, source), "--seed_everything", 5, "--print_config")
    assert done.status == 0, done.err
    config = yaml.safe_load(done.out)
    assert config["seed_everything"] == 5
    assert config["trainer"]["max_steps"] == 2
    assert config["model"]["objective"]["prediction_type"] == "v_prediction"
    assert config["data"]["labelled_share"] == 0.5
    (tmp_path / "all.yaml").write_text(done.out)
    again = sfvd(stage, "fit", "--config", tmp_path / "all.yaml", "--print_config")
    assert again.status == 0, again.err
    assert yaml.safe_load(again.out) == config


def test_print_config_of_augment(sfvd: Sfvd) -> None:
    paths = ("source", "suspects", "scene_ckpt", "motion_ckpt", "guide_ckpt", "gate_ckpt", "out", "run_dir")
    done = sfvd(
        "augment", "--config", STAGES / "toy" / "augment.yaml", *(f"--{p}={p}" for p in paths), "--print_config"
    )
    assert done.status == 0, done.err
    assert yaml.safe_load(done.out)["plan"]["num_clips"] == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data.colour", "blue"],
        ["--model.network.depth", "9"],
        ["--trainer.max_stepz", "3"],
        ["--data.window", "large"],
        ["--model.objective.prediction_type", "colour"],
    ],
)
def test_an_unknown_key_or_a_wrong_value_is_refused(sfvd: Sfvd, source: Path, arguments: list[str]) -> None:
    done = sfvd(*_fit("scene", source), *arguments)
    assert done.status == 2
    assert arguments[0].rsplit(".", 1)[1] in done.err


def test_an_unknown_key_in_a_file_is_refused(sfvd: Sfvd, source: Path, tmp_path: Path) -> None:
    (tmp_path / "extra.yaml").write_text("data:\n  colour: blue\n")
    done = sfvd(*_fit("scene", source), "--config", tmp_path / "extra.yaml")
    assert done.status == 2
    assert "colour" in done.err


def test_progress_can_be_left_out(sfvd: Sfvd, source: Path, tmp_path: Path) -> None:
    few = ["--run_dir", tmp_path, "--trainer.max_steps", 1, "--logging.wandb", "disabled"]
    assert "step 1 of 1" in sfvd(*_fit("scene", source), *few).out
    silent = sfvd(*_fit("scene", source), *few, "--trainer.enable_progress_bar", "false")
    assert silent.status == 0, silent.err
    assert "step 1 of 1" not in silent.out


@pytest.mark.parametrize("command", ["data simulate", "augment", "evaluate", "segment predict"])
def test_missing_arguments_are_refused(sfvd: Sfvd, command: str) -> None:
    assert sfvd(*command.split()).status == 2


def test_what_the_machine_refuses_is_an_error_and_a_fault_of_the_program_is_not_hidden(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = PermissionError(13, "Permission denied", "/clips/a.h5")

    def refused(args: object) -> None:
        raise error

    monkeypatch.setitem(cli.COMMANDS, "data", refused)
    assert cli.main(["data", "import", "x"]) == 1
    shown = capsys.readouterr().err
    assert "a file can't be read or written\n  file: /clips/a.h5" in shown
    assert "the right to read" in shown
    error = OSError(22, "Invalid argument")  # type: ignore[assignment]
    with pytest.raises(OSError, match="Invalid"):
        cli.main(["data", "import", "x"])


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "data", stopped)
    assert cli.main(["data", "import", "x"]) == 130
    assert capsys.readouterr().err == "\nsfvd: stopped\n"
