"""``sfvd data export``: an artifact in another format, whole or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from tqdm import tqdm

from sfvd_pl import __version__
from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ExportError
from sfvd_pl.export.clips import Item, choose, read_item
from sfvd_pl.export.dicom import DicomExport
from sfvd_pl.export.folder import new_folder, write_json
from sfvd_pl.export.frames import FramesExport
from sfvd_pl.export.nifti import NiftiExport
from sfvd_pl.export.nnunet import NnunetExport
from sfvd_pl.export.video import VideoExport

Format = Literal["frames", "mp4", "nifti", "nnunet", "dicom"]
FORMATS: tuple[str, ...] = get_args(Format)
LISTING = "export.json"
"""Lies beside the clips: which artifact they are from, whom that was learned from, each clip's patient, split and whom
it shows."""


class Exporter(Protocol):
    """One format."""

    def add(self, item: Item) -> None:
        """Write one clip."""

    def finish(self) -> list[str]:
        """Write what belongs to all of them; returns lines for the user."""
        ...


@dataclass(frozen=True)
class ExportConfig:
    """What is exported, and how.

    Attributes:
        format: ``frames`` (PNG folders that `sfvd data import` reads back exactly), ``mp4``, ``nifti``, ``nnunet``
            (v2) or ``dicom``.
        clips: Names of clips, or patterns such as ``p01/*``; none means all.
        split: Only this part of a source: train, val or test.
        accepted: Of a synthetic artifact, only clips that the gate accepted, which is the default; false exports the
            rejected ones, too. Refused for other kinds.
        overlay: mp4: draw the outline of the wire.
        fps: mp4: frames a second of clips that don't know theirs.
        dataset_id: nnunet: number of the data set.
        dataset_name: nnunet: its name.
    """

    format: Format
    clips: tuple[str, ...] = ()
    split: Literal["train", "val", "test"] | None = None
    accepted: bool | None = None
    overlay: bool = False
    fps: float = 15.0
    dataset_id: int = 501
    dataset_name: str = "Wires"

    def __post_init__(self) -> None:
        """Check what the types don't."""
        if not 0.1 <= self.fps <= 1000:
            raise ExportError("no such frame rate", key="--fps", expected="0.1 to 1000", found=self.fps)


def export_artifact(artifact: Artifact, out: Path, config: ExportConfig, *, progress: bool = True) -> list[str]:
    """Write an artifact's clips in another format.

    Args:
        artifact: Any kind with pictures.
        out: A new or empty folder.
        config: What and how.
        progress: Show a bar.

    Returns:
        Lines for the user.

    Raises:
        ExportError: Nothing to export, the folder is taken, or a library is missing; nothing is left behind.
    """
    rows = choose(artifact, clips=config.clips, split=config.split, accepted=config.accepted)
    listed, unsaid = [], 0
    with new_folder(out) as folder:
        exporter = _exporter(folder, artifact, config)
        for row in tqdm(rows, f"export {config.format}", disable=not progress, unit="clip"):
            item = read_item(artifact, row)
            exporter.add(item)
            unsaid += item.clip.ignore is not None and bool(item.clip.ignore.any())
            listed.append({"name": item.clip.name, "patient": item.clip.patient, "split": item.split or None,
                           "labelled": item.labelled, "synthetic": item.synthetic, "shows": item.shows})  # fmt: skip
        lines = exporter.finish()
        if unsaid and config.format not in ("frames", "nnunet"):
            lines.append(f"{unsaid} clips have pixels to ignore, left out: only frames and nnunet hold them")
        about = {"artifact": artifact.path.name, "kind": artifact.kind.value, "content_hash": artifact.content_hash}
        about |= {"producer": f"sfvd-pl {__version__}", "format": config.format}
        learned = {} if artifact.kind == Kind.SOURCE else {"learned_from": list(artifact.patients)}
        write_json(folder / LISTING, {**about, **learned, "clips": listed})
    left = artifact.n_clips - len(rows)
    head = f"{out}: {len(rows)} clips as {config.format}"
    if left and "clips/accepted" in artifact.keys and config.accepted is not False:
        head += f"; {left} that the gate rejected left out (--accepted false exports them too)"
    elif left:
        head += f" of {artifact.n_clips}"
    return [head, *lines]


def _exporter(folder: Path, artifact: Artifact, config: ExportConfig) -> Exporter:
    makers: dict[str, Callable[[], Exporter]] = {
        "frames": lambda: FramesExport(folder),
        "mp4": lambda: VideoExport(folder, with_overlay=config.overlay, fps=config.fps),
        "nifti": lambda: NiftiExport(folder),
        "nnunet": lambda: NnunetExport(folder, dataset_id=config.dataset_id, name=config.dataset_name),
        "dicom": lambda: DicomExport(folder, content_hash=artifact.content_hash),
    }
    return makers[config.format]()
