"""From attenuation to detector values: beam, scatter, collimator, exposure control, blur, noise, digits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, zoom

from sfvd_pl.sources.phantom_geometry import Image, View


@dataclass(frozen=True)
class Detector:
    """How one run is exposed.

    Args:
        gain: Detector value of an unattenuated ray, in units of 1 = intensity_max.
        field: (H, W) 0..1 open part of the collimator.
        scatter: (H, W) scattered radiation relative to an unattenuated ray.
        noise_std: Quantum noise at ``level``, unit of intensity_max.
        level: Signal at which ``noise_std`` holds.
        readout_std: Electronic noise, unit of intensity_max.
        blur_px: Point spread, standard deviation, px.
        intensity_max: Largest value.
    """

    gain: float
    field: Image
    scatter: Image
    noise_std: float
    level: float
    readout_std: float
    blur_px: float
    intensity_max: int

    def expose(self, path: Image, rng: np.random.Generator) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
        """One frame (H, W) from attenuation along each ray (Beer-Lambert), with noise of its own.

        Quantum noise has a variance proportional to the signal (Poisson, by its Gaussian limit) and is
        spread by the scintillator together with it. The small electronic noise is drawn together with it.
        """
        signal = np.exp(-path)
        signal *= self.field
        signal += self.scatter
        signal *= np.float32(self.gain)
        grain = signal * np.float32(self.noise_std**2 / self.level)
        grain += np.float32(self.readout_std**2)
        np.sqrt(grain, out=grain)
        grain *= rng.standard_normal(signal.shape, np.float32)
        signal += grain
        signal = spread(signal, self.blur_px)
        signal *= np.float32(self.intensity_max)
        np.rint(signal, out=signal)
        np.clip(signal, 0, self.intensity_max, out=signal)
        return signal.astype(np.uint8) if self.intensity_max <= 255 else signal.astype(np.uint16)


def make_detector(
    rng: np.random.Generator,
    path: Image,
    view: View,
    *,
    scatter_ratio: float,
    level: float,
    noise_std: float,
    blur_px: float,
    intensity_max: int,
) -> Detector:
    """Collimate, and set the exposure from a run's first attenuation ``path`` (H, W)."""
    field = collimator(rng, view)
    primary = np.exp(-path) * field
    step = max(1, min(view.height, view.width) // 48)
    coarse = primary[::step, ::step]
    wide = gaussian_filter(coarse, 0.22 * min(coarse.shape), mode="constant")
    wide = zoom(wide, np.divide(primary.shape, coarse.shape), order=1, mode="nearest", grid_mode=True)
    local = (0.5 * wide + 0.5 * primary.mean()) * scatter_ratio
    total = primary + local
    gain = level * float(field.sum()) / float((total * field).sum())
    top = float(np.quantile(total[field > 0.5], 0.99)) * gain
    gain *= min(1.0, 0.93 / top)
    return Detector(
        gain, field, local.astype(np.float32), noise_std, level, 0.003, blur_px, intensity_max
    )  # fmt: skip


def collimator(rng: np.random.Generator, view: View) -> Image:
    """Open part (H, W) of a rectangular collimator with rounded corners and a soft edge; leaks 3 %."""
    size = min(view.height, view.width)
    inset = np.where(rng.uniform(size=4) < 0.4, rng.uniform(0.0, 0.07, 4), -0.05) * size
    soft = 0.006 * size + 0.4
    x, y = np.arange(view.width), np.arange(view.height)
    horizontal = np.minimum(x - inset[0], view.width - 1 - inset[1] - x)
    vertical = np.minimum(y - inset[2], view.height - 1 - inset[3] - y)
    corner = 0.04 * size
    a = np.maximum(corner - horizontal, 0)[None, :]
    b = np.maximum(corner - vertical, 0)[:, None]
    edge = np.minimum(horizontal[None, :], vertical[:, None])
    depth = np.where((a > 0) & (b > 0), corner - np.hypot(a, b), edge)
    return np.asarray(0.03 + 0.97 / (1 + np.exp(-depth / soft)), np.float32)


def spread(image: Image, std_px: float) -> Image:
    """Separable three-tap blur [a, 1 - 2a, a] with variance 2a = std^2, edges repeated."""
    a = np.float32(min(std_px * std_px / 2, 1 / 3))
    for _ in (0, 1):  # each pass blurs the rows' axis and transposes
        before = np.concatenate([image[:1], image[:-1]])
        after = np.concatenate([image[1:], image[-1:]])
        image = (a * (before + after) + (1 - 2 * a) * image).T
    return image


def fine_structure(seed: int, shape: tuple[int, int], size_px: float, slope: float) -> Image:
    """A smooth random field (H, W) of unit variance whose spectrum falls as f^-slope beyond 1/size_px.

    Overlapping small vessels, airways and muscle have such a power law (Burgess 1999 for projected breast
    tissue).
    """
    rng = np.random.default_rng(seed)
    rows, columns = (fft.next_fast_len(side, real=True) for side in shape)
    fy, fx = fft.fftfreq(rows)[:, None], fft.rfftfreq(columns)[None, :]
    f = np.hypot(fy, fx).astype(np.float32)
    power = (1.0 + (f * size_px) ** 2) ** (-slope / 2) * np.exp(-0.5 * (f * 4.0) ** 2)
    field: Image = fft.irfft2(
        fft.rfft2(rng.standard_normal((rows, columns), np.float32)) * power, s=(rows, columns)
    )
    field = field[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / field.std(), np.float32)


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
