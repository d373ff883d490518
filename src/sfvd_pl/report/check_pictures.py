"""Pictures of findings: the frames concerned, and what is wrong with them."""

from collections.abc import Sequence

import numpy as np

from sfvd_pl.artifacts import Artifact
from sfvd_pl.metrics.arrays import Array
from sfvd_pl.metrics.quality.check import Check
from sfvd_pl.metrics.quality.facts import ClipFacts
from sfvd_pl.metrics.quality.findings import Finding, frames_text
from sfvd_pl.report.embed import data_uri
from sfvd_pl.report.overlay import fitting_scale, grid_picture, overlay, png_bytes
from sfvd_pl.report.views import Picture

TARGET_PX = 224
"""About the size of a frame on the page."""
SHOWN = 3
"""Frames of a finding that are shown."""
SHEET = 24
"""Clips on the contact sheet."""
QUANTILES = (0.002, 0.998)
"""Pixels of these ranks are shown black and white, so that a dark run can be seen."""
_EXPOSURE = {"clipped", "constant-border", "few-levels", "exposure-outlier", "noise-outlier", "small-frame"}


class Pictures:
    """Draws what findings are about.

    Args:
        artifact: The source that was checked.
        check: What was found.
    """

    def __init__(self, artifact: Artifact, check: Check) -> None:
        self._artifact = artifact
        self._check = check
        self._rows = {clip.name: row for row, clip in enumerate(check.clips)}

    def of(self, finding: Finding) -> list[Picture]:
        """Pictures of one finding; none where there is nothing to see."""
        if not finding.clip or finding.code in (
            "few-labels",
            "no-labels",
            "mixed-spacing",
            "mixed-rate",
            "short-clip",
        ):
            return []
        if finding.other:
            return self._pair(finding)
        clip = self._check.clips[self._rows[finding.clip]]
        if finding.code.startswith("frozen"):
            return self._frozen(finding)
        if finding.code in _EXPOSURE:
            return [self._frames(clip, [clip.frames // 2], "", labels=False, full_scale=True)]
        chosen = _spread(finding.frames or range(clip.frames), SHOWN)
        if finding.code == "mask-beside" and clip.placement is not None:
            return [self._moved(clip, chosen)]
        if finding.code == "mask-late" and clip.placement is not None:
            return [self._late(clip, chosen)]
        return [self._frames(clip, chosen, "the label in yellow; ")]

    def sheet(self) -> list[Picture]:
        """A frame of one clip of each patient, with its label."""
        first = {clip.patient: clip for clip in reversed(self._check.clips)}
        patients = [row.name for row in self._check.patients()][:SHEET]
        return [self._typical(first[patient]) for patient in patients]

    def _typical(self, clip: ClipFacts) -> Picture:
        wired = [t for t, mask in zip(clip.annotated, clip.masks, strict=True) if mask.pixels]
        t = wired[len(wired) // 2] if wired else clip.frames // 2
        image, mask = self._read(clip, [t])
        picture = grid_picture(image, mask, scale=_scale(image), window=_window(image))
        alt = f"frame {t} of {clip.name}, plain above, and below with the label outlined in yellow"
        return Picture(data_uri(png_bytes(picture), "png"), alt, f"{clip.name}, frame {t} ({clip.split})")

    def _read(self, clip: ClipFacts, frames: Sequence[int]) -> tuple[Array, Array]:
        """Frames and masks (n, H, W), without padding."""
        row = self._rows[clip.name]
        return tuple(  # type: ignore[return-value]
            np.concatenate([self._artifact.clip_rows(key, row, t, 1) for t in frames])[
                :, : clip.height, : clip.width
            ]
            for key in ("frames/image", "frames/wire_mask")
        )

    def _frames(
        self,
        clip: ClipFacts,
        frames: Sequence[int],
        what: str,
        *,
        labels: bool = True,
        full_scale: bool = False,
    ) -> Picture:
        image, mask = self._read(clip, frames)
        window = (0, self._artifact.intensity_max) if full_scale else _window(image)
        picture = grid_picture(image, mask if labels else None, scale=_scale(image), window=window)
        text = f"{clip.name}: {what}{frames_text(frames)}"
        return Picture(data_uri(png_bytes(picture), "png"), text, text)

    def _moved(self, clip: ClipFacts, frames: Sequence[int]) -> Picture:
        assert clip.placement is not None
        image, mask = self._read(clip, frames)
        moved = np.roll(mask, clip.placement.offset_px, axis=(1, 2))
        picture = grid_picture(image, mask, predicted=moved, scale=_scale(image), window=_window(image))
        text = f"{clip.name}: the label in yellow, where it fits best in magenta; {frames_text(frames)}"
        return Picture(data_uri(png_bytes(picture), "png"), text, text)

    def _late(self, clip: ClipFacts, frames: Sequence[int]) -> Picture:
        """Pictures at t + lag, with the masks of t and of t + lag."""
        assert clip.placement is not None
        lag = clip.placement.lag
        known = [t for t in frames if 0 <= t + lag < clip.frames] or [max(0, -lag)]
        image, own = self._read(clip, [t + lag for t in known])
        other = self._read(clip, known)[1]
        picture = grid_picture(image, own, predicted=other, scale=_scale(image), window=_window(image))
        text = (
            f"{clip.name}: {frames_text([t + lag for t in known])} with its own label in yellow, and in magenta "
            f"that of {frames_text(known)}, which fits better"
        )
        return Picture(data_uri(png_bytes(picture), "png"), text, text)

    def _pair(self, finding: Finding) -> list[Picture]:
        """Frames of one clip above those of the other that they are copies of."""
        chosen = _spread(range(len(finding.frames)), SHOWN)
        pictures = []
        for name, frames in ((finding.clip, finding.frames), (finding.other, finding.other_frames)):
            clip = self._check.clips[self._rows[name]]
            shown = [frames[k] for k in chosen]
            image, mask = self._read(clip, shown)
            size = _scale(image)
            row = overlay(image, mask, scale=size, window=_window(image))
            picture = np.concatenate(
                list(np.pad(row, ((0, 0), (0, 0), (0, 4), (0, 0)), constant_values=255)), axis=1
            )
            text = f"{clip.name} ({clip.split}), {frames_text(shown)}"
            pictures.append(Picture(data_uri(png_bytes(picture[:, :-4]), "png"), text, text))
        return pictures

    def _frozen(self, finding: Finding) -> list[Picture]:
        clip = self._check.clips[self._rows[finding.clip]]
        t = finding.frames[0]
        image, _ = self._read(clip, [t - 1, t])
        apart = np.abs(image[1].astype(np.int64) - image[0].astype(np.int64)).astype(np.uint16)
        shown = overlay(np.concatenate([image.astype(np.uint16)]), scale=_scale(image), window=_window(image))
        usual = max(4 * clip.exposure.noise * self._artifact.intensity_max, 1.0)
        change = overlay(apart[None], scale=_scale(image), window=(0, usual))
        gap = np.full((shown.shape[1], 4, 3), 255, np.uint8)
        picture = np.concatenate([shown[0], gap, shown[1], gap, change[0]], axis=1)
        text = f"{clip.name}: frames {t - 1} and {t}, and their difference (black: none)"
        return [Picture(data_uri(png_bytes(picture), "png"), text, text)]


def _spread(frames: Sequence[int] | range, count: int) -> list[int]:
    """At most ``count`` of the frames, evenly spread, neither first nor last where there are enough."""
    items = list(frames)
    if len(items) <= count:
        return items
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]


def _scale(image: Array) -> int:
    return fitting_scale(image.shape[1], image.shape[2], TARGET_PX)


def _window(image: Array) -> tuple[float, float]:
    """Intensities shown black and white: nearly the whole range of these frames."""
    low, high = np.quantile(image, QUANTILES)
    return float(low), float(max(high, low + 1))
