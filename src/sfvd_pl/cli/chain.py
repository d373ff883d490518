"""``sfvd augment``, ``sfvd evaluate`` and ``sfvd run``."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from sfvd_pl.artifacts import content_hash
from sfvd_pl.modules.workers import Siblings, local_devices, this_worker
from sfvd_pl.pipeline.augment import AugmentSettings, make_synthetic
from sfvd_pl.pipeline.evaluation.run import evaluate as measure
from sfvd_pl.pipeline.evaluation.run import metrics_head
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
from sfvd_pl.pipeline.presets import chosen_preset, parse_overrides, stages_folder
from sfvd_pl.pipeline.report.write import write_evaluation
from sfvd_pl.pipeline.run import Pipeline
from sfvd_pl.pipeline.settings import STAGES, STEPS, RunSettings
from sfvd_pl.pipeline.source import split_settings
from sfvd_pl.pipeline.summary import summary


def augment(args: Sequence[str]) -> None:
    """Run ``sfvd augment ARGS``."""
    parser = ArgumentParser(
        prog="sfvd augment",
        description="Make labelled synthetic clips. Any number of processes may run this command with the same "
        "settings at the same time: the devices of a machine (--devices), ranks of srun or torchrun, array tasks. "
        "They share the work by files beside OUT; whichever ends last puts the clips together.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    parser.add_class_arguments(AugmentSettings, None)
    config = parser.instantiate(parser.parse_args(list(args)))
    settings = AugmentSettings(**{key: value for key, value in vars(config).items() if key != "config"})
    worker = this_worker()
    with Siblings(["augment", *args]) as siblings:
        if worker.own:
            worker = siblings.start(local_devices(settings.devices, settings.accelerator), worker)
        make_synthetic(settings, worker)


def evaluate(args: Sequence[str]) -> None:
    """Run ``sfvd evaluate ARGS``."""
    parser = ArgumentParser(
        prog="sfvd evaluate",
        description="Measure generated clips against real ones. A section that lacks an input is left out, and the "
        "output and metrics.json say why; one whose inputs, settings and code are unchanged comes from the cache.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    parser.add_class_arguments(EvaluateSettings, None)
    parser.add_argument("--out", type=Path, required=True, help="Folder for metrics.json and index.html.")
    parser.add_argument("--run", type=str, default="", help="Name that the report carries.")
    config = parser.instantiate(parser.parse_args(list(args)))
    settings = {key: value for key, value in vars(config).items() if key not in ("config", "out", "run")}
    evaluation = measure(EvaluateSettings(**settings), config.out / "measures")
    name = config.run or f"{config.generated.stem} {content_hash(config.generated)[:8]}"
    numbers, page = write_evaluation(config.out, evaluation, metrics_head(name, "none", config.seed, []))
    print(f"wrote {numbers} and {page}")


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Add what every run and every study can be told."""
    parser.add_argument("--root", type=Path, default=Path("data/artifacts"), help="folder of all runs")
    parser.add_argument("--preset", default="auto", help="auto takes what the machine can do")
    parser.add_argument("--stages", type=Path, default=None, help="folder of presets")
    data = "clips of any kind, or a source artifact, which is divided anew; the simulator without it"
    parser.add_argument("--data", type=Path, default=None, help=data)
    parser.add_argument("--devices", default="auto", help="number of devices, of each machine")


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sfvd run",
        description="Run stages of the chain in order. A stage with nothing new to do ends at once; one that was "
        "cut off goes on.",
        epilog="Any other --STEP.KEY VALUE sets a key of a step's configuration, for example "
        "--scene.trainer.max_steps 100 or --augment.plan.num_clips 8. Steps: " + ", ".join(STEPS),
    )
    parser.add_argument("stage", nargs="+", choices=STAGES, help="stages, in order")
    parser.add_argument("--run", default="default", help="name of the run (default: %(default)s)")
    add_shared(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nodes", type=_positive, default=1, help="machines that train together, with a launcher")
    parser.add_argument(
        "--launcher",
        type=shlex.split,
        default=(),
        metavar="COMMAND",
        help="what starts trainings and generation on their machines, a process for each device, such as srun",
    )
    parser.add_argument(
        "--split", type=Path, default=None, help="CSV file, patient and part (train, val or test): who is tested"
    )
    parser.add_argument("--test", choices=("none",), default=None, help="none: every patient trains, nobody is tested")
    parser.add_argument(
        "--labelled",
        default=None,
        help="which training clips keep their labels: a share, names with commas between, or a file with one name on "
        "each line (default: all of your own clips, the preset's share of the simulator's)",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[], help="seeds of the comparison's arms")
    return parser


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def run(args: Sequence[str]) -> None:
    """Run ``sfvd run ARGS``."""
    known, rest = _run_parser().parse_known_args(list(args))
    pipeline = Pipeline(
        RunSettings(
            name=known.run,
            root=known.root,
            preset=chosen_preset(known.preset),
            stages=stages_folder(known.stages),
            data=known.data,
            seed=known.seed,
            devices=known.devices,
            split=split_settings(known.split, known.test, known.labelled),
            seeds=tuple(known.seeds),
            overrides=parse_overrides(rest, STEPS),
            nodes=known.nodes,
            launcher=tuple(known.launcher),
        )
    )
    pipeline.perform(known.stage)
    print(summary(pipeline.run))
