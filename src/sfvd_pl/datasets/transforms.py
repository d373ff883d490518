"""Classical augmentation, the baseline that synthetic clips have to beat."""

import os
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its version at import

if TYPE_CHECKING:
    import albumentations


def classical_augmentation(seed: int) -> "albumentations.Compose":
    """Geometry, contrast, blur and noise as segmentation toolkits use them (close to nnU-Net's list, 2021).

    Args:
        seed: Seed of the composition; :func:`apply_classical` sets it anew for each sample.
    """
    import albumentations as A  # noqa: N812  # the library's own convention; 4 s, so only where it is used

    return A.Compose(
        [
            A.Affine(
                scale=(0.85, 1.2), rotate=(-25, 25), shear=(-8, 8), translate_percent=(-0.08, 0.08), p=0.6,
                border_mode=2,
            ),
            A.ElasticTransform(alpha=12.0, sigma=6.0, p=0.25, border_mode=2),
            A.RandomBrightnessContrast(brightness_limit=0.12, contrast_limit=0.25, p=0.6),
            A.RandomGamma(gamma_limit=(75, 135), p=0.4),
            A.GaussianBlur(blur_limit=(3, 3), p=0.15),
            A.GaussNoise(std_range=(0.005, 0.03), p=0.4),
        ],
        seed=seed,
    )


def apply_classical(
    composition: "albumentations.Compose",
    seed: int,
    image: Float[np.ndarray, "H W"],
    wire_mask: NDArray[np.generic],
) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
    """Augment one frame and its mask, decided by ``seed`` alone."""
    composition.set_random_seed(seed % 2**32)
    out = composition(image=image.astype(np.float32)[..., None], mask=wire_mask.astype(np.uint8))
    return np.asarray(out["image"], np.float32).reshape(image.shape), np.asarray(out["mask"])
