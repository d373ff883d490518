"""``sfvd data``: make a source artifact; check, show and export any artifact."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sfvd_pl.cli import check as quality
from sfvd_pl.cli.compare import add_compare, compare
from sfvd_pl.cli.exclude import SUMMARY as EXCLUDE
from sfvd_pl.cli.exclude import exclude_parser, run_exclude
from sfvd_pl.cli.export import export_parser, run_export
from sfvd_pl.cli.inspect import merge_parser, run_merge, run_show, run_verify, show_parser, verify_parser
from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.run import import_source
from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.simulate import simulate_clips
from sfvd_pl.sources.split import SplitConfig
from sfvd_pl.sources.write import write_source


def _output_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    parser.add_argument("--out", type=Path, required=True, help="The source artifact to write.")
    parser.add_argument("--seed", type=int, default=0, help="Decides the clips (simulator), the split and the labels.")
    parser.add_argument("--overwrite", type=bool, default=False, help="Replace an artifact of this name.")
    parser.add_class_arguments(SplitConfig, "split")


def build_parser() -> ArgumentParser:
    """The parser of ``sfvd data``."""
    parser = ArgumentParser(prog="sfvd data", description="Make a source artifact; check, show and export any.")
    commands = parser.add_subcommands(required=True)
    simulate = ArgumentParser(description="Simulate clips with a physical phantom.")
    _output_arguments(simulate)
    simulate.add_argument("--workers", type=int, default=0, help="Processes that simulate; the clips are the same.")
    simulate.add_class_arguments(PhantomConfig, "phantom")
    commands.add_subcommand("simulate", simulate, help="make a source artifact with the simulator")
    imported = ArgumentParser(
        description="Import clips from a folder tree of any mixture of <patient>/<run>/images/* with "
        "masks/<same stem>.png, DICOM (XA, RF), video, NIfTI and .npy files; labels from COCO, CVAT, point lists and "
        "volumes. data/README.md describes the layout. A stopped import goes on with the same command."
    )
    imported.add_argument("source", type=Path, help="Folder of patients' folders, or one recording.")
    _output_arguments(imported)
    imported.add_class_arguments(ImportConfig, None)
    commands.add_subcommand("import", imported, help="make a source artifact from clips of any kind")
    add_compare(commands)
    commands.add_subcommand("check", quality.build_parser(), help=quality.SUMMARY)
    commands.add_subcommand("exclude", exclude_parser(), help=EXCLUDE)
    commands.add_subcommand("verify", verify_parser(), help="check any artifact; exit status 0 only when it holds")
    commands.add_subcommand("show", show_parser(), help="summarise any artifact and draw a contact sheet")
    commands.add_subcommand("merge", merge_parser(), help="put an artifact together from its folder of shards")
    commands.add_subcommand("export", export_parser(), help="write clips as PNG folders, MP4, NIfTI, nnU-Net or DICOM")
    return parser


def main(args: Sequence[str]) -> None:
    """Run ``sfvd data ARGS``."""
    parser = build_parser()
    config = parser.parse_args(_with_underscores(args))
    chosen: Namespace = config[config.subcommand]
    inspect = {"verify": run_verify, "show": run_show, "merge": run_merge, "export": run_export, "exclude": run_exclude}
    if config.subcommand in inspect:
        inspect[config.subcommand](chosen)
        return
    if config.subcommand == "compare":
        progress = sys.stderr.isatty()
        print(compare(chosen.first, chosen.second, clips=chosen.clips, frames=chosen.frames, progress=progress))
        return
    init = parser.instantiate(config)[config.subcommand]
    if config.subcommand == "check":
        quality.run_check(init)
        return
    if config.subcommand == "simulate":
        summary = write_source(
            init.out,
            simulate_clips(init.phantom, init.seed, workers=init.workers),
            split=init.split,
            seed=init.seed,
            config={"phantom": asdict(init.phantom)},
            overwrite=init.overwrite,
            frame_shape=(init.phantom.height, init.phantom.width),
        )
    else:
        settings = {key.name: init[key.name] for key in fields(ImportConfig)}
        summary = import_source(
            init.source,
            init.out,
            ImportConfig(**settings),
            split=init.split,
            seed=init.seed,
            overwrite=init.overwrite,
        )
    print(summary)


def _with_underscores(args: Sequence[str]) -> list[str]:
    """``--keep-going`` as ``--keep_going=true``: dashes as underscores, and the one switch without a value."""
    out: list[str] = []
    for number, arg in enumerate(args):
        if arg.startswith("--"):
            name, equals, value = arg.partition("=")
            arg = name[:2] + name[2:].replace("-", "_") + equals + value
            following = args[number + 1] if number + 1 < len(args) else "--"
            if arg == "--keep_going" and following.lower() not in ("true", "false"):
                arg = "--keep_going=true"
        out.append(arg)
    return out
