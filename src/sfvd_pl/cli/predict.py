"""``sfvd segment predict``: find the wire in clips, the thing a user came for."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from scipy.ndimage import label
from skimage.morphology import skeletonize
from tqdm import tqdm

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.datasets.segmentation import Frames
from sfvd_pl.errors import SourceError
from sfvd_pl.export.folder import clip_path, new_folder
from sfvd_pl.modules.checkpoint import RECORD_KEY, load_for_inference, read_checkpoint
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.hashing import file_hash
from sfvd_pl.pipeline.inference import clip_probability, default_device
from sfvd_pl.report.overlay import grid_picture, save_png
from sfvd_pl.sources.frames import Run
from sfvd_pl.sources.patients import Patients
from sfvd_pl.sources.recording import Scan
from sfvd_pl.sources.walk import scan_source

ARTIFACT = "segmentation.h5"
ARTIFACT_SUFFIXES = (".h5", ".hdf5")
CONTACT_FRAMES = 16
"""Frames in the picture that shows whether it worked."""

Clips = Iterator[tuple[str, str, NDArray[np.floating], list[str]]]
"""Name, patient, frames in 0..1, and a file name for each frame's mask."""


def main(args: Sequence[str]) -> None:
    """Run ``sfvd segment predict ARGS``."""
    parser = ArgumentParser(
        prog="sfvd segment predict",
        description="Segment the wire in every frame of clips. Writes segmentation.h5 (probabilities), "
        "<patient>/<run>/masks/*.png (in the layout that `sfvd data import` reads) and overview.png.",
    )
    parser.add_argument(
        "source", type=Path, help="An artifact with frames (.h5), or a folder or file that `sfvd data import` reads."
    )
    parser.add_argument("--ckpt_path", type=Path, required=True, help="Checkpoint of a trained segmenter.")
    parser.add_argument("--out", type=Path, required=True, help="Folder to write; must not exist or be empty.")
    parser.add_argument("--threshold", type=float, default=0.5, help="Probability from which a pixel is wire.")
    parser.add_argument(
        "--min_length", type=int, default=0, help="Remove specks: parts whose centreline has fewer pixels than this."
    )
    parser.add_argument("--flips", type=bool, default=False, help="Mean over mirror images: better, four times slower.")
    parser.add_argument("--masks", type=bool, default=True, help="Also write a PNG mask for each frame.")
    config = parser.parse_args(list(args))
    predict(
        config.source,
        config.ckpt_path,
        config.out,
        threshold=config.threshold,
        min_length=config.min_length,
        flips=config.flips,
        masks=config.masks,
    )


def predict(
    source: Path,
    ckpt_path: Path,
    out: Path,
    *,
    threshold: float = 0.5,
    min_length: int = 0,
    flips: bool = False,
    masks: bool = True,
) -> Path:
    """Segment every frame; returns the artifact with the probabilities, which neither threshold nor length changes.

    Raises:
        ExportError: The output folder holds something, or a clip's name leads out of it.
        CheckpointError: The checkpoint isn't a segmenter's.
    """
    with new_folder(out) as partial:
        module = load_for_inference(SegmentationModule, ckpt_path, default_device())
        module.flips = module.flips or flips
        wire = {"threshold": threshold, "min_length": min_length}
        counts = _write_all(partial, module, source, ckpt_path, wire, masks=masks)
    path = out / ARTIFACT
    print(f"segmented {counts[0]} frames of {counts[1]} clips: {path}, {out / 'overview.png'}")
    return path


