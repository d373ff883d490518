"""Exposure and noise of a clip: level, clipping, constant borders, grey levels, frames that repeat."""

from dataclasses import dataclass, field

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import Array, Floats, require_axes

KEPT = 0.8
"""Share of the smallest differences between two frames that count as noise; the rest may be motion."""
TRIMMED_MEAN = 0.5586
"""Mean of the smallest 80 % of |x| for standard normal x: 2 (phi(0) - phi(1.2816)) / 0.8."""
STILL_SHARE = 0.2
"""Frames whose difference is below this share of the clip's usual one repeat the frame before."""


@dataclass(frozen=True)
class Exposure:
    """What a clip's intensities look like.

    Attributes:
        mean: Mean, as a share of full scale.
        std: Standard deviation of all pixels, as a share of full scale.
        low, high: Share of pixels at 0 and at full scale, constant borders left out.
        levels: Number of different values in the clip.
        noise: Standard deviation of what is new in each frame, as a share of full scale; NaN for a single frame.
        border_px: Constant rows or columns at top, bottom, left and right, the same value in all frames.
        border_share: Share of the frame that they cover.
        repeated: Frames identical to the one before, or without a new noise.
        identical: Frames identical to the one before.
    """

    mean: float
    std: float
    low: float
    high: float
    levels: int
    noise: float
    border_px: tuple[int, int, int, int]
    border_share: float
    repeated: tuple[int, ...]
    identical: tuple[int, ...]


@dataclass
class ExposureMeter:
    """Gathers exposure over the blocks of a clip, without keeping a block.

    Args:
        intensity_max: Full scale.
    """

    intensity_max: int
    _last: Array | None = None
    _noise: list[float] = field(default_factory=list)
    _still: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start empty."""
        self._histogram = np.zeros(self.intensity_max + 1, np.int64)
        self._least: Array | None = None
        self._most: Array | None = None
        self._frames = 0

    def update(self, clip: Array) -> None:
        """Add consecutive frames, (T, H, W) unsigned integers up to ``intensity_max``."""
        require_axes(clip, "T H W", "clip")
        if clip.dtype.kind != "u":
            raise MetricsError(
                "pixels must be counts", key="clip", expected="unsigned integers", found=clip.dtype
            )
        self._histogram += np.bincount(clip.ravel(), minlength=len(self._histogram))
        least, most = clip.min(axis=0), clip.max(axis=0)
        self._least = least if self._least is None else np.minimum(self._least, least)
        self._most = most if self._most is None else np.maximum(self._most, most)
        for frame in clip:
            if self._last is not None:
                self._compare(self._last, frame)
            self._last = frame
        self._last = None if self._last is None else self._last.copy()
        self._frames += len(clip)

    def _compare(self, before: Array, after: Array) -> None:
        self._still.append(bool(np.array_equal(before, after)))
        # Every other pixel in both directions: a quarter of the work, and all the precision that is needed.
        apart = np.abs(after[::2, ::2].astype(np.int32) - before[::2, ::2].astype(np.int32)).ravel()
        kept = max(1, round(KEPT * apart.size))
        smallest = np.partition(apart, kept - 1)[:kept]
        self._noise.append(float(smallest.mean()) / (TRIMMED_MEAN * np.sqrt(2) * self.intensity_max))

    def result(self) -> Exposure:
        """The exposure so far.

        Raises:
            MetricsError: No frame was added.
        """
        if self._least is None or self._most is None:
            raise MetricsError(
                "there is no frame to measure", key="clip", expected="at least one frame", found=0
            )
        top = self.intensity_max
        border = constant_border(self._least, self._most)
        height, width = self._least.shape
        inner = self._inside(border)
        share = 1 - inner.size / (height * width)
        values = np.arange(top + 1, dtype=np.float64) / top
        count = float(self._histogram.sum())
        mean = float(values @ self._histogram) / count
        spread = float((values - mean) ** 2 @ self._histogram) / count
        # What lies in the border has one value, which the histogram can be rid of.
        histogram = self._histogram - self._frames * self._border_values(border)
        within = max(float(histogram.sum()), 1.0)
        noise = np.array(self._noise)
        usual = float(np.median(noise)) if noise.size else float("nan")
        identical = tuple(int(t) for t in np.flatnonzero(self._still) + 1)
        still = np.array(self._still, np.bool_) | (noise < STILL_SHARE * usual)
        return Exposure(
            mean=mean,
            std=float(np.sqrt(max(spread, 0.0))),
            low=float(histogram[0]) / within,
            high=float(histogram[-1]) / within,
            levels=int((self._histogram > 0).sum()),
            noise=usual,
            border_px=border,
            border_share=share,
            repeated=tuple(int(t) for t in np.flatnonzero(still) + 1),
            identical=identical,
        )

    def _inside(self, border: tuple[int, int, int, int]) -> Array:
        top, bottom, left, right = border
        assert self._least is not None
        height, width = self._least.shape
        return self._least[top : height - bottom, left : width - right]

    def _border_values(self, border: tuple[int, int, int, int]) -> Array:
        """Histogram of one frame's border."""
        assert self._least is not None
        whole = np.bincount(self._least.ravel(), minlength=len(self._histogram))
        inner = np.bincount(self._inside(border).ravel(), minlength=len(self._histogram))
        return whole - inner


def constant_border(least: Array, most: Array) -> tuple[int, int, int, int]:
    """Rows at top and bottom, columns at left and right, that hold one value over all pixels and frames.

    Args:
        least, most: (H, W) smallest and largest value of each pixel over the frames.

    Returns:
        Pixels at top, bottom, left and right; all of the height at the top for a clip of one value.
    """
    height, width = least.shape
    rows = least.min(axis=1) == most.max(axis=1)
    top = _run(rows)
    if top == height:
        return height, 0, 0, 0
    bottom = _run(rows[::-1])
    inner_least, inner_most = least[top : height - bottom], most[top : height - bottom]
    columns = inner_least.min(axis=0) == inner_most.max(axis=0)
    left, right = _run(columns), _run(columns[::-1])
    return top, bottom, left, min(right, width - left)


def _run(flags: Array) -> int:
    """How many of the first flags are True without a break."""
    return int(np.argmin(flags)) if not flags.all() else len(flags)


def robust_z(values: Array) -> Floats:
    """(x - median) / (1.4826 MAD), NaN where there are no values or no spread.

    Args:
        values: (M,), NaN where unknown.
    """
    numbers = np.asarray(values, np.float64)
    known = numbers[np.isfinite(numbers)]
    if known.size == 0:
        return np.full(numbers.shape, np.nan)
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    return (numbers - middle) / spread if spread > 0 else np.full(numbers.shape, np.nan)
