"""``sfvd data exclude``: generated clips without copies of training clips."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sfvd_pl.augment.exclude import exclude_copies

SUMMARY = "leave out generated clips that are copies of training clips"


def exclude_parser() -> ArgumentParser:
    """The parser of ``sfvd data exclude``."""
    parser = ArgumentParser(
        description="Write generated clips again without those that `sfvd evaluate` (or the report) found to be copies "
        "of training clips. The new artifact takes the place of the old one in every command; it says what was left "
        "out, and of which artifact."
    )
    parser.add_argument("file", type=Path, help="Scenes, motions or synthetic.")
    parser.add_argument("--copies", type=Path, required=True, help="The metrics.json that has measured this artifact.")
    parser.add_argument("--out", type=Path, required=True, help="The artifact to write.")
    parser.add_argument("--overwrite", type=bool, default=False, help="Replace an artifact of this name.")
    return parser


def run_exclude(chosen: Namespace) -> None:
    """Write the artifact and say what was left out."""
    left_out = exclude_copies(chosen.file, chosen.copies, chosen.out, overwrite=chosen.overwrite)
    names = f": {', '.join(left_out)}" if left_out else ""
    print(f"wrote {chosen.out}; copies left out: {len(left_out)}{names}")
