"""Noise of clips: how much of it there is, and how far it stays the same from frame to frame.

Detector noise is independent from frame to frame. A generator that copies its grain from one frame to the
next, or that draws too little of it, makes clips on which every other measure looks better than it is. So
both are measured, on synthetic clips as on real ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Bools, Floats, finite_mean, require_axes, require_same_shape

SIGMA_PX = 1.5
EXCLUDE_PX = 5
LAGS: tuple[int, ...] = (1, 2, 3)


def residual(clip: Array, *, sigma: int | float = SIGMA_PX) -> Floats:
    """Each frame minus its own spatial Gaussian blur: the grain, without what is larger than a few pixels.

    Args:
        clip: (T, H, W), any real or integer type.
        sigma: Of the blur, in pixels, above 0.

    Returns:
        (T, H, W) float64, in the clip's units.

    Raises:
        MetricsError: If the axes or ``sigma`` are wrong.
    """
    require_axes(clip, "T H W", "clip")
    if sigma <= 0:
        raise MetricsError(
            "the blur has no width", key="sigma", expected="above 0 px", found=sigma, remedy="use 1.5"
        )
    values = np.asarray(clip).astype(np.float64)
    grain: Floats = values - ndimage.gaussian_filter(values, sigma=(0.0, sigma, sigma))
    return grain


def around_wire(wire_mask: Array, *, exclude_px: int = EXCLUDE_PX) -> Bools:
    """The wire dilated by ``exclude_px`` pixels (in rows and columns) in each frame, (T, H, W) bool."""
    require_axes(wire_mask, "T H W", "wire_mask")
    wire: Bools = np.asarray(wire_mask) != 0
    if exclude_px < 1 or not wire.any():
        return wire
    size = 2 * exclude_px + 1
    grown: Bools = ndimage.maximum_filter(wire, size=(1, size, size), mode="constant", cval=0)
    return grown


def residual_std(clip: Array, *, exclude: Array | None = None, sigma: int | float = SIGMA_PX) -> float:
    """Root mean square of the residual, in the clip's units; NaN where every pixel is excluded.

    Args:
        clip: (T, H, W).
        exclude: (T, H, W), non-zero where pixels do not count; see :func:`around_wire`.
        sigma: See :func:`residual`.
    """
    grain, kept = residual(clip, sigma=sigma), _kept(clip, exclude)
    return float(np.sqrt(np.mean(grain[kept] ** 2))) if kept.any() else float("nan")


def residual_autocorrelation(
    clip: Array, lags: Sequence[int] = LAGS, *, exclude: Array | None = None, sigma: int | float = SIGMA_PX
) -> Floats:
    """Pearson correlation of the residual at the same pixel of frames t and t + lag, over all t of a clip.

    About 0 for noise that is new in every frame, 1 for noise that is frozen. Fine structure that does not
    move (a rib's edge) adds to it in real clips as in synthetic ones, so it means something only beside a
    real reference.

    Args:
        clip: (T, H, W).
        lags: Frames, at least 0 each.
        exclude: (T, H, W), non-zero where pixels do not count: a pair of pixels counts where neither is
            excluded.
        sigma: See :func:`residual`.

    Returns:
        (len(lags),) float64 in -1..1; NaN for a lag that the clip is too short for, or without any variation.

    Raises:
        MetricsError: If axes, shapes, a lag or ``sigma`` are wrong.
    """
    grain, kept = residual(clip, sigma=sigma), _kept(clip, exclude)
    return np.array([_lag_correlation(grain, kept, lag) for lag in lags], dtype=np.float64)


def _kept(clip: Array, exclude: Array | None) -> Bools:
    if exclude is None:
        return np.ones(clip.shape, dtype=np.bool_)
    require_same_shape(exclude, clip, "exclude", "clip")
    kept: Bools = np.asarray(exclude) == 0
    return kept


def _lag_correlation(grain: Floats, kept: Bools, lag: int) -> float:
    if lag < 0:
        raise MetricsError(
            "a lag is negative", key="lags", expected="0 or more frames", found=lag, remedy="drop it"
        )
    if lag >= len(grain):
        return float("nan")
    stop = len(grain) - lag
    both = kept[:stop] & kept[lag:]
    earlier, later = grain[:stop][both], grain[lag:][both]
    if earlier.size < 2:
        return float("nan")
    earlier, later = earlier - earlier.mean(), later - later.mean()
    scale = float(np.sqrt((earlier @ earlier) * (later @ later)))
    return float(earlier @ later) / scale if scale > 0 else float("nan")


class _Spread:
    """Mean and squared deviations of everything seen, merged without cancellation (Chan et al., 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values: Floats) -> None:
        if values.size:
            mean = float(values.mean())
            self.merge(values.size, mean, float(((values - mean) ** 2).sum()))

    def merge(self, count: int, mean: float, squares: float) -> None:
        if count == 0:
            return
        gap, total = mean - self.mean, self.count + count
        self.squares += squares + gap**2 * self.count * count / total
        self.mean += gap * count / total
        self.count = total

    def std(self) -> float:
        return float(np.sqrt(self.squares / self.count)) if self.count else float("nan")


def pixel_std(clips: Iterable[Array], *, intensity_max: int | float = 1) -> float:
    """Standard deviation of all pixels of all clips together, as a share of ``intensity_max``.

    Args:
        clips: Arrays of any shape, consumed one at a time.
        intensity_max: The intensity that counts as 1.

    Returns:
        NaN without any pixel.
    """
    spread = _Spread()
    for clip in clips:
        spread.add(np.asarray(clip).astype(np.float64) / intensity_max)
    return spread.std()


@dataclass(frozen=True)
class NoiseStatistics:
    """Noise of a set of clips.

    Attributes:
        n_clips: Number of clips.
        pixel_std: Of all pixels together, as a share of full scale: structure and noise.
        residual_std: Root mean square of the residual away from the wire, as a share of full scale.
        lags: Frames.
        residual_autocorrelation: Mean over clips of :func:`residual_autocorrelation`, one a lag.
    """

    n_clips: int
    pixel_std: float
    residual_std: float
    lags: tuple[int, ...]
    residual_autocorrelation: tuple[float, ...]


class NoiseAccumulator:
    """Noise statistics, one clip at a time; keeps a few numbers a clip, never its pictures.

    Args:
        intensity_max: The intensity that counts as 1.
        lags: Frames.
        sigma: See :func:`residual`.
        exclude_px: Pixels around the wire that do not count; the blur reaches that far.

    Raises:
        MetricsError: If the intensity is not above 0.
    """

    def __init__(
        self,
        *,
        intensity_max: int | float = 255,
        lags: Sequence[int] = LAGS,
        sigma: int | float = SIGMA_PX,
        exclude_px: int = EXCLUDE_PX,
    ) -> None:
        if intensity_max <= 0:
            raise MetricsError(
                "the full scale is empty",
                key="intensity_max",
                expected="above 0",
                found=intensity_max,
                remedy="pass the artifact's intensity_max",
            )
        self.intensity_max = intensity_max
        self.lags = tuple(lags)
        self.sigma = sigma
        self.exclude_px = exclude_px
        self._pixels = _Spread()
        self._residual_squares, self._residual_count = 0.0, 0
        self._correlations: list[Floats] = []

    def update(self, clip: Array, wire_mask: Array | None = None) -> None:
        """Add one clip.

        Args:
            clip: (T, H, W), the valid extent only: padding has no noise.
            wire_mask: (T, H, W), non-zero on the wire; None where unknown, then nothing is excluded.

        Raises:
            MetricsError: If axes or shapes are wrong.
        """
        require_axes(clip, "T H W", "clip")
        values = np.asarray(clip).astype(np.float64) / self.intensity_max
        exclude = None if wire_mask is None else around_wire(wire_mask, exclude_px=self.exclude_px)
        grain, kept = residual(values, sigma=self.sigma), _kept(values, exclude)
        self._pixels.add(values)
        self._residual_squares += float((grain[kept] ** 2).sum())
        self._residual_count += int(kept.sum())
        self._correlations.append(np.array([_lag_correlation(grain, kept, lag) for lag in self.lags]))

    def merge(self, other: "NoiseAccumulator") -> None:
        """Add the clips that another accumulator with the same settings has seen.

        Raises:
            MetricsError: Its settings are others.
        """
        settings = ("intensity_max", "lags", "sigma", "exclude_px")
        ours, theirs = ({key: getattr(a, key) for key in settings} for a in (self, other))
        if ours != theirs:
            raise MetricsError(
                "two sets of noise statistics were measured in different ways",
                key="other",
                expected=ours,
                found=theirs,
                remedy="measure both with the same settings",
            )
        self._pixels.merge(other._pixels.count, other._pixels.mean, other._pixels.squares)
        self._residual_squares += other._residual_squares
        self._residual_count += other._residual_count
        self._correlations += other._correlations

    def result(self) -> NoiseStatistics:
        """The statistics so far; NaN where nothing could be measured."""
        mean_square = self._residual_squares / self._residual_count if self._residual_count else float("nan")
        table = np.array(self._correlations).reshape(len(self._correlations), len(self.lags))
        return NoiseStatistics(
            n_clips=len(self._correlations),
            pixel_std=self._pixels.std(),
            residual_std=float(np.sqrt(mean_square)),
            lags=self.lags,
            residual_autocorrelation=tuple(finite_mean(column) for column in table.T),
        )


def noise_section(synthetic: NoiseStatistics, real: NoiseStatistics) -> dict[str, object]:
    """The section ``noise`` of a metrics file, synthetic clips beside real ones.

    ``difference`` is synthetic minus real autocorrelation at the first lag; a ratio is synthetic over real.

    Raises:
        MetricsError: If the two were measured at different lags.
    """
    if synthetic.lags != real.lags:
        raise MetricsError(
            "the two sets were measured at different lags",
            key="lags",
            expected=synthetic.lags,
            found=real.lags,
            remedy="measure both at the same lags",
        )
    return {
        "pixel_std": _compare(synthetic.pixel_std, real.pixel_std),
        "residual_std": _compare(synthetic.residual_std, real.residual_std),
        "residual_autocorrelation": {
            "lags": list(synthetic.lags),
            "synthetic": list(synthetic.residual_autocorrelation),
            "real": list(real.residual_autocorrelation),
            "difference": synthetic.residual_autocorrelation[0] - real.residual_autocorrelation[0]
            if synthetic.lags
            else float("nan"),
        },
    }


def _compare(synthetic: float, real: float) -> dict[str, float]:
    return {"synthetic": synthetic, "real": real, "ratio": synthetic / real if real > 0 else float("nan")}
