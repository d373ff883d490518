"""Time of every measure of segmentation on a frame, and where the two ways to the nearest surface break even.

``python -m tests.bench.bench_scores`` prints milliseconds of CPU a frame by size and kind of prediction.
"""

import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from sfvd_pl.metrics import segmentation
from sfvd_pl.metrics.scores import score_frame
from sfvd_pl.metrics.wire import Wire, tip_distances

SIZES = (96, 256, 512)


def wire(side: int, phase: float) -> np.ndarray:
    """A curved wire 3 px wide across the frame."""
    t = np.linspace(0, 1, 8 * side)
    mask = np.zeros((side, side), bool)
    rows, columns = side * (0.5 + 0.25 * np.sin(6 * t + phase)), side * (0.2 + 0.6 * t)
    mask[rows.astype(int), columns.astype(int)] = True
    return ndimage.binary_dilation(mask)


def predictions(side: int) -> dict[str, np.ndarray]:
    """What a segmenter may say: nearly right, another wire, with specks, noise, everything."""
    rng = np.random.default_rng(0)
    near = np.roll(wire(side, 0.0), 2, axis=0)
    return {
        "2 px beside": near,
        "another wire": wire(side, 2.0),
        "with specks": near | (rng.random(near.shape) > 0.9995),
        "noise": rng.random(near.shape) > 0.7,
        "everything": np.ones_like(near),
    }


def milliseconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Least of some runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def main() -> None:
    """Print a table."""
    parts = {
        "clDice": lambda found, label: segmentation.cldice(Wire(found), label),
        "surfaces": lambda found, label: segmentation.surface_distances(Wire(found), label),
        "tips": lambda found, label: tip_distances(Wire(found), label),
        "false wires": lambda found, label: segmentation.false_components(Wire(found), label),
    }
    print("| frame | prediction | all | " + " | ".join(parts) + " | tree | transform |")
    print("| --- | --- | --- |" + " --- |" * (len(parts) + 2))
    for side in SIZES:
        label = Wire(wire(side, 0.0))
        for name, found in predictions(side).items():
            score_frame(found, label)
            cells = [milliseconds(lambda f=found, w=label: score_frame(f, w))]
            cells += [milliseconds(lambda p=part, f=found, w=label: p(f, w)) for part in parts.values()]
            kept = segmentation._PIXELS_PER_POINT
            for forced in (0, 10**9):
                segmentation._PIXELS_PER_POINT = forced
                cells.append(milliseconds(lambda f=found, w=label: segmentation.surface_distances(Wire(f), w)))
            segmentation._PIXELS_PER_POINT = kept
            print(f"| {side} | {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
