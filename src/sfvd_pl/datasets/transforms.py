"""Augmentation of training windows: jitter of the intensities for all, classical geometry and contrast for one arm."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.morphology import skeletonize
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

FINE = 3
"""Masks are warped at so many times the resolution, or wires of one pixel would break."""


def jitter(rng: np.random.Generator, image: Float[np.ndarray, "F H W"]) -> Float[np.ndarray, "F H W"]:
    """Another contrast, brightness and grain of normalised frames; the frames of one window share the first two."""
    contrast, brightness = np.exp(rng.normal(0.0, 0.15)), rng.normal(0.0, 0.15)
    grain = rng.normal(0.0, rng.uniform(0.0, 0.1), image.shape)
    changed: Float[np.ndarray, "F H W"] = (image * contrast + brightness + grain).astype(np.float32)
    return changed


def classical(
    rng: np.random.Generator,
    image: Float[np.ndarray, "F H W"],
    wire_mask: Bool[np.ndarray, "H W"],
    ignore: Bool[np.ndarray, "H W"],
) -> tuple[Float[np.ndarray, "F H W"], Bool[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Geometry, gamma and blur as segmentation toolkits use them (close to nnU-Net's list, 2021).

    Args:
        rng: Decides everything.
        image: Normalised frames, which share their geometry.
        wire_mask: Of the centre frame.
        ignore: Likewise.
    """
    affine, elastic, gamma, blur = rng.random(4) < (0.6, 0.25, 0.4, 0.15)
    matrix = random_affine(rng) if affine else np.eye(2, 3)
    bends = rng.uniform(-4.0, 4.0, (2, 6, 6)) * elastic
    if affine or elastic:
        height, width = wire_mask.shape
        image = _sampled(image, warp_grid(matrix, bends, height, width)).numpy()
        grid = warp_grid(matrix, bends, height, width, fine=FINE)
        wire_mask, ignore = warp_mask(wire_mask, grid), _coverage(ignore, grid) >= 0.5
    if gamma:
        low, reach = image.min(), np.ptp(image) + 1e-6
        image = ((image - low) / reach) ** np.exp(rng.uniform(-0.3, 0.3)) * reach + low
    if blur:
        image = gaussian_filter(image, (0.0, *[rng.uniform(0.4, 0.9)] * 2))
    return image.astype(np.float32), wire_mask, ignore & ~wire_mask


def random_affine(rng: np.random.Generator) -> Float[np.ndarray, "2 3"]:
    """From output to input, in units of half a side: turn to 25 degrees, zoom, shear and shift."""
    turn, shear = np.deg2rad(rng.uniform(-25, 25)), np.tan(np.deg2rad(rng.uniform(-8, 8)))
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = turned @ np.array([[1.0, shear], [0.0, 1.0]]) / rng.uniform(0.85, 1.2)
    return np.concatenate([linear, rng.uniform(-0.16, 0.16, (2, 1))], 1)


def warp_grid(
    matrix: Float[np.ndarray, "2 3"], bends: Float[np.ndarray, "2 K K"], height: int, width: int, fine: int = 1
) -> Float[Tensor, "1 Hf Wf 2"]:
    """Where each output pixel comes from, as ``grid_sample`` wants it.

    Args:
        matrix: Affine map from output to input, x before y, -1..1 over a side.
        bends: Displacements on a coarse lattice in pixels, smoothly interpolated.
        height: Of the frame.
        width: Of the frame.
        fine: Output pixels for each pixel of a side.
    """
    theta = torch.from_numpy(matrix.astype(np.float32))[None]
    size = (height * fine, width * fine)
    grid = torch.nn.functional.affine_grid(theta, [1, 1, *size], align_corners=False)
    smooth = interpolate(torch.from_numpy(bends.astype(np.float32))[None], size=size, mode="bicubic")
    return grid + smooth.permute(0, 2, 3, 1) * (2.0 / torch.tensor([width, height]))


def warp_mask(
    mask: Bool[np.ndarray, "H W"], grid: Float[Tensor, "1 Hf Wf 2"]
) -> Bool[np.ndarray, "H W"]:
    """A wire's mask through a grid of ``FINE`` resolution; one pixel wide wires stay whole.

    A pixel is wire if half of it is covered, or if the centreline runs through it.
    """
    if not mask.any():
        return mask
    fine = _sampled(mask[None].astype(np.float32), grid)[0].numpy()
    centreline = _blocks(skeletonize(fine >= 0.4)).any((1, 3))
    covered: Bool[np.ndarray, "H W"] = _blocks(fine >= 0.5).mean((1, 3)) >= 0.55
    return covered | centreline


def _coverage(mask: Bool[np.ndarray, "H W"], grid: Tensor) -> Float[np.ndarray, "H W"]:
    fine = _sampled(mask[None].astype(np.float32), grid)[0].numpy()
    covered: Float[np.ndarray, "H W"] = _blocks(fine).mean((1, 3))
    return covered


def _sampled(image: Float[np.ndarray, "C H W"], grid: Tensor) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None]
    return grid_sample(values, grid, mode="bilinear", padding_mode="reflection", align_corners=False)[0]


def _blocks(fine: NDArray[np.generic]) -> NDArray[np.generic]:
    """``(H FINE) (W FINE)`` as ``H FINE W FINE``."""
    return fine.reshape(fine.shape[0] // FINE, FINE, -1, FINE)
