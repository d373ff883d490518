"""``sfvd scene``, ``motion``, ``segment`` and ``features``: LightningCLI with a run folder, artifacts and loggers."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from sfvd_pl import signals
from sfvd_pl.artifacts import Artifact, Kind, require_source
from sfvd_pl.augment.columns import clip_columns, scene_columns
from sfvd_pl.cli.batch_size import find_batch_size, take_flags
from sfvd_pl.cli.generation import Generation
from sfvd_pl.cli.requeue import leave
from sfvd_pl.cli.trainer import allowed_seconds, explained, has_ended, refuse_unsupported
from sfvd_pl.datasets.modules.features import FeaturesDataModule
from sfvd_pl.datasets.modules.motion import MotionDataModule
from sfvd_pl.datasets.modules.scene import SceneDataModule
from sfvd_pl.datasets.modules.segmentation import SegmentationDataModule
from sfvd_pl.errors import ConfigError
from sfvd_pl.modules.checkpoint import read_checkpoint
from sfvd_pl.modules.checkpoints import AnswersSignals, Checkpoints
from sfvd_pl.modules.ema import EMA
from sfvd_pl.modules.features import FeaturesModule
from sfvd_pl.modules.gradients import FiniteGradients
from sfvd_pl.modules.logging import JournalLogger, LoggingConfig, close_loggers, make_loggers
from sfvd_pl.modules.memory import explained_memory, leave_peak, memory_settings
from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.progress import make_progress
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.modules.saving import BEST, WholeFiles, checkpoint_path, newest_good, training_lock, write_model
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.modules.watch import RankWatch
from sfvd_pl.modules.workers import Siblings, local_devices, one_device, this_worker
from sfvd_pl.modules.writer import GenerationWriter

MODEL_FILE = "model.ckpt"
"""The finished model in a run folder."""


class StageCLI(LightningCLI):
    """LightningCLI with what every stage needs.

    ``--run_dir`` holds checkpoints, logs, pictures and the resolved configuration; ``--out`` is the artifact that
    ``predict`` writes; ``--logging.*`` says where metrics go; ``--ema.decay`` and ``--checkpoint.*`` set the
    callbacks. ``seed_everything`` is handed to the module and the DataModule.
    """

    stage = ""
    monitor = ("val/loss", "min")

    def __init__(self, *args: Any, siblings: Siblings | None = None, **kwargs: Any) -> None:
        self.siblings = siblings
        self.worker = this_worker()
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Arguments beside LightningCLI's own."""
        parser.add_argument(
            "--run_dir",
            type=Path,
            default=Path("data/artifacts/default") / self.stage,
            help="Folder of this training: checkpoints, logs, pictures, configuration.",
        )
        parser.add_argument("--out", type=Path | None, default=None, help="Artifact that predict writes.")
        parser.add_class_arguments(LoggingConfig, "logging")
        parser.set_defaults({"logging.stage": self.stage})
        parser.add_lightning_class_args(EMA, "ema")
        parser.add_lightning_class_args(Checkpoints, "checkpoint")
        parser.set_defaults({"checkpoint.monitor": self.monitor[0], "checkpoint.mode": self.monitor[1]})
        parser.link_arguments("seed_everything", "data.seed", compute_fn=_seed)
        parser.link_arguments("seed_everything", "model.seed", compute_fn=_seed)
        parser.link_arguments("run_dir", "checkpoint.dirpath", compute_fn=_checkpoint_folder)
        self.link(parser)

    def link(self, parser: LightningArgumentParser) -> None:
        """Arguments that the module and the DataModule share."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Find the checkpoint, and say what is wrong with it before Lightning looks into it for hyperparameters."""
        super().parse_arguments(parser, args)
        # Without a subcommand (run=False) there is nothing that a checkpoint would be loaded for.
        config = self.config[self.config.subcommand] if "subcommand" in self.config else {}
        if config.get("ckpt_path") is not None:
            config["ckpt_path"] = named_checkpoint(config["ckpt_path"], Path(config["run_dir"]))

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer whose root folder and loggers belong to the run."""
        if self.subcommand is not None:
            refuse_unsupported(dict(self._value("trainer")))
        run_dir = self._value("run_dir")
        loggers = make_loggers(run_dir, self._value("logging")) if self.subcommand == "fit" else []
        chosen = self._get(self.config_init, "trainer.callbacks") or []
        callbacks: list[pl.Callback] = [*(chosen if isinstance(chosen, list) else [chosen])]
        if self.subcommand == "predict":
            kwargs |= self._share_prediction()
        # Given to the trainer with the rest, or it would add a bar of its own.
        if kwargs.get("enable_progress_bar", self._value("trainer.enable_progress_bar") is not False):
            title = f"{self._value('logging').stage or self.stage} {self.subcommand or ''}"
            callbacks.append(make_progress(title.strip()))
        callbacks.append(RankWatch())
        if self.subcommand == "fit":
            callbacks += [LearningRateMonitor("step"), FiniteGradients()]
        else:
            callbacks.append(AnswersSignals())
        if self.subcommand == "predict":
            callbacks.append(self.writer())
        kwargs |= {"default_root_dir": run_dir, "logger": loggers or False, "callbacks": callbacks}
        # Lightning's timer ends a training between the batches of a step, and as if it were finished.
        kwargs |= {"max_time": None}
        kwargs.setdefault("plugins", plugins(self._get(self.config_init, "trainer.plugins")))
        with explained():
            trainer = super().instantiate_trainer(**kwargs)
        # Lightning adds what add_lightning_class_args declared; those two only make sense while training.
        own: list[pl.Callback] = vars(trainer)["callbacks"]
        allowed = allowed_seconds(self._value("trainer.max_time"))
        for callback in own:
            if isinstance(callback, Checkpoints):
                callback.seconds_left = allowed
        if self.subcommand != "fit":
            own[:] = [c for c in own if not isinstance(c, EMA | Checkpoints)]
        return trainer

    def _value(self, key: str) -> Any:
        return self._get(self.config_init, key)

    def _share_prediction(self) -> dict[str, Any]:
        """A process for each device, which share the work by files; the Trainer's arguments for this one."""
        accelerator = self._value("trainer.accelerator")
        if self.worker.own and self.siblings is not None:
            count = local_devices(self._value("trainer.devices"), accelerator)
            self.worker = self.siblings.start(count, self.worker)
        return {"enable_progress_bar": self.worker.rank == 0, **one_device(self.worker, accelerator)}

    def before_fit(self) -> None:
        """Write the resolved configuration beside the checkpoints."""
        if self.trainer.is_global_zero:
            run_dir = Path(self._value("run_dir"))
            run_dir.mkdir(parents=True, exist_ok=True)
            config = self.config.get(self.subcommand, self.config)
            resolved = run_dir / "config.yaml"
            self._parser(self.subcommand).save(config, resolved, skip_unset=False, overwrite=True, multifile=False)
            for logger in self.trainer.loggers:
                if isinstance(logger, JournalLogger):
                    logger.log_hyperparams(yaml.safe_load(resolved.read_text()))

    def fit(self, **arguments: Any) -> None:
        """Train; one process group at a time in a run folder."""
        settings = memory_settings(self.trainer, self.model, self.datamodule)
        failed: BaseException | None = None
        try:
            with training_lock(Path(self._value("run_dir"))), signals.deferred(), explained_memory(settings):
                try:
                    launcher = self.trainer.strategy.launcher
                    signals.take_along(lambda: getattr(launcher, "procs", ()))
                    with signals.meeting(leave):
                        self.trainer.fit(**arguments)
                except BaseException as error:
                    failed = error
                    raise
        finally:
            leave_peak(self.trainer, self.model, self.datamodule, failed)
            close_loggers(self.trainer.loggers)

    def after_fit(self) -> None:
        """Keep the finished model under its own name: averaged weights, and the raw ones beside them."""
        trainer = self.trainer
        if has_ended(trainer) and trainer.is_global_zero:
            folder = next(c.folder for c in vars(trainer)["callbacks"] if isinstance(c, Checkpoints))
            last = read_checkpoint(checkpoint_path(folder, trainer.global_step))
            write_model(last, Path(self._value("run_dir")) / MODEL_FILE)

    def writer(self) -> pl.Callback:
        """The callback that writes what predict generates."""
        raise ConfigError(
            f"`sfvd {self.stage} predict` through this entry writes nothing", key=self.stage, expected="scene, motion"
        )

    def _generation_writer(
        self, kind: Kind, parents: dict[str, str], columns: Any, learned: Sequence[str] = ()
    ) -> GenerationWriter:
        """A writer with what the command line says."""
        made = Generation(self.stage, self._value("out"), self._value("ckpt_path"), self.model, self.datamodule)
        return made.writer(self.worker, kind, parents, columns, learned)