def _write_all(
    out: Path, module: SegmentationModule, source: Path, ckpt_path: Path, wire: dict[str, Any], *, masks: bool
) -> tuple[int, int]:
    """Write everything into a folder; returns the numbers of frames and clips."""
    clips, parent, shape, count = _open(source)
    record = read_checkpoint(ckpt_path)[RECORD_KEY]
    provenance = Provenance(
        seed=0,
        config={**wire, "flips": module.flips},  # not the source's name: that of a DICOM file may be its patient's
        parents={"segmenter": file_hash(ckpt_path), **parent},
        patients=tuple(record.get("patients", ())),
    )
    names, patients, lengths = [], [], []
    overview: list[tuple[NDArray[np.floating], NDArray[np.bool_]]] = []
    with ArtifactWriter(out / ARTIFACT, Kind.SEGMENTATION, provenance) as writer:
        parts = []
        for name, patient, image, stems in tqdm(clips, total=count, desc="segment", unit="clip"):
            probability = clip_probability(module, image)
            padded = np.zeros((len(image), *shape), np.float16)  # clips may differ in size
            padded[:, : image.shape[1], : image.shape[2]] = probability
            parts.append(padded)
            found = wire_masks(probability, **wire)
            if masks:
                _write_masks(clip_path(out, name) / "masks", stems, found)
            names.append(name)
            patients.append(patient)
            lengths.append(len(image))
            middle = len(image) // 2
            padding = ((0, shape[0] - image.shape[1]), (0, shape[1] - image.shape[2]))
            overview.append((np.pad(image[middle], padding), np.pad(found[middle], padding)))
        length = np.array(lengths, np.int64)
        writer.write("arms/name", [ckpt_path.stem])
        writer.write("frames/probability", np.concatenate(parts)[None])
        writer.write("frames/source_frame", np.arange(int(length.sum()), dtype=np.int64))
        writer.write("clips/source_clip", np.arange(len(length), dtype=np.int64))
        writer.write("clips/name", names)
        writer.write("clips/patient", patients)
        writer.write("clips/start", np.cumsum(length) - length)
        writer.write("clips/length", length)
    shown = overview[:CONTACT_FRAMES]
    grid = grid_picture(np.stack([image for image, _ in shown]), np.stack([found for _, found in shown]))
    save_png(out / "overview.png", grid)
    return int(length.sum()), len(names)


def _open(source: Path) -> tuple[Clips, dict[str, str], tuple[int, ...], int]:
    """Clips in 0..1, the parent's hash, the largest frame's size and the number of clips."""
    if source.suffix.lower() not in ARTIFACT_SUFFIXES:
        scan = scan_source(source, patients=Patients(anyone=True))  # a prediction needn't know who is who
        return _scanned_clips(scan), {}, scan.frame_shape, len(scan)
    artifact = Artifact.open(source)
    if "frames/image" not in artifact.keys:
        raise SourceError(
            "this artifact holds no frames to segment",
            file=source,
            key="frames/image",
            expected="a source, motions or synthetic artifact",
            found=str(artifact.kind),
        )
    return _artifact_clips(artifact), {"source": artifact.content_hash}, artifact.frame_shape, artifact.n_clips


def _scanned_clips(scan: Scan) -> Clips:
    for recording in scan.recordings:
        clip = recording.read()
        image = clip.image.astype(np.float32) / clip.intensity_max
        named = [path.stem for path in recording.images] if isinstance(recording, Run) else None
        yield clip.name, clip.patient, image, named or [f"{frame:05d}" for frame in range(len(image))]


def _artifact_clips(artifact: Artifact) -> Clips:
    frames = Frames(artifact)
    sizes = frames.size[frames.start]
    for clip in range(artifact.n_clips):
        height, width = sizes[clip]
        pixels = artifact.clip_rows("frames/image", clip)[:, :height, :width]
        image = pixels.astype(np.float32) / artifact.intensity_max
        stems = [f"{frame:05d}" for frame in range(len(image))]
        yield str(artifact.column("clips/name")[clip]), str(artifact.column("clips/patient")[clip]), image, stems


def wire_masks(
    probability: Float[np.ndarray, "T H W"], threshold: float, min_length: int
) -> Bool[np.ndarray, "T H W"]:
    """Pixels from a probability on, without parts whose centreline has fewer than ``min_length`` pixels."""
    wire: Bool[np.ndarray, "T H W"] = probability >= threshold
    if min_length > 0:
        for frame in wire:
            parts, count = label(frame, np.ones((3, 3)))
            length = np.bincount(parts[skeletonize(frame)], minlength=count + 1)
            frame &= length[parts] >= min_length
    return wire


def _write_masks(folder: Path, stems: list[str], wire: NDArray[np.bool_]) -> None:
    """One PNG a frame, named as its picture, so that the masks can be laid beside the pictures and imported."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, mask in zip(stems, wire, strict=True):
        save_png(folder / f"{stem}.png", mask.astype(np.uint8) * 255)
