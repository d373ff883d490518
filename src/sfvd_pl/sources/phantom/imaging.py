"""From attenuation to detector values: beam, scatter, collimator, exposure control, blur, noise, lag, digits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, zoom

from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.exact import Array, Image, attenuate, normal, on_grid
from sfvd_pl.sources.phantom.geometry import View

READOUT = 0.003
"""Electronic noise, unit of intensity_max."""
STEADY = 0.03
"""Share of the temporal noise variance that may be missing from a run's first frame."""


@dataclass(frozen=True)
class Detector:
    """How one run is exposed.

    Args:
        gain: Detector value of an unattenuated ray, in units of 1 = intensity_max.
        field: (H, W) 0..1 open part of the collimator.
        scatter: (H, W) scattered radiation relative to an unattenuated ray.
        veil: (H, W) what the blades show, unit of intensity_max.
        pattern: (H, W) fixed pattern, a factor around 1.
        noise_std: Quantum noise at ``level``, unit of intensity_max.
        level: Signal at which ``noise_std`` holds.
        blur_px: Point spread, standard deviation, px.
        grain_px: Further blur of the noise alone, standard deviation, px.
        lag: Share of the signal before in the detector's signal.
        recursion: Share of the displayed frame before in the displayed frame.
        intensity_max: Largest value.
    """

    gain: float
    field: Image
    scatter: Image
    veil: Image
    pattern: Image
    noise_std: float
    level: float
    blur_px: float
    grain_px: float
    lag: float
    recursion: float
    intensity_max: int

    def expose(
        self, path: Image, rng: np.random.Generator, memory: "Memory"
    ) -> npt.NDArray[np.uint8 | np.uint16]:
        """One frame (H, W) from attenuation along each ray (Beer-Lambert), with noise of its own.

        Quantum noise has a variance proportional to the signal (Poisson, by its Gaussian limit) and is
        spread by the scintillator together with it. The small electronic noise is drawn together with it. The
        console's noise reduction spreads noise alone: it tells noise from edges.
        Lag and the console's temporal filter are recursive: a share of the frame before stays. Before the
        first frame the same picture stood for long.
        """
        signal = attenuate(path)
        signal *= self.field
        signal += self.scatter
        signal *= np.float32(self.gain)
        grain = signal * np.float32(self.noise_std**2 / self.level)
        grain += np.float32(READOUT**2)
        np.sqrt(grain, out=grain)
        if memory.empty:
            memory.start(spread(signal, self.blur_px))
            for _ in range(memory_frames(max(self.lag, self.recursion))):
                noise = spread(grain * normal(rng, signal.shape), self.grain_px)
                memory.pass_on(spread(signal + noise, self.blur_px), self)
        grain *= normal(rng, signal.shape)
        signal += spread(grain, self.grain_px)
        shown = memory.pass_on(spread(signal, self.blur_px), self) * self.pattern
        shown += self.veil
        shown *= np.float32(self.intensity_max)
        np.rint(shown, out=shown)
        np.clip(shown, 0, self.intensity_max, out=shown)
        return shown.astype(np.uint8 if self.intensity_max <= 255 else np.uint16)