def _seed(value: bool | int | None) -> int:
    return 0 if value is None or isinstance(value, bool) else value


def named_checkpoint(name: str, run_dir: Path) -> str | None:
    """Path of a checkpoint that can be read.

    Args:
        name: A path; ``last`` is the newest whole one of the run folder and none where it holds none, ``best`` the
            best by its validation.
        run_dir: The run folder.

    Raises:
        CheckpointError: It can't be read.
    """
    folder = Path(_checkpoint_folder(run_dir))
    if name == "last":
        newest = newest_good(folder, lambda text: print(f"sfvd: {text}", file=sys.stderr, flush=True))
        return None if newest is None else str(newest)
    path = folder / BEST if name == "best" else Path(name)
    read_checkpoint(path)
    return str(path)


def plugins(chosen: Any) -> list[Any]:
    """Whole checkpoint files; and under SLURM, no requeueing by Lightning beside our own."""
    own: list[Any] = [*(chosen if isinstance(chosen, list) else [chosen] if chosen is not None else []), WholeFiles()]
    if SLURMEnvironment.detect() and not any(isinstance(plugin, ClusterEnvironment) for plugin in own):
        own.append(SLURMEnvironment(auto_requeue=False))
    return own


def _checkpoint_folder(run_dir: Path) -> str:
    return str(Path(run_dir) / "checkpoints")


