"""``sfvd``: one command for everything."""

import errno
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence

from sfvd_pl import __version__, signals
from sfvd_pl.cli.requeue import leave
from sfvd_pl.errors import SfvdError

if not sys.stderr.isatty():  # a bar that redraws itself fills a job's log; tqdm reads this when it is imported
    os.environ.setdefault("TQDM_MININTERVAL", "20")

USAGE = """\
usage: sfvd COMMAND ...

SF-VD, reconstructed: labelled synthetic fluoroscopy for guidewire segmentation.

data
  data simulate      make a source artifact with the simulator
  data import        make a source artifact from your clips: pictures, DICOM, video, NIfTI, NumPy
  data compare       compare two source artifacts: noise, grey values, wire
  data verify        check any artifact; exit status 0 only when it holds
  data check         look for faults in clips and labels: leaks, displaced masks, frozen frames
  data exclude       leave out generated clips that are copies of training clips
  data show          summarise any artifact and draw a contact sheet
  data merge         put an artifact together from the shards that several processes have made
  data export        write clips as PNG folders, MP4, NIfTI, nnU-Net or DICOM

models (LightningCLI: --config, --print_config, any --key value; -h for help)
  scene    fit | validate | predict          stage 1: frames with a wire where a mask says
  motion   fit | validate | predict          stage 2: the frames that follow
  segment  fit | validate | test | predict   wire segmenters; predict finds the wire in your clips
  features fit | validate                    the network by whose features clips are compared; needs no labels

chain
  augment            stage 3: guided, gated, labelled synthetic clips
  evaluate           measure generated clips of any artifact against real ones
  report             write the report of a run anew, or put several runs side by side
  run                a stage or the whole chain with a preset: stage1 stage2 augment segment
  study              the label-efficiency curve: arms over numbers of labelled clips, patients held out in turn
  wandb              hand Weights & Biases what it lacks of runs that were offline, killed or cut off

options
  --version, -h, --help
"""


def _data(args: Sequence[str]) -> None:
    from sfvd_pl.cli.data import main

    main(args)


def _stage(name: str) -> Callable[[Sequence[str]], None]:
    def run(args: Sequence[str]) -> None:
        if name == "segment" and args and args[0] == "predict":
            from sfvd_pl.cli.predict import main

            main(args[1:])
            return
        from sfvd_pl.cli.stage import run_stage

        run_stage(name, args)

    return run


def _augment(args: Sequence[str]) -> None:
    from sfvd_pl.cli.chain import augment

    augment(args)


def _evaluate(args: Sequence[str]) -> None:
    from sfvd_pl.cli.chain import evaluate

    evaluate(args)


def _report(args: Sequence[str]) -> None:
    from sfvd_pl.cli.report import report

    report(args)


def _wandb(args: Sequence[str]) -> None:
    from sfvd_pl.cli.wandb import wandb

    wandb(args)


def _run(args: Sequence[str]) -> None:
    from sfvd_pl.cli.chain import run

    run(args)


def _study(args: Sequence[str]) -> None:
    from sfvd_pl.cli.study import study

    study(args)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "data": _data,
    "scene": _stage("scene"),
    "motion": _stage("motion"),
    "segment": _stage("segment"),
    "features": _stage("features"),
    "augment": _augment,
    "evaluate": _evaluate,
    "report": _report,
    "run": _run,
    "study": _study,
    "wandb": _wandb,
}


NOISE = (
    "LightningCLI's args parameter is intended",  # `sfvd run` calls the stages from within
    "Be aware that when using `ckpt_path`",  # prediction needs no training callbacks
    "`isinstance(treespec, LeafSpec)` is deprecated",
    "The 'predict_dataloader' does not have many workers",
    "The 'train_dataloader' does not have many workers",
    "The 'val_dataloader' does not have many workers",
    "You're using the WeightAveraging callback, but loading a checkpoint outside",
    "Experiment logs directory",
    "It is recommended to use `self.log",  # what is logged is the same on every rank
    "The ``compute`` method of metric",  # a rank without a validation batch of its own
    "Your `IterableDataset` has `__len__` defined",  # and no workers
    "Couldn't infer the batch indices",  # of which nobody asks
    "Total length of `list` across ranks is zero",  # nobody to validate on
)
"""Warnings of libraries about what is done here on purpose."""


def hush() -> None:
    """Keep the terminal for what a user can act on."""
    for message in NOISE:
        warnings.filterwarnings("ignore", message=re.escape(message))
        warnings.filterwarnings("ignore", message=".*" + re.escape(message))
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.trainer.connectors.accelerator_connector"):
        logging.getLogger(name).addFilter(lambda record: not any(k in record.getMessage() for k in CHATTER))


CHATTER = ("litlogger", "litmodels", "TPU available", "`weights_only` was not set", "WeightAveraging callback, but")


def dispatch(args: Sequence[str]) -> None:
    """Run one command; raises what the command raises."""
    COMMANDS[args[0]](args[1:])


MACHINE_FAULTS = {
    errno.EACCES: "give this user the right to read or write it",
    errno.EPERM: "give this user the right to read or write it",
    errno.EROFS: "choose a folder on a disk that can be written",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room within the quota",
    errno.EIO: "look after the disk or the network it lies on",
    errno.ESTALE: "look after the network disk",
}
"""What a machine refuses wherever it is asked, and what to do about it; anything else is a fault of this program."""


def _machine_fault(error: OSError) -> SfvdError:
    """As an error for a user."""
    return SfvdError(
        "a file can't be read or written",
        file=error.filename,
        found=str(error),
        remedy=f"{MACHINE_FAULTS[error.errno or 0]}, then give the same command again",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sfvd``; returns the exit status.

    0 done, 1 refused, 2 used wrongly, 75 asked to stop and left in good order (the same command goes on), 128 plus the
    number of the signal after a second signal.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["--version"]:
        print(f"sfvd {__version__}")
        return 0
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    if args[0] not in COMMANDS:
        print(f"sfvd: unknown command {args[0]!r}\n\n{USAGE}", file=sys.stderr)
        return 2
    hush()
    with signals.answered():
        try:
            dispatch(args)
            signals.raise_if_requested()  # in case a library swallowed the exception
        except SfvdError as error:
            print(f"\nsfvd: {error}", file=sys.stderr, flush=True)
            return 1
        except OSError as error:
            if error.errno not in MACHINE_FAULTS:
                raise
            print(f"\nsfvd: {_machine_fault(error)}", file=sys.stderr, flush=True)
            return 1
        except KeyboardInterrupt:
            print("\nsfvd: stopped", file=sys.stderr, flush=True)
            return 130
        except signals.Stopped as stopped:
            print(f"\nsfvd: {stopped}", file=sys.stderr, flush=True)
            return leave(stopped.signum)
    return 0
