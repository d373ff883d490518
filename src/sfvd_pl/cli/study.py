"""``sfvd study``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from sfvd_pl.datasets.segmentation import Arm
from sfvd_pl.pipeline.presets import chosen_preset, parse_overrides, stages_folder
from sfvd_pl.pipeline.settings import STEPS, RunSettings
from sfvd_pl.pipeline.steps import say
from sfvd_pl.pipeline.study import StudySettings, perform_study
from sfvd_pl.report.study import study_lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sfvd study",
        description="The label-efficiency curve: patients are held out in turn, segmenters learn from 2, 4, 8, ... "
        "labelled clips of the others, and are tested on those held out. Every run lies in ROOT/STUDY and is one as "
        "`sfvd run` makes it: what is done already is not done again. Results: ROOT/STUDY/report.",
        epilog="Any other --STEP.KEY VALUE sets a key of a step's configuration in all runs.",
    )
    arms = get_args(Arm)
    parser.add_argument("--study", default="study", help="name of the study (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=Path("data/artifacts"), help="folder of all runs")
    parser.add_argument("--preset", default="auto", help="auto takes what the machine can do")
    parser.add_argument("--stages", type=Path, default=None, help="folder of presets")
    parser.add_argument("--data", type=Path, default=None, help="clips of any kind; the simulator without it")
    parser.add_argument("--devices", default="auto", help="number of devices")
    parser.add_argument(
        "--patients",
        type=lambda text: tuple(text.split(",")),
        nargs="+",
        default=[],
        help="who is held out, one run each; several at once with commas between (default: each who has labels)",
    )
    parser.add_argument(
        "--labels",
        type=_number_or_all,
        nargs="+",
        default=[2, 4, 8, None],
        help="numbers of labelled clips, or all",
    )
    parser.add_argument(
        "--arms", choices=arms, nargs="+", default=[], help="real, and these (default: the preset's)"
    )
    parser.add_argument(
        "--arms-with-all-labels",
        choices=arms,
        nargs="+",
        default=["real"],
        metavar="ARM",
        help="the same for all labels",
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="of the draw of labels and of all trainings"
    )
    return parser


def _number_or_all(text: str) -> int | None:
    if text == "all":
        return None
    if int(text) < 1:
        raise argparse.ArgumentTypeError("must be at least 1, or all")
    return int(text)


def study(args: Sequence[str]) -> None:
    """Run ``sfvd study ARGS``."""
    known, rest = _parser().parse_known_args(list(args))
    runs = RunSettings(
        name=known.study,
        root=known.root,
        preset=chosen_preset(known.preset),
        stages=stages_folder(known.stages),
        data=known.data,
        devices=known.devices,
        overrides=parse_overrides(rest, STEPS),
    )
    found = perform_study(
        StudySettings(
            runs,
            tuple(known.patients),
            tuple(dict.fromkeys(known.labels)),
            tuple(known.arms),
            tuple(known.arms_with_all_labels),
            tuple(dict.fromkeys(known.seeds)),
        )
    )
    say("\n".join(["", *study_lines(found), f"study: {runs.root / runs.name / 'report' / 'index.html'}"]))
