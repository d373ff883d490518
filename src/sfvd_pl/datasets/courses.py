"""Courses a wire may take: random ones, ones along visible vessels and leads, and labelled ones put elsewhere."""

from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.graph import MCP_Geometric
from skimage.morphology import skeletonize

Points = Float[np.ndarray, "_ 2"]
"""Rows and columns along a curve."""

MIN_WIRE_PIXELS = 16
"""A mask with fewer pixels says too little to be worth a label."""
STEP_PX = 0.5
"""Distance between the points of a curve."""
TRIES = 20
"""Random curves or placings tried before there is none."""
STARTS = 4
"""Starts of a course along vessels tried before there is none."""
RIDGE_PX = (1.5, 2.2, 3.2, 4.5)
"""Scales of the ridge filter, in frames of some 256 px: thin vessels and leads to catheters."""
LEAST_COURSE_PX = 40
"""A wire along a vessel is at least so long."""
FAINTEST_STRETCH = 0.2
"""Ridge that each 15 px of a course have at least."""
SHARPEST_TURN = 1.6
"""Change of direction within 10 px that no wire makes, radians."""


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
        curve = _random_curve(rng, height, width)
        coverage = draw_curve(curve, height, width, width_px)
        if (coverage > 0.5).sum() > (best > 0.5).sum():
            best = coverage
        # A curve that is outside for the most part is drawn again.
        if (best > 0.5).sum() >= width_px * min(0.5 * len(curve) * STEP_PX, 0.5 * (height + width)):
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
    along = np.gradient(points, axis=0)
    half = np.linalg.norm(along, axis=1)
    return _draw_pieces(points, along / np.maximum(half, 1e-9)[:, None], half, height, width, width_px)


