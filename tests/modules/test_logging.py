"""Weights & Biases: one run a folder, steps that only grow, and nothing that it does stops or slows a training."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from sfvd_pl.modules import logging as ours
from sfvd_pl.modules.logging import (
    LoggingConfig,
    RunRecord,
    SteadyWandbLogger,
    close_loggers,
    make_loggers,
    reachable,
)


class Experiment:
    """Stands in for a W&B run."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.broken = False
        self.finished = 0

    def log(self, metrics: dict[str, Any]) -> None:
        if self.broken:
            raise OSError("No space left on device")
        self.logged.append(metrics)

    def finish(self) -> None:
        self.finished += 1

    def steps(self) -> list[int]:
        return [metrics["trainer/global_step"] for metrics in self.logged]


def _logger(folder: Path, experiment: Experiment) -> SteadyWandbLogger:
    logger = SteadyWandbLogger(RunRecord(folder), project="test", save_dir=folder, offline=True, log_model=False)
    vars(logger)["_experiment"] = experiment
    return logger


@pytest.fixture(autouse=True)
def _known_to_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes only W&B's own class for a run that has started."""
    monkeypatch.setattr(SteadyWandbLogger, "experiment", property(lambda self: vars(self)["_experiment"]))


def test_a_folder_keeps_its_run_over_attempts_and_another_folder_has_another(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    ids = [RunRecord(folder).id for folder in (first, first, second)]
    assert ids[0] == ids[1] != ids[2]
    assert vars(_logger(first, Experiment()))["_wandb_init"]["id"] == ids[0]


def test_a_damaged_record_starts_a_new_run(tmp_path: Path) -> None:
    RunRecord(tmp_path)
    for content in ("", "{", "[1]"):
        (tmp_path / "wandb.json").write_text(content)
        assert len(RunRecord(tmp_path).id) == 12


def test_steps_never_go_backwards(tmp_path: Path) -> None:
    """An attempt is cut off behind step 30, the next one starts behind the checkpoint of step 15."""
    experiment = Experiment()
    logger = _logger(tmp_path, experiment)
    for step in (10, 20, 30):
        logger.log_metrics({"loss": 1.0}, step)
        logger.log_metrics({"other": 1.0}, step)
    close_loggers([logger])
    again = _logger(tmp_path, experiment)
    for step in (20, 30, 40):
        again.log_metrics({"loss": 1.0}, step)
    assert experiment.steps() == [10, 10, 20, 20, 30, 30, 40]
    assert experiment.finished == 1


def test_a_failure_is_said_once_and_then_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    experiment = Experiment()
    logger = _logger(tmp_path, experiment)
    logger.log_metrics({"loss": 1.0}, 1)
    experiment.broken = True
    with caplog.at_level(logging.WARNING):
        for step in range(2, 9):
            logger.log_metrics({"loss": 1.0}, step)
        logger.log_image("picture", [str(tmp_path / "missing.png")], 9)
    assert [record.getMessage() for record in caplog.records] == [
        "W&B failed (OSError: No space left on device); the run goes on without it"
    ]
    close_loggers([logger])
    assert RunRecord(tmp_path).last_step == 1


def test_a_folder_that_cannot_be_written_does_not_stop_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    logger = _logger(tmp_path, Experiment())
    logger.log_metrics({"loss": 1.0}, 3)
    assert "No space left on device" in caplog.text


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_is_not_there_is_noticed_quickly(
    monkeypatch: pytest.MonkeyPatch, silent_server: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        begun = time.monotonic()
        assert not reachable()
        assert time.monotonic() - begun < ours.PROBE_SECONDS + 1
    monkeypatch.setenv("WANDB_BASE_URL", silent_server)
    assert reachable()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert reachable()


def test_without_a_login_it_stays_offline_and_disabled_is_csv_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    assert ours.wandb_mode(LoggingConfig()) == "offline"
    (only,) = make_loggers(tmp_path, LoggingConfig(wandb="disabled"))
    assert isinstance(only, CSVLogger)


def test_nothing_works_and_there_is_csv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(SteadyWandbLogger, "experiment", property(refuse))
    monkeypatch.setattr(ours, "reachable", lambda: True)
    (only,) = make_loggers(tmp_path, LoggingConfig(wandb="online"))
    assert isinstance(only, CSVLogger)
    assert "could not be started online" in caplog.text
    assert "could not be started offline" in caplog.text


def test_other_processes_of_a_training_have_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    (only,) = make_loggers(tmp_path, LoggingConfig(wandb="offline"))
    assert isinstance(only, CSVLogger)
    assert not (tmp_path / "wandb.json").exists()
