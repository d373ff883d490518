"""Courses a wire may take: random ones, ones along visible vessels and leads, and labelled ones put elsewhere."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from skimage.morphology import skeletonize

Points = Float[np.ndarray, "K 2"]
"""Rows and columns along a curve."""

MIN_WIRE_PIXELS = 16
"""A mask with fewer pixels says too little to be worth a label."""
STEP_PX = 0.5
"""Distance between the points of a curve."""
TRIES = 20
"""Random curves or placings tried before there is none."""


def random_course(
    rng: np.random.Generator, height: int, width: int, width_px: float
) -> Float[np.ndarray, "{height} {width}"]:
    """A random smooth curve such as a wire draws: it enters at the frame's edge or begins inside, bends gently, and
    sometimes ends in a hook.

    Args:
        rng: Decides everything.
        height: Rows of the frame.
        width: Columns of the frame.
        width_px: Width of the curve in pixels, at least 1.

    Returns:
        Share of each pixel that the curve covers, 0..1; ``> 0.5`` is an unbroken mask.
    """
    best = np.zeros((height, width), np.float32)
    for _ in range(TRIES):
        coverage = draw_curve(_random_curve(rng, height, width), height, width, width_px)
        if (coverage > 0.5).sum() > (best > 0.5).sum():
            best = coverage
        # A curve that only cuts a corner is drawn again.
        if (best > 0.5).sum() >= 20 * width_px:
            break
    return best


def _random_curve(rng: np.random.Generator, height: int, width: int) -> Points:
    across = float(np.hypot(height, width))
    length = float(np.exp(rng.uniform(np.log(40.0), np.log(max(1.2 * across, 60.0)))))
    count = int(length / STEP_PX)
    size = np.array([height, width])
    start = rng.uniform(0.0, size - 1.0)
    if rng.random() < 0.6:  # from a side, towards the middle
        side = int(rng.integers(4))
        start[side % 2] = (size[side % 2] - 1) * (side // 2)
    towards = size / 2 - start
    heading = np.arctan2(towards[0], towards[1]) + rng.uniform(-1.0, 1.0)
    # Bending varies slowly along the curve, between nearly straight and a radius of some 15 px.
    scale = rng.uniform(10.0, 40.0) / STEP_PX
    bending = ndimage.gaussian_filter1d(rng.standard_normal(count), scale, mode="reflect")
    bending *= rng.uniform(0.2, 1.2) / (bending.std() + 1e-9) / rng.uniform(15.0, 80.0)
    if rng.random() < 0.3:  # a tip bent to a hook or loop
        tip = min(count // 2, int(rng.uniform(12.0, 40.0) / STEP_PX))
        bending[-tip:] += np.linspace(0.0, 1.0, tip) * rng.choice([-1.0, 1.0]) / rng.uniform(4.0, 12.0)
    angles = heading + np.cumsum(bending) * STEP_PX
    steps = STEP_PX * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    points: Points = start + np.cumsum(steps, axis=0)
    return points


def draw_curve(
    points: Points, height: int, width: int, width_px: float
) -> Float[np.ndarray, "{height} {width}"]:
    """Share of each pixel, 0..1, that a curve of ``width_px`` covers; its points lie about ``STEP_PX`` apart."""
    reach = int(np.ceil(width_px / 2 + 1.5))
    inside = ((points > -reach) & (points < np.array([height, width]) - 1 + reach)).all(axis=1)
    distance = np.full((height + 4 * reach, width + 4 * reach), 1e3, np.float32)
    if inside.any():
        along = np.gradient(points, axis=0)[inside]
        near = points[inside]
        half = np.linalg.norm(along, axis=1)
        along /= np.maximum(half, 1e-9)[:, None]
        grid = np.arange(-reach, reach + 1)
        corner = np.round(near).astype(int)
        gap_y = (corner[:, 0] - near[:, 0])[:, None, None] + grid[:, None]
        gap_x = (corner[:, 1] - near[:, 1])[:, None, None] + grid[None, :]
        # Distance to a short straight piece around each point, not to the point: a thin curve stays unbroken.
        forward = gap_y * along[:, 0, None, None] + gap_x * along[:, 1, None, None]
        forward = np.clip(forward, -half[:, None, None], half[:, None, None])
        gap = np.hypot(gap_y - forward * along[:, 0, None, None], gap_x - forward * along[:, 1, None, None])
        rows = np.broadcast_to(corner[:, 0, None, None] + grid[:, None] + 2 * reach, gap.shape)
        columns = np.broadcast_to(corner[:, 1, None, None] + grid[None, :] + 2 * reach, gap.shape)
        np.minimum.at(distance, (rows, columns), gap.astype(np.float32))
    cut = distance[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    coverage: Float[np.ndarray, "H W"] = np.clip(width_px / 2 + 0.5 - cut, 0.0, 1.0)
    return coverage


def course_width(masks: UInt8[np.ndarray, "T H W"]) -> float:
    """Typical width of the wires in masks: area over length of the centreline in pixels, NaN without a wire."""
    widths = []
    for mask in masks:
        line = skeletonize(mask > 0)
        if line.any():
            widths.append(float((mask > 0).sum()) / _length(line))
    return float(np.median(widths)) if widths else float("nan")


def _length(line: Bool[np.ndarray, "H W"]) -> float:
    """Length of a thinned line: straight and diagonal steps, weighted as is unbiased (Vossepoel, Smeulders, 1982)."""
    down, right = line[1:] & line[:-1], line[:, 1:] & line[:, :-1]
    straight = int(down.sum() + right.sum())
    diagonal = int((line[1:, 1:] & line[:-1, :-1]).sum() + (line[1:, :-1] & line[:-1, 1:]).sum())
    return max(1.0, 0.948 * straight + 1.343 * diagonal)


def vessel_sequence(
    frames: Float[np.ndarray, "T H W"],
    rng: np.random.Generator,
    width_px: float,
    avoid: Bool[np.ndarray, "T H W"] | None = None,
) -> UInt8[np.ndarray, "T H W"] | None:
    """To come."""
    raise NotImplementedError


def labelled_sequence(
    mask_sequence: UInt8[np.ndarray, "T H0 W0"], height: int, width: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "T {height} {width}"] | None:
    """To come."""
    raise NotImplementedError
