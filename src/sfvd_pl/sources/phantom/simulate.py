"""A simulator of cardiac fluoroscopy with a guidewire: clips with exact masks, and wire mask sequences alone.

Every clip depends on (seed, patient, clip) and on nothing else; the patient's body on (seed, patient).
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache
from itertools import islice, product
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.signals import end_pool
from sfvd_pl.sources.clip import Clip, Pixels
from sfvd_pl.sources.phantom.anatomy import Thorax, make_thorax
from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.heart import Heart, make_heart
from sfvd_pl.sources.phantom.run import Run, Stage, draw_mask, make_stage

__all__ = ["PhantomConfig", "simulate_clips", "simulate_wire_masks"]

WIRE_DIAMETERS_MM = (0.254, 0.356, 0.356, 0.356, 0.457)
"""0.010, 0.014 (the usual one) and 0.018 inch."""
LEAST_PIXELS = 20
"""Wire pixels that every frame shows at least."""
ATTEMPTS = 200
AHEAD = 2
"""Clips a process that may be waiting to be taken: bounds the memory."""


def simulate_clips(config: PhantomConfig, seed: int, *, workers: int = 0) -> Iterator[Clip]:
    """Yield the clips of a data set, patient by patient, one at a time.

    Args:
        config: Size and physics.
        seed: The same seed and config give the same bytes.
        workers: Processes that simulate; the clips and their order are the same for any number. 0: this process.

    Yields:
        Clips named ``pNN/rNN``, every frame annotated, each frame with at least ``LEAST_PIXELS`` wire pixels.

    Raises:
        ConfigError: A negative seed or number of processes, or frames too small to show the wire.
        SourceError: One of the processes was ended from outside.
    """
    for key, value in (("seed", seed), ("workers", workers)):
        if value < 0:
            raise ConfigError(f"no such {key}", key=key, expected=">= 0", found=value)
    numbers = product(range(config.patients), range(config.clips_per_patient))
    if workers == 0:
        for patient, clip in numbers:
            yield _simulate(config, seed, patient, clip)
        return
    # a fresh interpreter for each: a fork of a process with threads (torch, HDF5) may hang
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        waiting = deque(
            pool.submit(_simulate, config, seed, *each) for each in islice(numbers, workers * AHEAD)
        )
        while waiting:
            clip_ = waiting.popleft().result()
            waiting.extend(pool.submit(_simulate, config, seed, *each) for each in islice(numbers, 1))
            yield clip_
    except BrokenProcessPool as error:
        raise SourceError(
            "a simulating process was ended, perhaps for lack of memory",
            key="workers",
            found=workers,
            remedy="use fewer",
        ) from error
    except BaseException:
        end_pool(pool)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=2)
def _body(seed: int, patient: int, distractor_probability: float) -> tuple[Heart, Thorax]:
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1, patient]))
    heart = make_heart(rng)
    return heart, make_thorax(rng, heart, distractor_probability)


def _simulate(config: PhantomConfig, seed: int, patient: int, clip: int) -> Clip:
    heart, thorax = _body(seed, patient, config.distractor_probability)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2, patient, clip]))
    image, wire_mask, stage = _film(config, rng, heart, thorax)
    name = f"p{patient + 1:02d}"
    return Clip(
        name=f"{name}/r{clip + 1:02d}",
        patient=name,
        image=image,
        wire_mask=wire_mask,
        annotated=np.ones(config.frames, np.bool_),
        fps=config.fps,
        spacing_mm=config.spacing_mm,
        intensity_max=config.intensity_max,
        origin="phantom",
        intensity="linear",
        angles_deg=stage.angles_deg,
    )


def simulate_wire_masks(
    seed: int,
    frames: int,
    height: int,
    width: int,
    *,
    width_px: float = 1.5,
    fps: float = 15.0,
    second_wire_probability: float = 0.0,
) -> npt.NDArray[np.uint8]:
    """A wire's masks in a run of its own: another heart, angle, wire, tip, beat, hand and table for every seed.

    Args:
        seed: Decides everything.
        frames: Number of frames T.
        height: Frame height, px.
        width: Frame width, px.
        width_px: Width of the projected wire, px.
        fps: Frames a second, Hz.
        second_wire_probability: Share of the seeds with a second wire; both are in the mask.

    Returns:
        (T, H, W) uint8, 1 on the wire, at least ``LEAST_PIXELS`` in every frame.

    Raises:
        ConfigError: The frame is too small, or a number isn't positive.
    """
    limits = (("seed", seed, 0), ("frames", frames, 1), ("height", height, 32), ("width", width, 32))
    for key, value, least in limits:
        if value < least:
            raise ConfigError("no wire can be simulated there", key=key, expected=f">= {least}", found=value)
    if not (0 < width_px <= 8 and fps > 0):
        found = f"width_px {width_px}, fps {fps}"
        raise ConfigError(
            "no such wire", key="width_px, fps", expected="0 < width_px <= 8, fps > 0", found=found
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    config = replace(
        PhantomConfig(), frames=frames, height=height, width=width, fps=fps, view_mm=(45.0, 85.0),
        pulse_ms=(0.0, 0.0), second_wire_probability=second_wire_probability,
    )  # fmt: skip
    for _ in range(ATTEMPTS):
        stage = make_stage(rng, config, make_heart(rng), width_px / 2)
        masks = np.zeros((frames, height, width), np.uint8)
        for frame, mask in enumerate(masks):
            draw_mask(stage.shadows(frame), mask)
            if int(mask.sum()) < LEAST_PIXELS:
                break
        else:
            return masks
    raise ConfigError(
        "no visible wire found", key="seed", expected="any", found=seed, remedy="use another seed"
    )


def _film(
    config: PhantomConfig, rng: np.random.Generator, heart: Heart, thorax: Thorax
) -> tuple[Pixels, npt.NDArray[np.uint8], Stage]:
    """One run's frames and masks (T, H, W). Where the wire would be out of the picture it is staged again."""
    diameter = float(rng.choice(WIRE_DIAMETERS_MM))
    for _ in range(ATTEMPTS):
        stage = make_stage(rng, config, heart, diameter / config.spacing_mm / 2)
        shadows = [stage.shadows(frame) for frame in range(config.frames)]
        masks = np.zeros((config.frames, config.height, config.width), np.uint8)
        for mask, each in zip(masks, shadows, strict=True):
            draw_mask(each, mask)
        if int(masks.sum(axis=(1, 2)).min()) < LEAST_PIXELS:
            continue
        run = Run(config, rng, stage, thorax)
        masks[:, run.detector.field <= 0.5] = 0
        if int(masks.sum(axis=(1, 2)).min()) >= LEAST_PIXELS:
            return run.film(shadows), masks, stage
    raise ConfigError(
        "no C-arm position shows the wire",
        key="view_mm",
        expected=f"{LEAST_PIXELS} wire pixels in every frame",
        found=f"{config.height} x {config.width} px, view_mm {config.view_mm}",
        remedy="use larger frames or a smaller view_mm",
    )
