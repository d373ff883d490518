"""Augmentation of training windows: jitter of the intensities for all, classical geometry and contrast for one arm."""

import os
from functools import cache
from random import Random
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from skimage.morphology import skeletonize

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its version at import


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
        image: Normalised frames, which share all parameters.
        wire_mask: Of the centre frame.
        ignore: Likewise.
    """
    low, reach = image.min(), np.ptp(image) + 1e-6
    composition = _composition()
    # set_random_seed would give each transform the same numbers: either all of them act, or none.
    composition.set_random_state(rng, Random(int(rng.integers(2**63))))
    out = composition(
        image=((image - low) / reach).transpose(1, 2, 0).astype(np.float32),  # frames are channels of one image
        mask=np.stack([wire_mask, ignore], -1).astype(np.float32),
    )
    wire, unknown = out["mask"].transpose(2, 0, 1)
    wire_mask = (wire >= 0.5) | skeletonize(wire >= 0.3)  # the centreline, or wires of one pixel would break
    changed: Float[np.ndarray, "F H W"] = (out["image"].transpose(2, 0, 1) * reach + low).astype(np.float32)
    return changed, wire_mask, (unknown >= 0.5) & ~wire_mask


@cache
def _composition() -> Any:
    import albumentations as A  # noqa: N812  # the library's own convention; seconds, so only where it is used
    import cv2

    warp = {"mask_interpolation": cv2.INTER_LINEAR, "border_mode": cv2.BORDER_REFLECT_101}
    return A.Compose(
        [
            A.Affine(
                scale=(0.85, 1.2), keep_ratio=True, rotate=(-25, 25), shear=(-8, 8), translate_percent=(-0.08, 0.08),
                p=0.6, **warp,
            ),
            A.ElasticTransform(alpha=120.0, sigma=10.0, p=0.25, **warp),
            A.RandomGamma(gamma_limit=(75, 135), p=0.4),
            A.GaussianBlur(blur_limit=0, sigma_limit=(0.4, 0.9), p=0.15),
        ]
    )
