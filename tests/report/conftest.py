"""Made-up numbers and clips for the report: plausible, small, and the same each time."""

import copy
from typing import Any

import numpy as np
import pytest
from temporal_examples import temporal_sections

from sfvd_pl.metrics.arms import segmentation_section
from sfvd_pl.metrics.calibration import gate_section, visibility_section
from sfvd_pl.metrics.segmentation import MEASURES
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
    reasons = ["" if i % 5 else ("label not found" if i % 2 else "wire below visibility") for i in range(120)]
    patients = [f"p{i:02d}" for i in range(6)]
    measured_sections = copy.deepcopy(temporal_sections())

    def tables(shift: float) -> list[dict[str, dict[str, float]]]:
        return [
            {
                patient: {
                    name: float(np.clip(0.62 + shift + generator.normal(0, 0.07), 0, 1))
                    * (9 if "px" in name else 1)
                    for name in MEASURES
                }
                for patient in patients
            }
            for _ in range(2)
        ]

    arms = {"real only": tables(0.0), "classical": tables(0.03), "real + synthetic": tables(0.12)}
    stages = [
        ("stage1", 318.2, "scenes.h5"),
        ("stage2", 1240.0, "motions.h5"),
        ("augment", 96.0, "synthetic.h5"),
    ]
    edges = [float("-inf"), 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, float("inf")]
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
        "sets": {"synthetic": {"title": "synthetic", "identity": "0" * 64, "clips": 120, "patients": 3}},
        "not_measured": {},
        "label_fidelity": {
            "synthetic": {"dice": 0.74, "low": 0.70, "high": 0.78, "n_clips": 96},
            "real": {"dice": 0.81, "low": 0.75, "high": 0.86, "n_clips": 12},
            "ratio": 0.74 / 0.81,
            "shuffled": {"dice": 0.04},
            "by_frame": {
                "synthetic": [0.80, 0.78, 0.77, 0.75, 0.73, 0.72, 0.71, 0.68],
                "real": [0.81, 0.80, 0.82, 0.81, 0.80, 0.81, 0.82, 0.81],
            },
            "drift": 0.85,
            "by_visibility": [
                {
                    "low": low,
                    "high": high,
                    "synthetic": 0.35 + 0.07 * i,
                    "real": float("nan") if i == 0 else 0.45 + 0.06 * i,
                    "n_synthetic": 40 + 60 * i,
                    "n_real": 12 * i,
                }
                for i, (low, high) in enumerate(zip(edges, edges[1:], strict=False))
            ],
        },
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
        "motion": measured_sections["motion"],
        "wire": measured_sections["wire"],
        "visibility": visibility_section(requested, measured),
        "gate": gate_section(
            np.array([not reason for reason in reasons]),
            reasons,
            dice_threshold=0.5,
            visibility_threshold=0.6,
        ),
        "segmentation": segmentation_section(arms, seeds=[0, 1], n=400),
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
