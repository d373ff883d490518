"""Weights & Biases beside the CSV file: nothing that it does stops or slows a training."""

import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from sfvd_pl import signals
from sfvd_pl.modules import logging as ours
from sfvd_pl.modules import upload
from sfvd_pl.modules.journal import JOURNAL, Journal, parsed, read_lines
from sfvd_pl.modules.logging import JournalLogger, LoggingConfig, close_loggers, make_loggers

OFFLINE = LoggingConfig(wandb="offline", project="test", run="mine", stage="scene")


@pytest.fixture(autouse=True)
def _nobody_has_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_FINISH_TIMEOUT", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [parsed(line) for line in read_lines(folder / JOURNAL)]


def test_what_is_logged_lies_in_the_folder_with_paths_relative_to_it(tmp_path: Path) -> None:
    csv, logger = make_loggers(tmp_path, OFFLINE)
    assert isinstance(csv, CSVLogger)
    assert isinstance(logger, JournalLogger)
    logger.log_hyperparams({"rate": 1.0})
    logger.log_metrics({"loss": 0.5}, 3)
    logger.log_image("frames", [str(tmp_path / "pictures" / "a.png")], 3)
    logger.log_video("clips", [str(tmp_path / "pictures" / "a.gif")], 3)
    logger.log_table("report/label", ["set", "mean"], [["real", 0.5]])
    close_loggers([csv, logger])
    about, *rows = _lines(tmp_path)
    assert {k: v for k, v in about["run"].items() if k != "id"} == {
        "project": "test",
        "entity": None,
        "name": "mine/scene",
        "group": "mine",
        "job_type": "scene",
    }
    assert [(row["kind"], row["step"], row["content"]) for row in rows] == [
        ("config", None, {"rate": 1.0}),
        ("metrics", 3, {"loss": 0.5}),
        ("images", 3, {"frames": ["pictures/a.png"]}),
        ("videos", 3, {"clips": ["pictures/a.gif"]}),
        ("table", None, {"report/label": {"columns": ["set", "mean"], "data": [["real", 0.5]]}}),
    ]


def test_a_failure_is_said_once_and_then_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    logger = JournalLogger(tmp_path, OFFLINE, online=False)
    logger.log_metrics({"loss": 1.0}, 1)
    monkeypatch.setattr(Journal, "_write", full)
    with caplog.at_level(logging.WARNING):
        for step in range(2, 9):
            logger.log_metrics({"loss": 1.0}, step)
        close_loggers([logger])
    assert [record.getMessage() for record in caplog.records] == [
        "W&B failed (OSError: [Errno 28] No space left on device); the run goes on without it"
    ]
    assert [row.get("step") for row in _lines(tmp_path)] == [None, 1]


def test_a_training_begun_anew_is_another_run_with_the_same_settings(tmp_path: Path) -> None:
    logger = JournalLogger(tmp_path, OFFLINE, online=False)
    logger.log_hyperparams({"rate": 1.0})
    logger.log_metrics({"loss": 1.0}, 9)
    before = _lines(tmp_path)[0]["run"]["id"]
    logger.begin_anew()
    logger.log_metrics({"loss": 2.0}, 0)
    about, config, row = _lines(tmp_path)
    assert about["run"]["id"] != before
    assert (config["content"], row["content"], row["step"]) == ({"rate": 1.0}, {"loss": 2.0}, 0)
    assert (tmp_path / "wandb.previous-1.jsonl").exists()


def test_a_server_that_is_not_there_is_noticed_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        begun = time.monotonic()
        assert not upload.reachable()
        assert time.monotonic() - begun < upload.PROBE_SECONDS + 1
        taken.listen()
        assert upload.reachable()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert upload.reachable()


def test_without_a_login_it_stays_offline_and_disabled_is_csv_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ours.wandb_mode(LoggingConfig()) == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert ours.wandb_mode(LoggingConfig()) == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert ours.wandb_mode(LoggingConfig()) == "offline"
    assert ours.wandb_mode(LoggingConfig(wandb="online")) == "online"
    (only,) = make_loggers(tmp_path, LoggingConfig(wandb="disabled"))
    assert isinstance(only, CSVLogger)


def test_offline_nothing_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process")

    monkeypatch.setattr(ours, "Upload", refuse)
    _, logger = make_loggers(tmp_path, LoggingConfig())
    logger.log_metrics({"loss": 1.0}, 1)
    close_loggers([logger])
    assert len(_lines(tmp_path)) == 2


def test_other_processes_of_a_training_have_no_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    (only,) = make_loggers(tmp_path, OFFLINE)
    assert isinstance(only, CSVLogger)
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.parametrize("stopped", [False, True])
def test_how_long_the_end_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stopped: bool) -> None:
    waited = []

    class Slow:
        def __init__(self, journal: Path) -> None:
            assert journal.exists()

        def close(self, seconds: float) -> None:
            waited.append(seconds)

    monkeypatch.setattr(ours, "Upload", Slow)
    monkeypatch.setattr(signals, "requested", lambda: 15 if stopped else 0)
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "7")
    logger = JournalLogger(tmp_path, OFFLINE, online=True)
    logger.log_metrics({"loss": 1.0}, 1)
    close_loggers([logger])
    close_loggers([logger])
    assert waited == [ours.STOPPED_SECONDS if stopped else 7 + ours.MARGIN_SECONDS]


def test_no_sensible_time_limit_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "soon")
    assert upload.finish_seconds() == upload.FINISH_SECONDS
