"""Second implementations of every measure of segmentation: by definition, by brute force, from other libraries.

They share no code with the package, and nothing is fast.
"""

import itertools

import numpy as np
from scipy import ndimage
from scipy.sparse.csgraph import floyd_warshall
from scipy.spatial import distance
from skimage.measure import label as label_parts
from skimage.morphology import skeletonize

GAP, BORDER, NEAR = 5.0, 2, 2


def dice(found: np.ndarray, wire: np.ndarray) -> float:
    if not found.any() and not wire.any():
        return 1.0
    return 1.0 - float(distance.dice(found.ravel(), wire.ravel()))


def iou(found: np.ndarray, wire: np.ndarray) -> float:
    if not found.any() and not wire.any():
        return 1.0
    return 1.0 - float(distance.jaccard(found.ravel(), wire.ravel()))


def thinned(mask: np.ndarray) -> np.ndarray:
    return skeletonize(np.pad(mask, 1))[1:-1, 1:-1]


def cldice(found: np.ndarray, wire: np.ndarray) -> float:
    if not found.any() or not wire.any():
        return float(found.any() == wire.any())
    precision = (thinned(found) & wire).sum() / thinned(found).sum()
    sensitivity = (thinned(wire) & found).sum() / thinned(wire).sum()
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def surface(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask & ~ndimage.binary_erosion(mask, border_value=0))


def surface_distances(found: np.ndarray, wire: np.ndarray) -> tuple[float, float]:
    if not found.any() or not wire.any():
        error = 0.0 if found.any() == wire.any() else float(np.hypot(*found.shape))
        return error, error
    table = distance.cdist(surface(found), surface(wire))
    one, two = table.min(axis=1), table.min(axis=0)
    return max(np.percentile(one, 95), np.percentile(two, 95)), float(np.concatenate([one, two]).mean())


def graph(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of the centreline, lengths of the links between them (infinite: none), shortest paths."""
    line = thinned(mask)
    points = np.argwhere(line)
    apart = distance.cdist(points, points)
    links = np.where((apart > 0) & (apart < 1.5), apart, np.inf)
    part = label_parts(line, connectivity=2)[line]
    for one, two in itertools.combinations(np.unique(part), 2):
        mine, theirs = (part == one)[:, None], (part == two)[None]
        between = np.where(np.triu((mine & theirs) | (mine & theirs).T), apart, np.inf)
        at = np.unravel_index(between.argmin(), between.shape)
        if between[at] <= GAP:
            links[at] = links[at[::-1]] = between[at]
    return points, links, floyd_warshall(links)


def furthest(mask: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Length of the longest way between two ends of the wire, and every pair of ends that far apart."""
    points, links, ways = graph(mask)
    sizes = np.isfinite(ways).sum(axis=1)
    # As the package has it: of two parts of one size, the one that comes first in reading order.
    largest = np.isfinite(ways[sizes.argmax()])
    ends = np.flatnonzero(largest & (np.isfinite(links).sum(axis=1) == 1))
    if len(ends) < 2:
        ends = np.flatnonzero(largest)
    among = ways[np.ix_(ends, ends)]
    pairs = np.argwhere(among >= among.max() - 1e-9)
    return float(among.max()), [points[ends[pair]] for pair in pairs]


def exactly_found(mask: np.ndarray) -> bool:
    """Whether the package looks for the furthest ends among all pairs: they are few, or there is no loop."""
    if not mask.any():
        return True
    _points, links, ways = graph(mask)
    largest = np.isfinite(ways[np.isfinite(ways).sum(axis=1).argmax()])
    ends = int((largest & (np.isfinite(links).sum(axis=1) == 1)).sum())
    return 2 <= ends <= 16 or int(largest.sum()) <= 16


def tip_distances(found: np.ndarray, wire: np.ndarray) -> list[np.ndarray]:
    """Of every choice of furthest ends, the distances of the label's tips in view."""
    if not wire.any():
        return [np.empty(0)]
    options = []
    far = np.array(wire.shape) - 1 - BORDER
    for truth in furthest(wire)[1]:
        seen = ((truth >= BORDER) & (truth <= far)).all(axis=1)
        if not found.any():
            options.append(np.full(int(seen.sum()), np.inf))
            continue
        for ends in furthest(found)[1]:
            both = [np.linalg.norm(truth - ends[list(order)], axis=1) for order in ((0, 1), (1, 0))]
            least = min(each.sum() for each in both)
            options += [each[seen] for each in both if each.sum() <= least + 1e-9]
    return options


def length(mask: np.ndarray) -> float:
    line = thinned(mask)
    total = float(label_parts(line, connectivity=2).max(initial=0))
    for (r, c), (u, v) in itertools.combinations(map(tuple, np.argwhere(line)), 2):
        if abs(r - u) + abs(c - v) == 1:
            total += 1
        elif abs(r - u) == 1 and abs(c - v) == 1 and not line[r, v] and not line[u, c]:
            total += 2**0.5
    return total


def false_components(found: np.ndarray, wire: np.ndarray) -> int:
    parts = label_parts(found, connectivity=2)
    away = ndimage.distance_transform_edt(~wire) if wire.any() else np.full(wire.shape, np.inf)
    return sum(bool(away[parts == part].min() > NEAR) for part in range(1, parts.max() + 1))


def curve(rng: np.random.Generator, side: int = 32, thickness: int = 1) -> np.ndarray:
    """A random wire: a walk that turns slowly, from a random place until it leaves the frame or ends."""
    mask = np.zeros((side, side), bool)
    place, angle = rng.uniform(4, side - 4, 2), rng.uniform(0, 6.28)
    for _ in range(int(rng.integers(side, 4 * side))):
        if not ((place >= 0) & (place < side)).all():
            break
        mask[tuple(place.astype(int))] = True
        angle += rng.normal(0, 0.12)
        place = place + 0.5 * np.array([np.sin(angle), np.cos(angle)])
    return ndimage.binary_dilation(mask, iterations=thickness // 2) if thickness > 1 else mask


def random_pairs(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """A wire and a prediction of it: shifted, broken, with specks, another wire, or noise."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(count):
        wire = curve(rng, thickness=int(rng.choice([1, 3])))
        found = ndimage.shift(wire.astype(int), rng.integers(-2, 3, 2), order=0).astype(bool)
        kind = number % 5
        if kind == 1:
            found &= ndimage.zoom(rng.random((8, 8)), 4, order=0) > 0.25
        elif kind == 2:
            found |= rng.random(wire.shape) > 0.99
        elif kind == 3:
            found = curve(rng, thickness=3)
        elif kind == 4:
            found = rng.random(wire.shape) > rng.uniform(0.3, 0.98)
        pairs.append((found, wire))
    return pairs
