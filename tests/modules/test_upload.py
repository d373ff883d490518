"""Journals and W&B's own client at a stand-in server: one run over all attempts, bounded whatever the server does."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tracking_server import KEY, TrackingServer, curves, tracking_server

from sfvd_pl.cli.main import main
from sfvd_pl.modules.journal import JOURNAL
from sfvd_pl.modules.logging import JournalLogger, LoggingConfig
from sfvd_pl.modules.upload import uploaded

CONFIG = LoggingConfig(wandb="online", project="test", run="mine", stage="scene")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackingServer]:
    """One that works, and this process logged in there."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    with tracking_server() as stand_in:
        monkeypatch.setenv("WANDB_BASE_URL", stand_in.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "300")  # a busy machine is slow
        yield stand_in


def _log(logger: JournalLogger, steps: range) -> None:
    for step in steps:
        logger.log_metrics({"loss": step / 8}, step)
        logger.log_metrics({"rate": 2.0}, step)


def test_attempts_online_killed_and_offline_are_one_run(
    server: TrackingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "pictures" / "a.png"
    picture.parent.mkdir()
    Image.new("L", (8, 8)).save(picture)
    first = JournalLogger(tmp_path, CONFIG, online=True)
    first.log_hyperparams({"rate": 2.0})
    _log(first, range(4))
    first.log_image("frames", [str(picture)], 3)
    first.close()
    (run,) = server.runs.values()
    assert len(run.history) == 9
    assert run.about["displayName"] == "mine/scene"
    assert any(name.startswith("media/images/frames") for name in run.files)
    killed = JournalLogger(tmp_path, CONFIG, online=True)
    _log(killed, range(2, 6))
    process = vars(vars(killed)["_upload"])["_process"]
    os.killpg(process.pid, signal.SIGKILL)
    killed.close()
    offline = JournalLogger(tmp_path, CONFIG, online=False)
    _log(offline, range(4, 8))
    offline.close()
    assert main(["wandb", str(tmp_path)]) == 0
    assert main(["wandb", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path}: 18 lines ...", f"{tmp_path}: W&B has it"]
    assert list(server.runs.values()) == [run]
    expected = {(step, "loss"): step / 8 for step in range(8)} | {(step, "rate"): 2 for step in range(8)}
    assert curves(run) == expected | {(3, "frames"): "media"}
    assert run.resumed >= 1
    assert run.overwritten == 0
    assert '"rate":' in run.config.replace(" ", "")


def test_what_a_report_logs_arrives(server: TrackingServer, tmp_path: Path) -> None:
    """Numbers without a step, a table and a clip."""
    clip = tmp_path / "media" / "a.gif"
    clip.parent.mkdir()
    frames = [Image.new("L", (8, 8), 60 * k) for k in range(4)]
    frames[0].save(clip, save_all=True, append_images=frames[1:])
    logger = JournalLogger(tmp_path, CONFIG, online=True)
    logger.log_metrics({"label/dice": 0.5})
    logger.log_table("report/label", ["set", "mean"], [["real", 0.5]])
    logger.log_video("report/real clips", [str(clip)])
    logger.close()
    (run,) = server.runs.values()
    metrics, table, video = run.rows()
    assert metrics["label/dice"] == 0.5
    assert (table["report/label"]["nrows"], table["report/label"]["ncols"]) == (1, 2)
    assert video["report/real clips"]["videos"][0]["path"] in run.files
    assert len(server.artifacts) == 1
    assert uploaded(tmp_path / JOURNAL) == 4


def test_a_server_that_never_answers_holds_nothing_up(
    server: TrackingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        logger = JournalLogger(tmp_path, CONFIG, online=True)
        _log(logger, range(200))
        assert time.monotonic() - begun < 1.0
        logger.close()
        assert time.monotonic() - begun < 6.0
    assert len([record for record in caplog.records if "W&B" in record.getMessage()]) <= 1
    assert uploaded(tmp_path / JOURNAL) == 0


def test_what_the_server_refuses_is_said_and_can_be_handed_over_later(
    server: TrackingServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = JournalLogger(tmp_path, CONFIG, online=False)
    _log(logger, range(2))
    logger.close()
    server.failing = 401
    assert main(["wandb", str(tmp_path)]) == 1
    said = capfd.readouterr()
    assert "401" in said.out
    assert "W&B has not taken 1 of 1 runs" in said.err
    assert uploaded(tmp_path / JOURNAL) == 0
    assert server.runs == {}


def test_nothing_goes_behind_a_line_that_could_not_be_sent(
    server: TrackingServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The server tells by its last step what it has, so it must not get a later one."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"no picture")
    logger = JournalLogger(tmp_path, CONFIG, online=False)
    _log(logger, range(2))
    logger.log_image("frames", [str(picture)], 1)
    _log(logger, range(2, 4))
    logger.close()
    assert main(["wandb", str(tmp_path)]) == 1
    assert "the rest stays on the disk" in capfd.readouterr().out
    (run,) = server.runs.values()
    assert len(run.history) == 4
    Image.new("L", (8, 8)).save(picture)
    assert main(["wandb", str(tmp_path)]) == 0
    assert curves(run)[1, "frames"] == "media"
    assert len(run.history) == 9


def test_a_folder_without_a_journal_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wandb", str(tmp_path)]) == 1
    assert "nothing was logged for W&B here" in capsys.readouterr().err
