"""CSV always, Weights & Biases beside it; neither may stop or slow a run."""

import logging
import netrc
import os
import re
import signal
import subprocess
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from sfvd_pl import signals
from sfvd_pl.modules import upload
from sfvd_pl.modules.journal import Journal

STOPPED_SECONDS = 3.0
"""How long a training that was asked to stop waits for an upload; the next attempt hands over the rest."""

MARGIN_SECONDS = 2.0
"""How much later than an upload should have given up by itself it is ended."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggingConfig:
    """Where metrics go beside the CSV file.

    Attributes:
        wandb: ``auto`` is online where the user has logged in and offline elsewhere; ``disabled`` is off.
        project: W&B project.
        entity: W&B user or team; None is the user's default.
        run: Name of the run all stages of which form one W&B group.
        stage: Name of the stage. Its W&B run is remembered in the stage's folder, so that a requeued job goes on in it.
    """

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "sfvd-pl"
    entity: str | None = None
    run: str = "default"
    stage: str = ""


def logged_in() -> bool:
    """Whether the user has given W&B a key, by environment or by ``wandb login``."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = re.sub(r"^https?://", "", os.environ.get("WANDB_BASE_URL", upload.HOST)).split("/")[0]
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def wandb_mode(config: LoggingConfig) -> str:
    """``online``, ``offline`` or ``disabled``."""
    forced = os.environ.get("WANDB_MODE")
    if config.wandb != "auto":
        return config.wandb
    if forced in ("online", "offline", "disabled"):
        return forced
    return "online" if logged_in() else "offline"


def make_loggers(run_dir: Path, config: LoggingConfig) -> list[Logger]:
    """CSV in ``run_dir/logs/version_N`` (one version an attempt) and W&B by ``run_dir/wandb.jsonl``."""
    loggers: list[Logger] = []
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        loggers.append(CSVLogger(save_dir=run_dir, name="logs"))
    except OSError as error:
        log.warning(
            "the folder %s can't hold logs (%s); the run goes on without some of them", run_dir, error
        )
    logger = wandb_logger(run_dir, config)
    return loggers if logger is None else [*loggers, logger]


def wandb_logger(run_dir: Path, config: LoggingConfig) -> "JournalLogger | None":
    """W&B's logger alone; None where it is turned off, and in all processes of a training but the first."""
    mode = wandb_mode(config)
    if mode == "disabled" or signals.global_rank() != 0:
        return None
    return JournalLogger(run_dir, config, online=mode == "online")


class JournalLogger(Logger):
    """Logs for W&B into a journal in the run's folder, which a process of its own hands to the server.

    Nothing here waits for W&B. Whatever fails is said once, and the run goes on without it.

    Args:
        run_dir: Folder of the run; a later attempt in it goes on in the same W&B run.
        config: Which run it is in W&B.
        online: Whether it is handed over at once.
    """

    def __init__(self, run_dir: Path, config: LoggingConfig, *, online: bool) -> None:
        super().__init__()
        about = {"project": config.project, "entity": config.entity, "name": f"{config.run}/{config.stage}"}
        self.journal = Journal(run_dir, about | {"group": config.run, "job_type": config.stage})
        self._folder = run_dir
        self._name = about["name"]
        self._online = online
        self._upload: Upload | None = None
        self._config: dict[str, Any] = {}
        self._failed = False

    @property
    def name(self) -> str | None:
        """Of the W&B run."""
        return self._name

    @property
    def version(self) -> str | None:
        """There are none: all attempts are one run."""
        return None

    @property
    def save_dir(self) -> str:
        """Where the journal lies."""
        return str(self._folder)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers by name, at an optimiser step."""
        self._append("metrics", metrics, step)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Settings by name."""
        self._config = dict(vars(params) if isinstance(params, Namespace) else params)
        self._append("config", self._config)

    @rank_zero_only
    def log_image(self, key: str, images: list[str], step: int | None = None) -> None:
        """Pictures by their paths; they have to stay where they are."""
        self._append("images", {key: [self._relative(path) for path in images]}, step)

    @rank_zero_only
    def log_video(self, key: str, videos: list[str], step: int | None = None) -> None:
        """Clips, likewise."""
        self._append("videos", {key: [self._relative(path) for path in videos]}, step)

    @rank_zero_only
    def log_table(self, key: str, columns: list[str], data: list[list[Any]]) -> None:
        """Rows of texts and numbers."""
        self._append("table", {key: {"columns": columns, "data": data}})

    @rank_zero_only
    def begin_anew(self) -> None:
        """The training is another one than that whose journal lies in its folder, hence another W&B run."""
        self._end_upload(0.0)
        self._guarded(self.journal.set_aside)
        if self._config:
            self._append("config", self._config)

    def close(self) -> None:
        """Wait a little for the upload; the journal is complete in any case."""
        self._end_upload(STOPPED_SECONDS if signals.requested() else upload.finish_seconds() + MARGIN_SECONDS)
        self.journal.close()

    def _end_upload(self, seconds: float) -> None:
        process, self._upload = self._upload, None
        if process is not None:
            self._guarded(lambda: process.close(seconds))

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self._folder)

    def _append(self, kind: str, content: Mapping[str, Any], step: int | None = None) -> None:
        def action() -> None:
            self.journal.append(kind, content, step)
            if self._online and self._upload is None:
                self._upload = Upload(self.journal.path)

        if not self._failed:
            self._guarded(action)

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:
            self._failed = True
            log.warning("W&B failed (%s: %s); the run goes on without it", type(error).__name__, error)


class Upload:
    """The process that hands a journal over while it is written.

    It has a session of its own: a signal to the training's group lets it end in good order, and all of it can be
    killed. It goes with the training, however that ends.

    Args:
        journal: The file, which must be there.
    """

    def __init__(self, journal: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sfvd_pl.modules.upload", str(journal), "--follow"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def close(self, seconds: float) -> None:
        """No more lines will come: wait so long for the end, and end it."""
        process = self._process
        try:
            with suppress(OSError):
                if process.stdin is not None:
                    process.stdin.write(b"\n")
                    process.stdin.close()
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)  # W&B's own process, too
            process.wait()
            self._listener.join(1.0)

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            log.warning("W&B: %s", line.decode(errors="replace").strip())


def close_loggers(loggers: list[Logger]) -> None:
    """End the uploads, so that nothing of a training outlives it."""
    for logger in loggers:
        if isinstance(logger, JournalLogger):
            logger.close()
