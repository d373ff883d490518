"""Masks that measures meet: ordinary, and the ones that break them."""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]


def blank(height: int = 32, width: int = 32) -> Mask:
    return np.zeros((height, width), dtype=np.uint8)


def one_pixel() -> Mask:
    mask = blank()
    mask[9, 20] = 1
    return mask


def line(top: int = 6, bottom: int = 25, column: int = 15, thickness: int = 1) -> Mask:
    mask = blank()
    mask[top : bottom + 1, column : column + thickness] = 1
    return mask


def border() -> Mask:
    mask = blank()
    mask[0, :] = 1
    mask[:12, 0] = 1
    return mask


def pieces() -> Mask:
    mask = line()
    mask[12:14] = 0
    mask[28, 2:6] = 1
    return mask


def ring() -> Mask:
    rows, columns = np.indices((32, 32))
    distance = np.hypot(rows - 15, columns - 15)
    return ((distance > 8) & (distance <= 10)).astype(np.uint8)


def everything() -> Mask:
    return np.ones((32, 32), dtype=np.uint8)


SHAPES = {
    "empty": blank(),
    "one_pixel": one_pixel(),
    "line": line(),
    "thick": line(thickness=3),
    "border": border(),
    "pieces": pieces(),
    "ring": ring(),
    "everything": everything(),
}
