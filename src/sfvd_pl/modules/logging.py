"""CSV always, Weights & Biases beside it; neither may stop a run."""

import json
import logging
import math
import netrc
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from sfvd_pl.signals import global_rank

WANDB_HOST = "api.wandb.ai"
PROBE_SECONDS = 3.0
"""How long the server may take to answer before a run is kept offline."""
FINISH_SECONDS = 60
"""How long the end of a training may wait for an upload."""

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
    host = re.sub(r"^https?://", "", os.environ.get("WANDB_BASE_URL", WANDB_HOST)).split("/")[0]
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
    """CSV in ``run_dir/logs/version_N`` (one version an attempt) and W&B in ``run_dir/wandb``."""
    loggers: list[Logger] = []
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        loggers.append(CSVLogger(save_dir=run_dir, name="logs"))
        logger = wandb_logger(run_dir, config)
        loggers += [] if logger is None else [logger]
    except OSError as error:
        log.warning("the folder %s can't hold logs (%s); the run goes on without some of them", run_dir, error)
    return loggers


def wandb_logger(run_dir: Path, config: LoggingConfig) -> WandbLogger | None:
    """W&B's logger alone; None where it is turned off or can't be started."""
    mode = wandb_mode(config)
    return None if mode == "disabled" else _wandb_logger(run_dir, config, offline=mode == "offline" or not reachable())


def reachable(seconds: float = PROBE_SECONDS) -> bool:
    """Whether something answers where the W&B server should be: to wait for its own time-out would take minutes."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")):
        return True  # only the proxy knows
    address = urlsplit(os.environ.get("WANDB_BASE_URL", f"https://{WANDB_HOST}"))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or WANDB_HOST, port), seconds).close()
    except OSError as error:
        log.warning("the W&B server can't be reached (%s): the run is kept offline, to be uploaded later", error)
        return False
    return True


class RunRecord:
    """Which W&B run a folder belongs to and how far it was logged, kept in the folder over all attempts.

    Args:
        run_dir: Folder of the training.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "wandb.json"
        content: Any = {}
        with suppress(OSError, ValueError):
            content = json.loads(self.path.read_text())
        content = content if isinstance(content, dict) else {}
        self.id = str(content.get("id") or uuid4().hex[:12])
        """Made once at random, so that a run of the same name elsewhere is another one."""
        self.last_step = int(content.get("last_step", -1))
        """Steps up to this one are in W&B; an attempt that repeats them does not log them again."""
        self._saved_at = -math.inf
        self.save()

    def reached(self, step: int) -> None:
        """Remember the step, on the disk at most once a second."""
        self.last_step = max(self.last_step, step)
        if time.monotonic() - self._saved_at >= 1.0:
            self.save()

    def save(self) -> None:
        """Write it, whole or not at all; a full disk is no reason to stop."""
        self._saved_at = time.monotonic()
        partial = self.path.with_name(f".{self.path.name}.partial-{os.getpid()}")
        try:
            partial.write_text(json.dumps({"id": self.id, "last_step": self.last_step}))
            partial.replace(self.path)
        except OSError as error:
            log.warning("%s can't be written: %s", self.path, error)


class SteadyWandbLogger(WandbLogger):
    """A W&B logger that never stops a training and whose steps never go backwards.

    After an attempt that was cut off behind its last checkpoint, the next one repeats some steps with the same
    values. What W&B has of them is left as it is. Where W&B fails, it is said once and the run goes on without it.

    Args:
        record: The run's identity and how far it was logged.
        settings: As of WandbLogger.
    """

    def __init__(self, record: RunRecord, **settings: Any) -> None:
        self.record = record
        self._start = record.last_step
        self._failed = False
        super().__init__(id=record.id, resume="allow", **settings)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """As in Lightning, for steps that W&B has not had from an earlier attempt."""
        if step is not None and step <= self._start:
            return
        if self._guarded(lambda: super(SteadyWandbLogger, self).log_metrics(metrics, step)) and step is not None:
            self.record.reached(step)

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """As in Lightning."""
        self._guarded(lambda: super(SteadyWandbLogger, self).log_hyperparams(params))

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """As in Lightning; reading the picture may fail, too."""
        self._guarded(lambda: super(SteadyWandbLogger, self).log_image(key, images, step, **kwargs))

    def log_video(self, key: str, videos: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """As above."""
        self._guarded(lambda: super(SteadyWandbLogger, self).log_video(key, videos, step, **kwargs))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Nothing is uploaded here; see :func:`close_loggers`."""
        self.record.save()

    def _guarded(self, action: Callable[[], None]) -> bool:
        if self._failed:
            return False
        try:
            action()
        except Exception as error:
            self._failed = True
            log.warning("W&B failed (%s: %s); the run goes on without it", type(error).__name__, error)
        return not self._failed


def _wandb_logger(run_dir: Path, config: LoggingConfig, *, offline: bool) -> WandbLogger | None:
    """A logger that is known to work: offline where the server can't be used, none where nothing works or is asked."""
    if global_rank() != 0:
        return None
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")
    os.environ.setdefault("WANDB_FINISH_TIMEOUT", str(FINISH_SECONDS))
    for attempt_offline in (True,) if offline else (False, True):
        try:
            logger = SteadyWandbLogger(
                RunRecord(run_dir),
                project=config.project,
                entity=config.entity,
                name=f"{config.run}/{config.stage}",
                group=config.run,
                job_type=config.stage,
                save_dir=run_dir,
                offline=attempt_offline,
                log_model=False,
            )
            # Lightning hands on a setting that W&B has dropped and warns of.
            vars(logger).get("_wandb_init", {}).pop("anonymous", None)
            _ = logger.experiment  # starts the run now: a failure must come here, not in the training
        except Exception as error:
            log.warning(
                "W&B could not be started %s (%s: %s); the run goes on",
                "offline" if attempt_offline else "online",
                type(error).__name__,
                error,
            )
        else:
            return logger
    return None


def close_loggers(loggers: list[Logger]) -> None:
    """Finish the W&B run, so that the next stage of the same process starts one of its own.

    An upload that has not ended after ``FINISH_SECONDS`` is given up; what is missing lies on the disk.
    """
    for logger in loggers:
        if isinstance(logger, SteadyWandbLogger):
            logger.record.save()
            try:
                logger.experiment.finish()
            except Exception as error:  # a logger must not turn a finished training into a failure
                log.warning("W&B could not be closed: %s", error)
