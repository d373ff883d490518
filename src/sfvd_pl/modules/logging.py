"""CSV always, Weights & Biases beside it; neither may stop a run."""

import logging
import netrc
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

WANDB_HOST = "api.wandb.ai"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoggingConfig:
    """Where metrics go beside the CSV file.

    Attributes:
        wandb: ``auto`` is online where the user has logged in and offline elsewhere; ``disabled`` is off.
        project: W&B project.
        entity: W&B user or team; None is the user's default.
        run: Name of the run all stages of which form one W&B group.
        stage: Name of the stage; run and stage together are the identity of the W&B run, so that a requeued job
            goes on in it.
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


def run_id(config: LoggingConfig) -> str:
    """Identity of the W&B run: the same for every attempt at a stage of a run."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{config.run}-{config.stage}")[:128]


def make_loggers(run_dir: Path, config: LoggingConfig) -> list[Logger]:
    """CSV in ``run_dir/logs/version_N`` (one version an attempt) and W&B in ``run_dir/wandb``."""
    run_dir.mkdir(parents=True, exist_ok=True)
    loggers: list[Logger] = [CSVLogger(save_dir=run_dir, name="logs")]
    mode = wandb_mode(config)
    if mode != "disabled":
        logger = _wandb_logger(run_dir, config, offline=mode == "offline")
        if logger is not None:
            loggers.append(logger)
    return loggers


def _wandb_logger(run_dir: Path, config: LoggingConfig, *, offline: bool) -> WandbLogger | None:
    """A W&B logger that is known to work: offline where the server can't be reached, none where nothing works."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "30")
    for attempt_offline in (True,) if offline else (False, True):
        try:
            logger = WandbLogger(
                project=config.project,
                entity=config.entity,
                name=f"{config.run}/{config.stage}",
                group=config.run,
                job_type=config.stage,
                id=run_id(config),
                resume="allow",
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
    """Finish the W&B run, so that the next stage of the same process starts one of its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            try:
                logger.experiment.finish()
            except Exception as error:  # a logger must not turn a finished training into a failure
                log.warning("W&B could not be closed: %s", error)
