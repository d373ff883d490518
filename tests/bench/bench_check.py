"""The quality control on this machine: its speed, false alarms, copies and displaced masks that it finds.

``python -m tests.bench.bench_check`` works on simulated clips; with
SFVD_SHARED_DATA, a folder with ``wires/`` in it, on these, too.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

from faults import EDITS, clean_clips, noisy, with_image, with_masks, write_clips, zoomed
from sfvd_pl.artifacts import Artifact
from sfvd_pl.sources import Clip
from sfvd_pl.sources.check.copies import CopyFinder
from sfvd_pl.sources.check.run import check_source
from sfvd_pl.sources.walk import scan_source

OFFSETS = ((0, 3), (3, 3), (-5, 2), (6, -6), (0, 8))
HARDER = EDITS | {
    "noise of 6 %": lambda image: noisy(image, 0.06),
    "enlarged by 7 %": lambda image: zoomed(image, 1.07),
    "enlarged by 10 %": lambda image: zoomed(image, 1.1),
}


def report(name: str, clips: Sequence[Clip], folder: Path, copied: int) -> None:
    """Print what is found in clips as they are, and in clips with faults."""
    path = write_clips(folder / f"{name}.h5", clips)
    start, cpu = time.perf_counter(), time.process_time()
    check = check_source(path)
    wall, spent = time.perf_counter() - start, time.process_time() - cpu
    frames = sum(len(clip) for clip in clips)
    print(
        f"{name}: {len(clips)} clips, {frames} frames in {wall:.1f} s ({spent:.1f} CPU s): {check.counts()}"
    )
    for finding in check.findings:
        print(f"  {finding.line()}")
    displaced(name, clips, folder)
    chosen = [clips[k] for k in np.linspace(0, len(clips) - 1, copied).round().astype(int)]
    for edit, change in HARDER.items():
        copies = [with_image(clip, change(clip.image.astype(float))) for clip in chosen]
        found, grain, false = copies_found(
            write_clips(folder / "copies.h5", [*clips, *renamed(copies)]), chosen
        )
        print(
            f"  copies, {edit}: {found} of {copied} found, smallest grain {grain:.2f}; false {false}",
            flush=True,
        )


def renamed(clips: Sequence[Clip]) -> list[Clip]:
    """The same clips, as another hospital would name them."""
    run = [clip.name.replace("/", "-") for clip in clips]
    return [replace(clip, patient=f"copy-{k}", name=f"copy-{k}/{run[k]}") for k, clip in enumerate(clips)]


def copies_found(path: Path, originals: Sequence[Clip]) -> tuple[int, float, int]:
    """Originals whose copy was found, the smallest grain among them, and pairs that are none."""
    artifact = Artifact.open(path)
    finder = CopyFinder(artifact)
    for clip, length in enumerate(artifact.column("clips/length")):
        height, width = artifact.column("clips/height")[clip], artifact.column("clips/width")[clip]
        finder.add([artifact.clip_rows("frames/image", clip)[:, :height, :width]], int(length))
    names = [str(name) for name in artifact.column("clips/name")]
    grain, found, false = [], set(), 0
    for pair in finder.find():
        one, two = names[pair.first], names[pair.second]
        if two == f"{two.split('/')[0]}/{one.replace('/', '-')}":
            found.add(one)
            grain.append(pair.grain)
        else:
            false += 1
    assert found <= {clip.name for clip in originals}
    return len(found), float(np.nanmin(grain)) if np.isfinite(grain).any() else float("nan"), false


def displaced(name: str, clips: Sequence[Clip], folder: Path) -> None:
    """Print how many clips with all masks moved are found, with the right offset."""
    for offset in OFFSETS:
        moved = [with_masks(clip, np.roll(clip.wire_mask, offset, axis=(1, 2))) for clip in clips]
        check = check_source(write_clips(folder / "moved.h5", moved))
        right = errors = 0
        for finding in check.findings:
            if finding.code == "mask-beside":
                place = next(c.placement for c in check.clips if c.name == finding.clip)
                near = place is not None and all(
                    abs(a + b) <= 1 for a, b in zip(place.offset_px, offset, strict=True)
                )
                right += near
                errors += finding.severity == "error"
        print(
            f"  masks moved by {offset}: {right} of {len(clips)} found with the right offset, {errors} errors",
            flush=True,
        )


def main() -> None:
    """Print a report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report("simulated", clean_clips(patients=12, runs=4, frames=16, side=96), folder, copied=24)
        shared = os.environ.get("SFVD_SHARED_DATA")
        if shared and (Path(shared) / "wires").is_dir():
            report("wires", list(scan_source(Path(shared) / "wires")), folder, copied=12)


if __name__ == "__main__":
    main()
