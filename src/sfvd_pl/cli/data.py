"""``sfvd data``: make a source artifact, check any artifact."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sfvd_pl.artifacts import Artifact, verify
from sfvd_pl.errors import ArtifactError
from sfvd_pl.sources.phantom import simulate_clips
from sfvd_pl.sources.phantom_config import PhantomConfig
from sfvd_pl.sources.walk import scan_source
from sfvd_pl.sources.write import SplitConfig, write_source


def _output_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    parser.add_argument("--out", type=Path, required=True, help="The source artifact to write.")
    parser.add_argument("--seed", type=int, default=0, help="Decides the clips (simulator), the split and the labels.")
    parser.add_argument("--overwrite", type=bool, default=False, help="Replace an artifact of this name.")
    parser.add_class_arguments(SplitConfig, "split")


def build_parser() -> ArgumentParser:
    """The parser of ``sfvd data``."""
    parser = ArgumentParser(prog="sfvd data", description="Make a source artifact; check any artifact.")
    commands = parser.add_subcommands(required=True)
    simulate = ArgumentParser(description="Simulate clips with a physical phantom.")
    _output_arguments(simulate)
    simulate.add_class_arguments(PhantomConfig, "phantom")
    commands.add_subcommand("simulate", simulate, help="make a source artifact with the simulator")
    imported = ArgumentParser(description="Import <patient>/<run>/images/* with masks/<same stem>.png.")
    imported.add_argument("folder", type=Path, help="Folder of patients' folders.")
    _output_arguments(imported)
    commands.add_subcommand("import", imported, help="make a source artifact from folders of clips")
    check = ArgumentParser(description="Check artifacts to the last byte.")
    check.add_argument("files", type=Path, nargs="+", help="Artifacts of any kind.")
    commands.add_subcommand("verify", check, help="check any artifact; exit status 0 only when it holds")
    return parser


def main(args: Sequence[str]) -> None:
    """Run ``sfvd data ARGS``."""
    parser = build_parser()
    config = parser.parse_args(list(args))
    chosen: Namespace = config[config.subcommand]
    if config.subcommand == "verify":
        _verify(chosen.files)
        return
    init = parser.instantiate(config)[config.subcommand]
    if config.subcommand == "simulate":
        summary = write_source(
            init.out,
            simulate_clips(init.phantom, init.seed),
            split=init.split,
            seed=init.seed,
            config={"phantom": asdict(init.phantom)},
            overwrite=init.overwrite,
            frame_shape=(init.phantom.height, init.phantom.width),
        )
    else:
        summary = write_source(
            init.out,
            scan_source(init.folder),
            split=init.split,
            seed=init.seed,
            config={"import": str(init.folder.name)},
            overwrite=init.overwrite,
        )
    print(summary)


def _verify(files: list[Path]) -> None:
    broken = 0
    for path in files:
        problems = verify(path, progress=sys.stderr.isatty())
        if problems:
            broken += 1
            print(f"{path}: broken")
            print("\n".join(f"  {problem}" for problem in problems))
        else:
            artifact = Artifact.open(path)
            print(f"{path}: holds ({artifact.kind}, {artifact.n_clips} clips, {artifact.content_hash[:12]})")
    if broken:
        raise ArtifactError(f"{broken} of {len(files)} artifacts do not hold", remedy="see the lines above")