class Memory:
    """What detector and console keep of the frames before."""

    def __init__(self) -> None:
        self._read: Image | None = None
        self._shown: Image | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing has been exposed yet."""
        return self._read is None

    def start(self, signal: Image) -> None:
        """Begin with a signal (H, W) that has stood for long."""
        self._read = self._shown = signal

    def pass_on(self, signal: Image, detector: Detector) -> Image:
        """The displayed frame (H, W) after a new signal (H, W), which may be overwritten."""
        assert self._read is not None and self._shown is not None
        self._read = _mixed(signal, self._read, detector.lag)
        self._shown = _mixed(self._read, self._shown, detector.recursion)
        return self._shown


def _mixed(new: Image, old: Image, share: float) -> Image:
    return new if share == 0 else np.asarray(new + np.float32(share) * (old - new))


def memory_frames(share: float) -> int:
    """Frames after which a recursive filter has reached its temporal noise but for ``STEADY`` of the variance."""
    return 0 if share == 0 else int(np.ceil(np.log(STEADY) / (2 * np.log(share))))


def make_detector(rng: np.random.Generator, path: Image, view: View, config: PhantomConfig) -> Detector:
    """Collimate, and set the exposure from a run's first attenuation ``path`` (H, W)."""
    scatter_ratio, level = rng.uniform(*config.scatter_ratio), rng.uniform(*config.mean_level)
    noise_std, structure_std = rng.uniform(*config.noise_std) / 255, rng.uniform(*config.structure_std) / 255
    lag, recursion = rng.uniform(*config.lag), rng.uniform(*config.recursion)
    blades = rng.uniform(*config.blade_level) * level
    field = collimator(rng, view)
    primary = attenuate(path) * field
    step = max(1, min(view.height, view.width) // 48)
    coarse = primary[::step, ::step]
    wide = gaussian_filter(coarse.astype(np.float64), 0.22 * min(coarse.shape), mode="constant")
    wide = zoom(wide, np.divide(primary.shape, coarse.shape), order=1, mode="nearest", grid_mode=True)
    local = (0.5 * wide + 0.5 * primary.mean(dtype=np.float64)) * scatter_ratio
    total = primary + local
    gain = level * float(field.sum(dtype=np.float64)) / float((total * field).sum())
    top = float(np.quantile(total[field > 0.5], 0.99)) * gain
    gain *= min(1.0, 0.93 / top)
    veil = np.maximum(blades - gain * local, 0) * np.clip((1 - field) / (1 - LEAK), 0, 1)
    pattern = 1 + np.float32(structure_std / level) * normal(rng, field.shape)
    return Detector(
        gain, field, local.astype(np.float32), veil.astype(np.float32), pattern, noise_std, level,
        config.blur_px, config.grain_px, lag, recursion, config.intensity_max,
    )  # fmt: skip


LEAK = 0.03
"""Share of the beam that passes the collimator's blades."""


def collimator(rng: np.random.Generator, view: View) -> Image:
    """Open part (H, W) of a rectangular collimator with rounded corners and a soft edge; leaks 3 %."""
    size = min(view.height, view.width)
    inset = np.where(rng.uniform(size=4) < 0.4, rng.uniform(0.0, 0.10, 4), -0.05) * size
    soft = 0.006 * size + 0.4
    x, y = np.arange(view.width), np.arange(view.height)
    horizontal = np.minimum(x - inset[0], view.width - 1 - inset[1] - x)
    vertical = np.minimum(y - inset[2], view.height - 1 - inset[3] - y)
    corner = 0.04 * size
    a = np.maximum(corner - horizontal, 0)[None, :]
    b = np.maximum(corner - vertical, 0)[:, None]
    edge = np.minimum(horizontal[None, :], vertical[:, None])
    depth = np.where((a > 0) & (b > 0), corner - np.hypot(a, b), edge)
    return np.asarray(LEAK + (1 - LEAK) / (1 + np.exp(-depth / soft)), np.float32)


def spread(image: Image, std_px: float) -> Image:
    """Separable three-tap blur [a, 1 - 2a, a] with variance 2a = std^2, edges repeated; several where it is wide."""
    if std_px == 0:
        return image
    passes = max(1, int(np.ceil(std_px * std_px / 0.5)))
    a = np.float32(std_px * std_px / passes / 2)
    for _ in range(passes):
        padded = np.concatenate([image[:1], image, image[-1:]])
        image = _weighted(padded[:-2], padded[1:-1], padded[2:], a)
        padded = np.concatenate([image[:, :1], image, image[:, -1:]], axis=1)
        image = _weighted(padded[:, :-2], padded[:, 1:-1], padded[:, 2:], a)
    return image


def _weighted(before: Image, middle: Image, after: Image, a: np.float32) -> Image:
    out = before + after
    out *= a
    out += middle * (1 - 2 * a)
    return np.asarray(out)


def fine_structure(seed: int, shape: tuple[int, int], size_px: float, slope: float) -> Image:
    """A smooth random field (H, W) of unit variance whose spectrum falls as f^-slope beyond 1/size_px.

    Overlapping small vessels, airways and muscle have such a power law (Burgess 1999 for projected breast
    tissue).
    """
    rng = np.random.default_rng(seed)
    rows, columns = (fft.next_fast_len(side, real=True) for side in shape)
    fy, fx = fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None, :]
    squared = fy * fy + fx * fx
    power = (1.0 + squared * size_px**2) ** (-slope / 2) * np.exp(-8.0 * squared)
    noise = normal(rng, (rows, columns)).astype(np.float64)
    field: Array = fft.irfft2(fft.rfft2(noise) * power, s=(rows, columns))[: shape[0], : shape[1]]
    return on_grid((field - field.mean()) / field.std(), FIELD_GRID).astype(np.float32)


FIELD_GRID = 2.0**-10
"""Grid of the values of :func:`fine_structure`."""


def shifted(image: Image, dy: float, dx: float, height: int, width: int) -> Image:
    """The (H, W) window of a larger image, moved by (dy, dx) px, bilinear; the margin bounds the shift."""
    margin_y, margin_x = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    y = float(np.clip(margin_y - dy, 0, 2 * margin_y - 1e-3))
    x = float(np.clip(margin_x - dx, 0, 2 * margin_x - 1e-3))
    i, j = int(y), int(x)
    fy, fx = np.float32(y - i), np.float32(x - j)
    rows = image[i : i + height + 1, j : j + width + 1]
    rows = rows[:-1] * (1 - fy) + rows[1:] * fy
    return np.asarray(rows[:, :-1] * (1 - fx) + rows[:, 1:] * fx)