def _draw_pieces(
    middles: Points, along: Points, half: Float[np.ndarray, " K"], height: int, width: int, width_px: float
) -> Float[np.ndarray, "{height} {width}"]:
    """Coverage of short straight pieces, each with its middle, direction and half length."""
    reach = int(np.ceil(width_px / 2 + 1.5))
    inside = ((middles > -reach) & (middles < np.array([height, width]) - 1 + reach)).all(axis=1)
    corner = np.round(middles[inside]).astype(int)[:, :, None, None]
    grid = np.arange(-reach, reach + 1)
    y = (corner[:, 0] - middles[inside, 0, None, None]) + grid[:, None]
    x = (corner[:, 1] - middles[inside, 1, None, None]) + grid[None, :]
    unit_y, unit_x = along[inside, 0, None, None], along[inside, 1, None, None]
    # Distance to a piece, not to its middle: a curve 1 px wide stays unbroken.
    forward = np.clip(y * unit_y + x * unit_x, -half[inside, None, None], half[inside, None, None])
    gap = np.hypot(y - forward * unit_y, x - forward * unit_x)
    distance = np.full((height + 4 * reach, width + 4 * reach), 1e3)
    rows, columns = np.broadcast_arrays(corner[:, 0] + grid[:, None], corner[:, 1] + grid[None, :])
    np.minimum.at(distance, (rows + 2 * reach, columns + 2 * reach), gap)
    cut = distance[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    return np.clip(width_px / 2 + 0.5 - cut, 0.0, 1.0).astype(np.float32)


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


def labelled_sequence(
    mask_sequence: UInt8[np.ndarray, "T H0 W0"], height: int, width: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "T {height} {width}"] | None:
    """A labelled mask sequence mirrored, turned and shifted as a whole into frames of another size.

    The masks are drawn anew from their centrelines, so wires of 1 px stay unbroken.

    Args:
        mask_sequence: Non-zero on the wire.
        height: Rows of the new frames.
        width: Their columns.
        rng: Decides everything.

    Returns:
        Masks of 0 and 1 with at least ``MIN_WIRE_PIXELS`` in every frame; None where no such placing was found.
    """
    if not mask_sequence.any(axis=(1, 2)).all():
        return None
    width_px = max(1.0, course_width(mask_sequence))
    lines = [_centreline(mask) for mask in mask_sequence]
    for _ in range(TRIES):
        angle = np.pi / 2 * rng.integers(4) + rng.uniform(-0.35, 0.35)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if rng.random() < 0.5:
            turn[:, 1] *= -1
        middle = lines[0][0][int(rng.integers(len(lines[0][0])))]
        place = rng.uniform(0.15, 0.85, 2) * [height, width]
        placed = [
            _draw_pieces(
                (points - middle) @ turn.T + place, along @ turn.T, np.full(len(points), 0.75),
                height, width, width_px,
            )
            for points, along in lines
        ]  # fmt: skip
        masks = (np.stack(placed) > 0.5).astype(np.uint8)
        # Most of the wire has to be in the picture, too.
        least = np.maximum(MIN_WIRE_PIXELS, 0.6 * (mask_sequence > 0).sum(axis=(1, 2)))
        if (masks.sum(axis=(1, 2)) >= least).all():
            return masks
    return None


def _centreline(mask: UInt8[np.ndarray, "H W"]) -> tuple[Points, Points]:
    """Pixels of a mask's thinned line, moved across it onto the line fitted to their neighbours; its directions."""
    pixels = np.argwhere(skeletonize(mask > 0)).astype(np.float64)
    pairs = cKDTree(pixels).query_pairs(3.7, output_type="ndarray")
    near = np.concatenate([pairs, pairs[:, ::-1], np.arange(len(pixels))[:, None].repeat(2, axis=1)])
    count = np.bincount(near[:, 0])[:, None]
    mean = np.zeros_like(pixels)
    np.add.at(mean, near[:, 0], pixels[near[:, 1]])
    mean /= count
    gap = pixels[near[:, 1]] - mean[near[:, 0]]
    spread = np.zeros((len(pixels), 2, 2))
    np.add.at(spread, near[:, 0], gap[:, :, None] * gap[:, None, :])
    along = np.linalg.eigh(spread)[1][:, :, 1]
    return mean + ((pixels - mean) * along).sum(axis=1, keepdims=True) * along, along


class Background:
    """A clip in which courses are looked for; its ridges and its motion are worked out once, when first needed.

    Args:
        frames: Grey values, 0..1; dark is attenuation.
    """

    def __init__(self, frames: Float[np.ndarray, "T H W"]) -> None:
        self.size = np.array(frames.shape[1:])
        # Ridges are sought in frames of some 256 px, motion in frames of half of that.
        shrink = max(1, round(float(self.size.max()) / 256))
        self.frames = np.stack([_shrunk(frame, shrink) for frame in frames.astype(np.float32)])

    @cached_property
    def reference(self) -> int:
        """The frame with the most to see: vessels fill with contrast medium during a clip."""
        return int(np.argmax([_ridges(frame, (2.2,)).mean() for frame in self.frames]))

    @cached_property
    def ridge(self) -> Float[np.ndarray, "h w"]:
        """How much of a dark line there is in the reference frame; above 1 on about 3 % of its pixels."""
        first = max(0, self.reference - 1)
        near = [self._warped(t) for t in range(first, min(first + 3, len(self.frames)))]
        ridge = _ridges(np.mean(near, axis=0), RIDGE_PX)
        # Noise has lines, too: of 0.2 of its deviation in the mean of three frames.
        frame = self.frames[self.reference]
        noise = float(np.median(np.abs(frame - _blurred(frame, 1.0)))) / (0.6745 * 0.87)
        return ridge / max(float(np.quantile(ridge, 0.97)), 0.5 * noise, 1e-3)

    def _warped(self, t: int) -> Float[np.ndarray, "h w"]:
        height, width = self.frames.shape[1:]
        flow = cv2.resize(self.flow[t], (width, height)) * (width / self.flow.shape[2])
        return _moved(self.frames[t], flow)

    @cached_property
    def flow(self) -> Float[np.ndarray, "T h2 w2 2"]:
        """Where the reference frame's pixels are in frame t: displacement in columns and rows, both of half size.

        Lucas-Kanade with Gaussian windows on band-passed frames; where there is nothing to see it tends to 0.
        """
        small = np.stack([_shrunk(frame, 2) for frame in self.frames])
        bands = np.stack([_blurred(frame, 0.75) - _blurred(frame, 2.5) for frame in small])
        # Strong contrast is cut off, so that the inflow of contrast medium doesn't outvote the anatomy.
        bands = np.clip(bands / (1.5 * float(np.median(np.abs(bands))) + 1e-6), -3.0, 3.0)
        flow = np.zeros((*bands.shape, 2), np.float32)
        for step in (1, -1):
            t = self.reference + step
            while 0 <= t < len(bands):
                flow[t] = _flow(bands[self.reference], bands[t], flow[t - step])
                t += step
        return flow


def _shrunk(frame: Float[np.ndarray, "H W"], factor: int) -> Float[np.ndarray, "h w"]:
    size = (max(1, frame.shape[1] // factor), max(1, frame.shape[0] // factor))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _blurred(frame: Float[np.ndarray, "H W"], sigma: float) -> Float[np.ndarray, "H W"]:
    return cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


def _moved(frame: Float[np.ndarray, "H W"], flow: Float[np.ndarray, "H W 2"]) -> Float[np.ndarray, "H W"]:
    rows, columns = np.indices(frame.shape, dtype=np.float32)
    return cv2.remap(
        frame, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _flow(
    here: Float[np.ndarray, "h w"], there: Float[np.ndarray, "h w"], start: Float[np.ndarray, "h w 2"]
) -> Float[np.ndarray, "h w 2"]:
    flow = start
    for window in (8.0, 5.0):
        for _ in range(4):
            moved = _moved(there, flow)
            mean, gap = (here + moved) / 2, moved - here
            x, y = (cv2.Sobel(mean, -1, 1 - k, k, scale=1 / 8) for k in (0, 1))
            weight = 1 / (1 + gap * gap)
            xx, xy, yy, xg, yg = (
                _blurred(weight * each, window) for each in (x * x, x * y, y * y, x * gap, y * gap)
            )
            damping = float(np.median(xx + yy)) + 1e-9
            xx, yy = xx + damping, yy + damping
            change = np.stack([xy * yg - yy * xg, xy * xg - xx * yg], axis=-1)
            flow = flow + np.clip(change / (xx * yy - xy * xy)[..., None], -2.0, 2.0)
        flow = np.stack([_blurred(np.ascontiguousarray(flow[..., k]), window / 2) for k in (0, 1)], axis=-1)
    return flow


def _ridges(frame: Float[np.ndarray, "h w"], scales: tuple[float, ...]) -> Float[np.ndarray, "h w"]:
    """How much darker a line is than the less bright of its two sides, at the best scale."""
    best = np.zeros(frame.shape, np.float32)
    for scale in scales:
        smooth = _blurred(frame, scale)
        yy, xx, xy = (cv2.Sobel(smooth, -1, *order, ksize=3) for order in ((0, 2), (2, 0), (1, 1)))
        across = 0.5 * np.arctan2(2 * xy, xx - yy)  # the direction of the largest curvature
        aside = 2 * scale * np.stack([np.cos(across), np.sin(across)], axis=-1)
        # An edge is dark against one side only: that of a shutter, a rib or the diaphragm is no line.
        left, right = _moved(smooth, aside), _moved(smooth, -aside)
        best = np.maximum(best, np.minimum(left, right) - smooth - 0.25 * np.abs(left - right))
    return best


def vessel_sequence(
    clip: "Background | Float[np.ndarray, 'T H W']",
    rng: np.random.Generator,
    width_px: float,
    avoid: Bool[np.ndarray, "T H W"] | None = None,
) -> UInt8[np.ndarray, "T H W"] | None:
    """Masks of a wire in a visible vessel, catheter or lead of a clip, moved with it, and pushed or pulled.

    Args:
        clip: Grey values, 0..1, or their :class:`Background`, which is worth keeping for several sequences.
        rng: Decides everything.
        width_px: Width of the wire in pixels, at least 1.
        avoid: Pixels the course keeps away from.

    Returns:
        0 or 1, at least ``MIN_WIRE_PIXELS`` in every frame; None where no course was found.
    """
    back = clip if isinstance(clip, Background) else Background(clip)
    shut = None if avoid is None else np.asarray(avoid.any(axis=0))
    for _ in range(STARTS):
        curve = _vessel_curve(back, rng, shut)
        if curve is None:
            continue
        masks = _pushed(back, curve, rng, width_px)
        if (masks.sum(axis=(1, 2)) >= MIN_WIRE_PIXELS).all():
            return masks
    return None


def _vessel_curve(
    back: Background, rng: np.random.Generator, shut: Bool[np.ndarray, "H W"] | None
) -> Points | None:
    """A smooth course along ridges in the reference frame, in pixels of the clip."""
    ridge = back.ridge
    if shut is not None:
        closed = ndimage.binary_dilation(shut, iterations=2).astype(np.float32)
        ridge = ridge * (cv2.resize(closed, ridge.shape[::-1], interpolation=cv2.INTER_AREA) == 0)
    places = np.argwhere(ridge > 0.5)
    if len(places) < LEAST_COURSE_PX:
        return None
    # Wires come in through a catheter, which is dark and thick, or at the frame's edge.
    edge = np.minimum(places, np.array(ridge.shape) - 1 - places).min(axis=1)
    weight = np.minimum(ridge[tuple(places.T)], 1.0) ** 2 * (1.0 + 3.0 * (edge < 0.12 * min(ridge.shape)))
    start = places[int(rng.choice(len(places), p=weight / weight.sum()))]
    graph = MCP_Geometric(1.0 / (0.03 + ridge))
    graph.find_costs([tuple(start)])
    far = places[np.linalg.norm(places - start, axis=1) >= rng.uniform(0.15, 0.5) * max(ridge.shape)]
    best, best_score = None, FAINTEST_STRETCH
    for end in far[rng.integers(len(far), size=12)] if len(far) else far:
        path = np.array(graph.traceback(tuple(end)), np.float64)
        # The faintest stretch decides: what strides over from one vessel to the next is no course.
        score = float(ndimage.uniform_filter1d(ridge[tuple(path.astype(int).T)], 15, mode="nearest").min())
        curve = _smooth(path, rng.uniform(3.0, 7.0))
        if score > best_score and _turn(curve) < SHARPEST_TURN:
            best, best_score = curve, score
    if best is None:
        return None
    return (best + 0.5) * (back.size / ridge.shape) - 0.5


def _smooth(path: Points, sigma_px: float) -> Points:
    """A path of pixels as a smooth curve of points ``STEP_PX`` apart; its ends stay."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.arange(0.0, along[-1], STEP_PX)
    dense = np.stack([np.interp(at, along, column) for column in path.T], axis=1)
    pad = min(len(dense) - 1, int(4 * sigma_px / STEP_PX))
    mirrored = [2 * dense[0] - dense[pad:0:-1], dense, 2 * dense[-1] - dense[-2 : -pad - 2 : -1]]
    smooth: Points = ndimage.gaussian_filter1d(np.concatenate(mirrored), sigma_px / STEP_PX, axis=0)
    return smooth[pad : pad + len(dense)]


def _turn(curve: Points) -> float:
    """The largest change of direction within 10 px, radians."""
    lag = int(10 / STEP_PX)
    steps = np.diff(curve, axis=0)
    angles = np.unwrap(np.arctan2(steps[:, 0], steps[:, 1]))
    return float(np.abs(angles[lag:] - angles[:-lag]).max(initial=0.0))


def _pushed(
    back: Background, curve: Points, rng: np.random.Generator, width_px: float
) -> UInt8[np.ndarray, "T H W"]:
    """Masks of a wire that lies in a course, which moves with the clip, up to a tip, which moves along it."""
    height, width = (int(n) for n in back.size)
    to_edge = np.minimum(curve[0], back.size - 1 - curve[0])
    if to_edge.min() < 10:  # it comes from outside, whichever way the picture moves
        heading = (curve[0] - curve[10]) / max(float(np.linalg.norm(curve[0] - curve[10])), 1e-9)
        curve = np.concatenate([curve[0] + heading * np.arange(60, 0, -1)[:, None] * STEP_PX, curve])
    scale = back.size / np.array(back.flow.shape[1:3])
    where = ((curve + 0.5) / scale - 0.5).T
    least = max(0.4 * len(curve), LEAST_COURSE_PX / STEP_PX)
    tip, speed = rng.uniform(0.7, 1.0) * len(curve), 0.0
    masks = np.zeros((len(back.flow), height, width), np.uint8)
    for t, flow in enumerate(back.flow):
        if t % 4 == 0:  # the hand rests, pushes or pulls
            speed = float(rng.choice([-1.0, 0.0, 1.0]) * rng.uniform(0.3, 3.0)) / STEP_PX
        tip = float(np.clip(tip + speed, least, len(curve)))
        shift = np.stack(
            [ndimage.map_coordinates(flow[..., k], where, order=1, mode="nearest") for k in (1, 0)], axis=1
        )
        # The flow's small unevenness would show as kinks.
        moved = curve + ndimage.gaussian_filter1d(shift * scale, 8.0 / STEP_PX, axis=0, mode="nearest")
        masks[t] = draw_curve(moved[: int(tip)], height, width, width_px) > 0.5
    return masks
