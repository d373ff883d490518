"""Diffusion as tensor mathematics: no training loop, no files, no network architecture."""

from sfvd_pl.diffusion.consistency import (
    FrameConsistency,
    IndependentNoise,
    MixedNoise,
    ProgressiveNoise,
    consistency_names,
    make_consistency,
    register_consistency,
)
from sfvd_pl.diffusion.guidance import (
    Denoiser,
    GuidanceContext,
    SegmentationGuidance,
    Segmenter,
    X0Guidance,
    band_loss,
    classifier_free,
    guidance_active,
)
from sfvd_pl.diffusion.loss import min_snr_weight, weighted_mse, wire_band
from sfvd_pl.diffusion.noise import (
    sample_generator,
    sample_noise,
    sample_seed,
    sample_timesteps,
    sample_uniform,
)
from sfvd_pl.diffusion.prediction import Prediction, PredictionType
from sfvd_pl.diffusion.sampler import Sampler, SamplerConfig, inference_timesteps
from sfvd_pl.diffusion.schedule import NoiseSchedule, ScheduleConfig
from sfvd_pl.diffusion.times import TimestepDensity

__all__ = [
    "Denoiser",
    "FrameConsistency",
    "GuidanceContext",
    "IndependentNoise",
    "MixedNoise",
    "NoiseSchedule",
    "Prediction",
    "PredictionType",
    "ProgressiveNoise",
    "Sampler",
    "SamplerConfig",
    "ScheduleConfig",
    "SegmentationGuidance",
    "Segmenter",
    "TimestepDensity",
    "X0Guidance",
    "band_loss",
    "classifier_free",
    "consistency_names",
    "guidance_active",
    "inference_timesteps",
    "make_consistency",
    "min_snr_weight",
    "register_consistency",
    "sample_generator",
    "sample_noise",
    "sample_seed",
    "sample_timesteps",
    "sample_uniform",
    "weighted_mse",
    "wire_band",
]
