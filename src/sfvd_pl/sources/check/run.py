"""Quality control of a source: every clip measured once, in blocks, then held against limits and one another."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import SourceError
from sfvd_pl.metrics.quality.check import Check, CheckConfig
from sfvd_pl.metrics.quality.exposure import ExposureMeter
from sfvd_pl.metrics.quality.facts import ClipFacts
from sfvd_pl.metrics.quality.findings import accept
from sfvd_pl.metrics.quality.masks import mask_shape
from sfvd_pl.metrics.quality.placement import PlacementMeter
from sfvd_pl.sources.check.copies import CopyFinder
from sfvd_pl.sources.check.rules import apply_rules, notes_on

BLOCK_PIXELS = 8 << 20
"""Pixels in memory at a time: 64 frames of 360 x 360, a few of 1024 x 1024."""
LEAST_FRAMES = 8
"""A block holds at least this many frames, so that a mask can be tried on its neighbours."""

Pixels = npt.NDArray[np.generic]


def check_source(path: str | Path, config: CheckConfig | None = None, *, progress: bool = False) -> Check:
    """Check a source artifact.

    Memory: one block of frames, and about 50 kB a clip of 16 frames for the search for copies.

    Args:
        path: The artifact.
        config: Limits, and what is accepted.
        progress: Show bars.

    Raises:
        ArtifactError: It can't be read or is no source.
        ConfigError: ``accept`` names a code that doesn't exist.
    """
    config = config or CheckConfig()
    accept([], config.accept)  # refuse a wrong code before the work, not after it
    artifact = Artifact.open(path, Kind.SOURCE)
    finder = CopyFinder(artifact)
    clips = []
    for clip in tqdm(range(artifact.n_clips), "clips", disable=not progress, unit="clip"):
        clips.append(measure_clip(artifact, clip))
        finder.add(_images(artifact, clip), clips[-1].frames)
    copies = finder.find(progress=progress)
    found = apply_rules(
        clips, copies, config.limits, window=config.window, frames=config.frames, accepted=config.accept
    )
    return Check(
        path=Path(path),
        content_hash=artifact.content_hash,
        config=config,
        clips=tuple(clips),
        copies=tuple(copies),
        findings=tuple(accept(found, config.accept)),
        notes=tuple(notes_on(clips)),
    )


def measure_clip(artifact: Artifact, clip: int) -> ClipFacts:
    """Everything about one clip that needs no other clip."""
    column = artifact.column
    annotated = np.flatnonzero(artifact.clip_rows("frames/annotated", clip))
    visibility = artifact.clip_rows("frames/visibility", clip)
    known = visibility[np.isfinite(visibility)]
    exposure, placement, masks = ExposureMeter(artifact.intensity_max), PlacementMeter(), []
    for start, image in _blocks(artifact, "frames/image", clip):
        exposure.update(image)
        inside = annotated[(annotated >= start) & (annotated < start + len(image))]
        if inside.size:
            wire_mask = _rows(artifact, "frames/wire_mask", clip, start, len(image))
            placement.update(image, wire_mask)
            masks += [mask_shape(wire_mask[t - start]) for t in inside]
    return ClipFacts(
        name=str(column("clips/name")[clip]),
        patient=str(column("clips/patient")[clip]),
        split=str(column("clips/split")[clip]),
        labelled=bool(column("clips/labelled")[clip]),
        frames=int(column("clips/length")[clip]),
        height=int(column("clips/height")[clip]),
        width=int(column("clips/width")[clip]),
        fps=float(column("clips/fps")[clip]),
        spacing_mm=float(column("clips/spacing_mm")[clip]),
        annotated=tuple(annotated.tolist()),
        masks=tuple(masks),
        visibility=float(np.median(known)) if known.size else float("nan"),
        placement=placement.result(),
        exposure=exposure.result(),
    )


def _rows(artifact: Artifact, key: str, clip: int, start: int, length: int) -> Pixels:
    """Consecutive frames of a clip without padding."""
    height, width = int(artifact.column("clips/height")[clip]), int(artifact.column("clips/width")[clip])
    rows: Pixels = artifact.clip_rows(key, clip, start, length)[:, :height, :width]
    return rows


def _blocks(artifact: Artifact, key: str, clip: int) -> Iterator[tuple[int, Pixels]]:
    """A clip's frames in blocks of bounded size: index of the first, and the frames."""
    height, width = artifact.frame_shape
    length = int(artifact.column("clips/length")[clip])
    step = max(LEAST_FRAMES, BLOCK_PIXELS // (height * width))
    for start in range(0, length, step):
        yield start, _rows(artifact, key, clip, start, min(step, length - start))


def _images(artifact: Artifact, clip: int) -> Iterator[Pixels]:
    return (block for _, block in _blocks(artifact, "frames/image", clip))


def refuse(check: Check, page: Path, how: str) -> None:
    """Raise where there are errors that nobody accepted.

    Raises:
        SourceError: With the findings, the page, and how to accept them.
    """
    errors = check.of("error")
    if not errors:
        return
    codes = list(dict.fromkeys(finding.code for finding in errors))
    shown = [f"{finding.code} in {finding.clip}" for finding in errors[:5]]
    more = f" and {len(errors) - len(shown)} more" if len(errors) > len(shown) else ""
    raise SourceError(
        "these data would make results false",
        file=check.path,
        key=", ".join(codes),
        expected="no errors",
        found="; ".join(shown) + more,
        remedy=f"look at {page}; mend the data, or accept the findings knowingly: {how}",
    )
