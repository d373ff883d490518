"""``sfvd data export``: an artifact in another format."""

import sys
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sfvd_pl.artifacts import Artifact, require_whole
from sfvd_pl.export import ExportConfig, export_artifact


def export_parser() -> ArgumentParser:
    """The parser of ``sfvd data export``."""
    parser = ArgumentParser(
        description="Write an artifact's clips in another format. Of synthetic clips only those that the gate "
        "accepted, unless --accepted false. The folder is whole or not there; nothing is overwritten."
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these settings.")
    parser.add_argument("file", type=Path, help="An artifact with pictures: source, scenes, motions or synthetic.")
    parser.add_argument("--out", type=Path, required=True, help="A new or empty folder.")
    parser.add_class_arguments(ExportConfig, None, skip={"accepted"})
    parser.add_argument(
        "--accepted",
        nargs="?",
        const=True,
        type=bool | None,
        default=None,
        help="Of a synthetic artifact, only clips that the gate accepted, which is the default; false exports the "
        "rejected ones, too. Refused for other kinds.",
    )
    return parser


def run_export(chosen: Namespace) -> None:
    """Export, and say what was done.

    Raises:
        ArtifactError: The artifact doesn't hold: what is exported names its content hash.
        ExportError: See :func:`export_artifact`.
    """
    require_whole(chosen.file, progress=sys.stderr.isatty())
    settings = {field.name: chosen[field.name] for field in fields(ExportConfig)}
    settings["clips"] = tuple(settings["clips"])
    lines = export_artifact(
        Artifact.open(chosen.file), chosen.out, ExportConfig(**settings), progress=sys.stderr.isatty()
    )
    print("\n  ".join(lines))
