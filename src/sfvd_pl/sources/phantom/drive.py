"""What moves in a run, frame by frame: heart, breath, the operator's hand on the wire, the table."""

from dataclasses import dataclass

import numpy as np

from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.exact import MM_GRID, SHARE_GRID, Array, on_grid
from sfvd_pl.sources.phantom.heart import systole_curve


@dataclass(frozen=True)
class Drive:
    """What moves the body before the camera, frame by frame.

    Args:
        systole: (T,) contraction 0..1.
        breath_mm: (T,) diaphragm towards the head, mm.
        pan_mm: (T, 2) how far the picture's centre has moved over the patient, right and down, mm.
    """

    systole: Array
    breath_mm: Array
    pan_mm: Array

    def at(self, time: float) -> tuple[float, float]:
        """Contraction and breath at a time between two frames, frame numbers, by interpolation."""
        return _between(self.systole, time), _between(self.breath_mm, time)


@dataclass(frozen=True)
class Hand:
    """What the operator does with one wire.

    Args:
        inserted_mm: (T,) length of wire beyond the catheter's end, mm.
        torque_rad: (T,) turn of the wire about its axis.
    """

    inserted_mm: Array
    torque_rad: Array

    def at(self, time: float) -> tuple[float, float]:
        """Inserted length and turn at a time between two frames, frame numbers, by interpolation."""
        return _between(self.inserted_mm, time), _between(self.torque_rad, time)


def _between(values: Array, time: float) -> float:
    time = min(max(time, 0.0), len(values) - 1.0)
    k = min(int(time), max(len(values) - 2, 0))
    rest = time - k
    return float(values[k] if rest == 0 else values[k] + rest * (values[k + 1] - values[k]))


def make_drive(rng: np.random.Generator, config: PhantomConfig) -> Drive:
    """Draw heart rate and phase, breathing, and whether and how the table moves."""
    time = np.arange(config.frames) / config.fps
    systole = systole_curve(time, rng.uniform(*config.heart_hz), rng.uniform())
    depth, rate, phase = rng.uniform(*config.breath_mm), rng.uniform(0.18, 0.35), rng.uniform()
    breathing = depth * 0.5 * (np.cos(2 * np.pi * (rate * time + phase)) - 1.0)
    return Drive(on_grid(systole, SHARE_GRID), on_grid(breathing, MM_GRID), _panning(rng, config, time))


def _panning(rng: np.random.Generator, config: PhantomConfig, time: Array) -> Array:
    """The table's way (T, 2), mm: it starts, moves evenly in one direction and stops, all smoothly; or it rests.

    It is 0 in the middle frame, for which the picture was centred.
    """
    moves, speed = rng.uniform() < config.panning_probability, rng.uniform(*config.panning_mm_s)
    angle, start, lasts = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.7), rng.uniform(0.4, 1.2)
    if not moves:
        return np.zeros((len(time), 2))
    fine = np.arange(0, time[-1] + 1e-3, 1e-3)
    pace = np.clip(np.minimum(fine - start * time[-1], start * time[-1] + lasts - fine) / 0.15, 0, 1)
    way = np.interp(time, fine, np.cumsum(speed * 1e-3 * (3 - 2 * pace) * pace * pace))
    way -= way[len(way) // 2]
    return on_grid(way[:, None] * np.array([np.cos(angle), np.sin(angle)]), MM_GRID)


def make_hand(rng: np.random.Generator, config: PhantomConfig, inserted: float, least: float) -> Hand:
    """Draw what the hand does, from ``inserted`` mm on, never below ``least`` mm.

    It holds still in half of the runs; it advances or retracts at up to 20 mm/s in three tenths, and goes to and fro
    in the rest. In some of those runs it turns the wire as well, by up to a turn a second.
    """
    time = np.arange(config.frames) / config.fps
    deed, way = rng.uniform(), rng.choice([-1.0, 1.0])
    speed, pace, phase = rng.uniform(4, 20), rng.uniform(0.5, 1.5), rng.uniform()
    reach, turning, spin = rng.uniform(2, 8), rng.uniform(), rng.uniform(-2 * np.pi, 2 * np.pi)
    length = np.full(config.frames, inserted)
    if 0.5 <= deed < 0.8:
        feed = way * speed * np.sin(np.pi * (pace * time + phase)) ** 2 / config.fps
        length = np.maximum(inserted + np.cumsum(feed), least)
    elif deed >= 0.8:
        rate = min(pace, speed / (2 * np.pi * reach))  # the hand is no faster when it goes to and fro
        length = np.maximum(inserted + reach * np.sin(2 * np.pi * (rate * time + phase)), least)
    torque = spin * time if deed >= 0.5 and turning < 0.4 else np.zeros(config.frames)
    return Hand(on_grid(length, MM_GRID), on_grid(torque, SHARE_GRID))
