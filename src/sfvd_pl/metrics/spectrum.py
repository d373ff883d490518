"""Power spectra: of a clip's noise, by radial band, and of a frame's structure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfvd_pl.metrics.arrays import Array, Bools, Floats

BANDS = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Edges of the bands of the noise power spectrum, cycles a pixel."""
PATCH_PX = 32
FINE_PATCH_PX = 16
FINE_BANDS = tuple((k - 0.5) / FINE_PATCH_PX for k in range(1, 10))
"""Bands around every frequency that a patch of ``FINE_PATCH_PX`` resolves: their middles are 1/16 .. 8/16."""
OPEN = 0.6
"""A patch darker than this share of the median lies under the collimator's blades."""


@dataclass(frozen=True)
class NoiseSpectrum:
    """Noise of a clip.

    Attributes:
        std: Standard deviation, in the clip's unit.
        power: Mean power density of each band, unit squared times pixel squared; white noise of variance v has v.
    """

    std: float
    power: Floats

    @property
    def shape(self) -> Floats:
        """Power of each band over the mean of all: 1 everywhere for white noise; NaN without any power."""
        mean = float(self.power.mean())
        return self.power / mean if mean > 0 else np.full(len(self.power), np.nan)


def noise_spectrum(
    clip: Floats, exclude: Bools, *, bands: Sequence[float] = BANDS, patch_px: int = PATCH_PX, stride: int | None = None
) -> NoiseSpectrum:
    """Standard deviation and radial power spectrum of the noise of a clip (T, H, W).

    The noise is the difference of consecutive frames over sqrt 2, in patches with a Hann window. Patches under
    the collimator and patches that touch ``exclude`` (T, H, W) don't count, nor does the half where something moves:
    where the share of power below the first band's end is largest at other times than the patch's own. (At its own
    time that share would choose among the noise, too, and bend its spectrum.)

    Args:
        clip: Grey values.
        exclude: Where pixels don't count.
        bands: Edges of the bands, cycles a pixel.
        patch_px: Side of the patches; they resolve frequencies ``1 / patch_px`` apart.
        stride: Pixels from one patch to the next; ``patch_px`` if None, so that they don't overlap.

    Returns:
        NaN for fewer than two frames or where no patch is left.
    """
    nothing = NoiseSpectrum(float("nan"), np.full(len(bands) - 1, np.nan))
    if len(clip) < 2 or min(clip.shape[1:]) < patch_px:
        return nothing
    patches, counts = _patches(clip, exclude, patch_px, stride or patch_px)
    if not counts.any():
        return nothing
    window = np.hanning(patch_px + 2)[1:-1]
    window = window[:, None] * window
    power = np.abs(np.fft.fft2((patches - patches.mean(axis=(2, 3), keepdims=True)) * window)) ** 2
    power /= (window**2).sum()
    f = np.hypot(np.fft.fftfreq(patch_px)[:, None], np.fft.fftfreq(patch_px))
    means = [power[:, :, (f >= a) & (f < b)].mean(axis=-1) for a, b in zip(bands, bands[1:], strict=False)]
    still = _still(means[0] / np.maximum(sum(means), 1e-30), counts)
    std = float(np.sqrt(power[still][:, f > 0].mean()))
    return NoiseSpectrum(std, np.array([band[still].mean() for band in means]))


def _still(share: Floats, counts: Bools) -> Bools:
    """The half of the patches that count (T - 1, K) with the least share of slow power at other times."""
    seen = np.where(counts, share, 0)
    score = np.zeros(share.shape)
    for time in range(len(share)):
        other = np.abs(np.arange(len(share)) - time) >= 2  # they have no frame in common
        score[time] = seen[other].sum(axis=0) / np.maximum(counts[other].sum(axis=0), 1)
    still: Bools = counts & (score <= np.median(score[counts]))
    return still


def _patches(clip: Floats, exclude: Bools, side: int, stride: int) -> tuple[Floats, Bools]:
    """Patches (T - 1, K, P, P) of the frame differences over sqrt 2, and which of them count (T - 1, K)."""

    def cut(frames: Array) -> Array:
        views = np.lib.stride_tricks.sliding_window_view(frames, (side, side), axis=(1, 2))
        return views[:, ::stride, ::stride].reshape(len(frames), -1, side, side)

    level = cut(clip[1:]).mean(axis=(2, 3))
    clear = ~cut(exclude[1:] | exclude[:-1]).any(axis=(2, 3))
    return cut(np.diff(clip, axis=0)) / np.sqrt(2), clear & (level > OPEN * float(np.median(clip)))


def structure_slope(frame: Floats) -> float:
    """Exponent of the power law that the power spectrum of a frame (H, W) follows from 0.03 to 0.15 cycles a pixel.

    About -3 for projected tissue (Burgess, 1999), 0 for noise alone; a least-squares line through log power.
    """
    side = min(frame.shape)
    window = np.hanning(frame.shape[0] + 2)[1:-1, None] * np.hanning(frame.shape[1] + 2)[1:-1]
    power = np.abs(np.fft.rfft2((frame - frame.mean()) * window)) ** 2
    f = np.hypot(np.fft.fftfreq(frame.shape[0])[:, None], np.fft.rfftfreq(frame.shape[1]))
    edges = np.geomspace(max(0.03, 2.5 / side), 0.15, 8)
    means = [power[(f >= a) & (f < b)] for a, b in zip(edges, edges[1:], strict=False)]
    points = [(np.sqrt(a * b), m.mean()) for a, b, m in zip(edges, edges[1:], means, strict=False) if m.size]
    x, y = np.log(np.array([p for p in points if p[1] > 0]).reshape(-1, 2)).T
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else float("nan")
