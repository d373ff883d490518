"""``sfvd study``."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import get_args

from sfvd_pl.cli.chain import add_shared
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
    parser.add_argument("--study", default="study", help="name of the study (default: %(default)s)")
    add_shared(parser)
    add = partial(parser.add_argument, nargs="+")
    who = "who is held out, one run each; several at once with commas between (default: each who has labels)"
    add("--patients", type=lambda text: tuple(text.split(",")), default=[], help=who)
    add("--labels", type=_number_or_all, default=[2, 4, 8, None], help="numbers of labelled clips, or all")
    add("--arms", choices=get_args(Arm), default=[], help="real, and these (default: the preset's)")
    add("--arms-with-all-labels", choices=get_args(Arm), default=["real"], metavar="ARM", help="for all labels")
    add("--seeds", type=int, default=[0], help="of the draw of labelled clips and of all trainings")
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
    labels, seeds = (tuple(dict.fromkeys(values)) for values in (known.labels, known.seeds))
    arms = tuple(known.arms), tuple(known.arms_with_all_labels)
    found = perform_study(StudySettings(runs, tuple(known.patients), labels, *arms, seeds))
    say("\n".join(["", *study_lines(found), f"study: {runs.root / runs.name / 'report' / 'index.html'}"]))