class SceneCLI(StageCLI):
    """Stage 1."""

    stage = "scene"

    def writer(self) -> pl.Callback:
        """Writes scenes."""
        return self._generation_writer(Kind.SCENES, {}, scene_columns)


class MotionCLI(StageCLI):
    """Stage 2."""

    stage = "motion"

    def link(self, parser: LightningArgumentParser) -> None:
        """The module and the DataModule agree on blocks and history."""
        parser.link_arguments("data.block", "model.block")
        parser.link_arguments("data.history", "model.history.frames")

    def writer(self) -> pl.Callback:
        """Writes motions."""
        path = self.datamodule.scenes
        if path is None:
            return self._generation_writer(Kind.MOTIONS, {}, clip_columns)
        scenes, source = Artifact.open(path, Kind.SCENES), Artifact.open(self.datamodule.source, Kind.SOURCE)
        require_source(scenes, source, self.datamodule.unseen)
        return self._generation_writer(
            Kind.MOTIONS, {"scenes": scenes.content_hash}, clip_columns, scenes.patients
        )


class SegmentCLI(StageCLI):
    """Wire segmenters: guide, gate, the arms of the comparison."""

    stage = "segment"
    monitor = ("val/dice", "max")

    def link(self, parser: LightningArgumentParser) -> None:
        """Trained and applied on as many neighbouring frames."""
        parser.link_arguments("data.frames", "model.frames")


class FeaturesCLI(StageCLI):
    """The feature network that pictures are compared by."""

    stage = "features"


STAGES: dict[str, tuple[type[StageCLI], type[RecordedModule], type[pl.LightningDataModule], str]] = {
    "scene": (SceneCLI, SceneModule, SceneDataModule, "learn frames with a wire where a mask says; draw them"),
    "motion": (MotionCLI, MotionModule, MotionDataModule, "learn the frames that follow; roll out clips"),
    "segment": (SegmentCLI, SegmentationModule, SegmentationDataModule, "train and test wire segmenters"),
    "features": (FeaturesCLI, FeaturesModule, FeaturesDataModule, "learn what pictures of this domain differ in"),
}


def run_stage(stage: str, args: Sequence[str]) -> StageCLI | None:
    """Run ``sfvd STAGE ARGS``; None where it only looked for a batch size."""
    args, find, limit = take_flags(args)
    if find:
        find_batch_size(stage, args, limit)
        return None
    cli, module, datamodule, _ = STAGES[stage]
    with Siblings([stage, *args]) as siblings:
        return _stage_cli(cli, module, datamodule, stage, args, siblings)


def _stage_cli(
    cli: type[StageCLI],
    module: type[RecordedModule],
    datamodule: type[pl.LightningDataModule],
    stage: str,
    args: Sequence[str],
    siblings: Siblings,
) -> StageCLI:
    return cli(
        module,
        datamodule,
        siblings=siblings,
        args=list(args),
        save_config_callback=None,
        seed_everything_default=0,
        trainer_defaults={
            "max_epochs": -1,
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "log_every_n_steps": 10,
            "inference_mode": False,
        },
        parser_kwargs={"prog": f"sfvd {stage}", "default_env": False},
    )
