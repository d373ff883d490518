"""Made-up numbers and clips for the report: plausible, small, and the same each time."""

import copy
from typing import Any

import numpy as np
import pytest
from feature_examples import feature_sections
from memorisation_example import memorisation_example
from temporal_examples import temporal_sections

from sfvd_pl.metrics.arms import segmentation_section
from sfvd_pl.metrics.calibration import gate_section, visibility_section
from sfvd_pl.metrics.label import MEASURES as FIDELITY
from sfvd_pl.metrics.scores import DEFINITIONS, MEASURES, FrameScores, ScoredFrames
from sfvd_pl.metrics.visibility import VISIBILITY_EDGES
from sfvd_pl.report.media import MediaClips, ReportMedia


def made_up_clips(count: int, frames: int, size: int, *, seed: int, contrast: float = 40.0) -> MediaClips:
    """Dark curves that sway over a smooth background with grain."""
    generator = np.random.default_rng(seed)
    rows = np.arange(size // 8, size - size // 8)
    clips = np.empty((count, frames, size, size), dtype=np.uint8)
    masks = np.zeros_like(clips)
    ramp = np.linspace(0, 40, size)
    for k in range(count):
        bend, phase = generator.uniform(0.1, 0.25), generator.uniform(0, 6)
        for t in range(frames):
            sway = size * (0.5 + bend * np.sin(phase + rows / size * 5 + 0.3 * t))
            columns = np.clip(np.rint(sway).astype(int), 0, size - 1)
            masks[k, t, rows, columns] = 1
            picture = (
                110 + ramp + ramp[:, None] + generator.normal(0, 9, (size, size)) - contrast * masks[k, t]
            )
            clips[k, t] = np.clip(picture, 0, 255)
    titles = tuple(f"p{k:02d}/run{k % 3}, CNR {1 + 0.4 * k:.1f}" for k in range(count))
    return MediaClips(clips, masks, titles)


def made_up_metrics() -> dict[str, Any]:
    """Every section of a metrics file, as its own helpers make it."""
    generator = np.random.default_rng(3)
    requested = generator.uniform(0.3, 5.0, 120)
    measured = 0.85 * requested + 0.3 + generator.normal(0, 0.45, 120)
    reasons = ["" if i % 5 else ("lost in the noise" if i % 2 else "drawn in part") for i in range(120)]
    patients = [f"p{i:02d}" for i in range(6)]
    measured_sections = copy.deepcopy(temporal_sections())

    def tables(shift: float) -> list[FrameScores]:
        """Two seeds; three frames of each of six patients."""
        scales = [9.0 if measure.unit in ("px", "mm") else 1.0 for measure in DEFINITIONS]
        whole = 0.62 + shift + generator.normal(0, 0.07, (2, 18, len(MEASURES)))
        return [FrameScores(np.clip(values, 0, 1) * scales) for values in whole]

    arms = {"real only": tables(0.0), "classical": tables(0.03), "real + synthetic": tables(0.12)}
    frames = ScoredFrames(
        clip=np.repeat(np.arange(6), 3),
        frame=np.tile(np.arange(3), 6),
        visibility=generator.uniform(0.2, 4.5, 18),
        spacing_mm=np.full(18, 0.3),
        names=tuple(f"{patient}/r0" for patient in patients),
        patients=tuple(patients),
    )
    stages = [
        ("stage1", 318.2, "scenes.h5"),
        ("stage2", 1240.0, "motions.h5"),
        ("augment", 96.0, "synthetic.h5"),
    ]
    return {
        "schema_version": 2,
        "run": "tiny-demo",
        "preset": "tiny",
        "seed": 7,
        "machine": {"cpu": "2 cores", "device": "cpu", "torch": "2.13.0", "python": "3.11.7"},
        "stages": [
            {
                "name": name,
                "seconds": seconds,
                "made": [
                    {
                        "name": made,
                        "content_hash": f"{abs(hash(made)):064x}",
                        "patients": ["p10", "p11", "p12"],
                    }
                ],
            }
            for name, seconds, made in stages
        ],
        "sets": {
            "synthetic": {
                "title": "synthetic",
                "identity": "0" * 64,
                "clips": 120,
                "patients": 3,
                "backgrounds": {"p10": 70, "p11": 26},
            }
        },
        "not_measured": {},
        **copy.deepcopy(feature_sections()),
        "label_fidelity": made_up_fidelity(),
        "noise": {
            "pixel_std": {"synthetic": 0.141, "real": 0.152, "ratio": 0.141 / 0.152},
            "residual_std": {"synthetic": 0.027, "real": 0.033, "ratio": 0.027 / 0.033},
            "residual_autocorrelation": {
                "lags": [1, 2, 3],
                "synthetic": [0.19, 0.12, 0.10],
                "real": [0.05, 0.04, 0.04],
                "difference": 0.14,
            },
            **{key: measured_sections["noise"][key] for key in ("lags", "frequencies", "reference", "rows")},
        },
        "seam": measured_sections["seam"],
        "motion": measured_sections["motion"],
        "wire": measured_sections["wire"],
        "visibility": visibility_section(requested, measured, np.array([not reason for reason in reasons])),
        "gate": gate_section(
            np.array([not reason for reason in reasons]),
            reasons,
            {"attenuation_cnr": 0.3, "drawn_share": 0.8, "dice": 0.31, "min_labelled_clips": 8},
        ),
        "segmentation": segmentation_section(arms, frames, seeds=[0, 1], n=400),
        "memorisation": copy.deepcopy(memorisation_example()),
    }


def made_up_fidelity() -> dict[str, Any]:
    """Label fidelity with a label that is lost as a clip goes on."""

    def values(dice: float, reach: float = 0.04) -> dict[str, dict[str, float]]:
        ones = dict.fromkeys(FIDELITY, dice) | {"tip_error_px": 9 - 9 * dice, "cldice": min(1, dice + 0.05)}
        return {
            name: {"mean": value, "low": value - reach, "high": min(value + reach, 1 if "dice" in name else 99)}
            for name, value in ones.items()
        }

    def row(name: str, dice: float, n: int, by_frame: list[float], by_visibility: list[float]) -> dict[str, Any]:
        bins = zip(VISIBILITY_EDGES, VISIBILITY_EDGES[1:], by_visibility, strict=False)
        return {
            "name": name,
            "n": n,
            "n_groups": n // 2,
            **values(dice),
            "drift": by_frame[-1] / by_frame[0],
            "by_frame": [{"frame": t, "n": n, **values(value)} for t, value in enumerate(by_frame)],
            "by_visibility": [
                {"low": low, "high": high, "n": n * (k + 1), **values(value)}
                for k, (low, high, value) in enumerate(bins)
            ],
        }

    steady = [0.81, 0.80, 0.82, 0.81, 0.80, 0.81, 0.82, 0.81]
    falling = [0.80, 0.78, 0.77, 0.75, 0.73, 0.72, 0.71, 0.68]
    scores = {"n_frames": 8, "visibility": 0.7, "dice": 0.1, "cldice": 0.15, "tip_error_px": 20.5}
    return {
        "rows": [
            row("synthetic", 0.74, 96, falling, [0.35 + 0.07 * k for k in range(7)]),
            row("real", 0.81, 12, steady, [float("nan"), *(0.51 + 0.06 * k for k in range(6))]),
            row("shuffled", 0.05, 96, [0.05] * 8, [float("nan")] * 7),
        ],
        "ratio": {"dice": 0.74 / 0.81, "cldice": 0.79 / 0.86},
        "clips": [{"number": 17, "name": "c17", **scores, "length_ratio": 0.4, "false_components": 1.5}],
    }


def made_up_media(size: int = 32, frames: int = 4) -> ReportMedia:
    """Every group of clips, the worst ones with predictions."""
    worst = made_up_clips(2, frames, size, seed=5, contrast=10.0)
    predicted = np.roll(worst.wire_masks, 3, axis=-1)
    return ReportMedia(
        real=made_up_clips(3, frames, size, seed=1),
        synthetic=made_up_clips(4, frames, size, seed=2),
        rejected=made_up_clips(1, frames, size, seed=4, contrast=3.0),
        worst=MediaClips(worst.clips, worst.wire_masks, worst.titles, predicted),
    )


@pytest.fixture(scope="session")
def original_metrics() -> dict[str, Any]:
    """A whole metrics file, not to be changed."""
    return made_up_metrics()


@pytest.fixture
def metrics(original_metrics: dict[str, Any]) -> dict[str, Any]:
    """A whole metrics file of one's own."""
    return copy.deepcopy(original_metrics)


@pytest.fixture(scope="session")
def media() -> ReportMedia:
    """Every group of clips, small."""
    return made_up_media()
