"""``sfvd data check``: quality control of a source."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sfvd_pl.artifacts import require_whole
from sfvd_pl.metrics.quality.check import CheckConfig
from sfvd_pl.metrics.quality.facts import Limits
from sfvd_pl.report.check import write_check
from sfvd_pl.sources.check.run import check_source, refuse

SUMMARY = "look for faults in a source; exit status 1 when something would make a result false"


def build_parser() -> ArgumentParser:
    """The parser of ``sfvd data check``."""
    parser = ArgumentParser(description="Quality control of a source artifact: findings with pictures.")
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    parser.add_argument("file", type=Path, help="A source artifact (sfvd data import makes one).")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="Folder for index.html and findings.json; default: FILE-check.",
    )
    parser.add_argument(
        "--accept",
        type=list[str] | str,
        default=[],
        help="Errors that are known: CODE or CODE:CLIP, or a list.",
    )
    parser.add_argument(
        "--window", type=int, default=0, help="Training window, px, that frames should fill; 0: any."
    )
    parser.add_argument("--frames", type=int, default=0, help="Frames that clips should have; 0: any.")
    parser.add_class_arguments(Limits, "limits")
    return parser


def run_check(chosen: Namespace) -> None:
    """Check, write the page, say what was found.

    Raises:
        ArtifactError: The file doesn't hold.
        SourceError: There are errors that nobody accepted.
    """
    accepted = [chosen.accept] if isinstance(chosen.accept, str) else list(chosen.accept)
    config = CheckConfig(tuple(accepted), chosen.window, chosen.frames, chosen.limits)
    require_whole(chosen.file, progress=sys.stderr.isatty())
    check = check_source(chosen.file, config, progress=sys.stderr.isatty())
    folder = chosen.out or chosen.file.with_name(f"{chosen.file.stem}-check")
    numbers, page = write_check(folder, check)
    print("\n".join(check.lines()))
    print(f"page: {page}\nfindings: {numbers}")
    refuse(check, page, "--accept CODE")
