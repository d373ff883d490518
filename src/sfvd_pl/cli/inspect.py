"""``sfvd data verify``, ``show`` and ``merge``: whether an artifact holds, what it holds, and its parts as a whole."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sfvd_pl.artifacts import Artifact, find_parents, merge_shards, verify, verify_shards
from sfvd_pl.errors import ArtifactError, ConfigError, ExportError
from sfvd_pl.report.describe import describe
from sfvd_pl.report.overlay import save_png
from sfvd_pl.report.sheet import CLIPS, FRAMES, contact_sheet


def verify_parser() -> ArgumentParser:
    """The parser of ``sfvd data verify``."""
    parser = ArgumentParser(
        description="Check artifacts to the last byte, and folders of shards for missing ones. Parents that lie where "
        "a run keeps them (source.h5 beside the file, scene/model.ckpt, ...) must still be what the artifact was made "
        "from."
    )
    parser.add_argument("files", type=Path, nargs="+", help="Artifacts, or folders of shards (NAME.shards).")
    parser.add_argument(
        "--parents", type=str, nargs="+", default=[], metavar="NAME=FILE", help="Parents that lie elsewhere."
    )
    return parser


def show_parser() -> ArgumentParser:
    """The parser of ``sfvd data show``."""
    parser = ArgumentParser(description="Summarise an artifact on the terminal and draw a contact sheet of its clips.")
    parser.add_argument("file", type=Path, help="An artifact of any kind.")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="PNG to draw, which must not exist yet; without it NAME.png beside the artifact, unless that exists.",
    )
    parser.add_argument("--clips", type=int, default=CLIPS, help="Clips on the sheet, at most 100; 0 draws none.")
    parser.add_argument("--frames", type=int, default=FRAMES, help="Pictures of each clip, 2 to 32.")
    return parser


def merge_parser() -> ArgumentParser:
    """The parser of ``sfvd data merge``."""
    parser = ArgumentParser(
        description="Put an artifact together from its folder of shards, checking each to the last byte; for a job "
        "without a GPU behind those that ran `sfvd augment --merge false`."
    )
    parser.add_argument("shards", type=Path, help="The folder, NAME.shards.")
    parser.add_argument("--out", type=Path | None, default=None, help="The artifact; NAME.h5 beside the folder.")
    return parser


def run_merge(chosen: Namespace) -> None:
    """Merge a folder of shards.

    Raises:
        ArtifactError: Samples are missing, or the name is taken.
    """
    out = merge_shards(chosen.shards, chosen.out)
    print(f"made {out}: {Artifact.open(out).n_clips} clips")


def run_verify(chosen: Namespace) -> None:
    """Check each of the files and folders.

    Raises:
        ArtifactError: One doesn't hold; the lines above say why.
    """
    parents = dict(_named(text) for text in chosen.parents)
    broken, progress = 0, sys.stderr.isatty()
    for path in chosen.files:
        if path.is_dir():
            problems, whole = verify_shards(path, progress=progress), "holds, every sample is there"
        else:
            problems, whole = _verify(path, parents, progress)
        broken += bool(problems)
        print(f"{path}: {'broken' if problems else whole}")
        print("".join(f"  {problem}\n" for problem in problems), end="")
    if broken:
        raise ArtifactError(f"{broken} of {len(chosen.files)} artifacts do not hold", remedy="see the lines above")


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ConfigError("a parent needs its name", key="--parents", expected="NAME=FILE", found=text)
    return name, Path(path)


def _verify(path: Path, given: dict[str, Path], progress: bool) -> tuple[list[str], str]:
    """Problems of an artifact; and what is said where there are none."""
    try:
        artifact = Artifact.open(path)
    except ArtifactError as error:
        return [str(error)], ""
    at_hand = {**find_parents(artifact), **{name: file for name, file in given.items() if name in artifact.parents}}
    problems = verify(path, parents=at_hand, progress=progress)
    known = [f"{name} ({file})" for name, file in at_hand.items()]
    absent = [name for name in artifact.parents if name not in at_hand]
    told = f"holds ({artifact.kind}, {artifact.n_clips} clips, {artifact.content_hash[:12]})"
    told += f"\n  made from {', '.join(known)}" if known else ""
    told += f"\n  not at hand, so not compared: {', '.join(absent)}" if absent else ""
    return problems, told


def run_show(chosen: Namespace) -> None:
    """Print a summary and draw a contact sheet.

    Raises:
        ExportError: The picture's name is taken, or the sheet would be empty or absurd.
    """
    if not 0 <= chosen.clips <= 100 or not 2 <= chosen.frames <= 32:
        raise ExportError(
            "no such sheet", key="--clips, --frames", expected="0 to 100 clips, 2 to 32 frames",
            found=f"{chosen.clips}, {chosen.frames}",
        )  # fmt: skip
    if chosen.out is not None and chosen.out.exists():
        raise ExportError(
            "the picture exists already", file=chosen.out, key="--out", remedy="remove it, or choose another name"
        )
    artifact = Artifact.open(chosen.file)
    print(describe(artifact))
    if chosen.clips == 0:
        return
    out = chosen.out or chosen.file.with_suffix(".png")
    if chosen.out is None and out.exists():
        print(f"  contact sheet: {out} exists already and is left alone (--out draws another)")
        return
    save_png(out, contact_sheet(artifact, clips=chosen.clips, frames=chosen.frames))
    print(f"  contact sheet: {out}")
