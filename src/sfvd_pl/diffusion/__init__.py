"""Diffusion as tensor mathematics: no training loop, no files, no network architecture."""

from sfvd_pl.diffusion.consistency import share_coarse
from sfvd_pl.diffusion.guidance import SegmentationGuidance, Segmenter, X0Guidance, guidance_active
from sfvd_pl.diffusion.loss import min_snr_weight, weighted_mse, wire_band
from sfvd_pl.diffusion.noise import (
    sample_generator,
    sample_noise,
    sample_seed,
)
from sfvd_pl.diffusion.prediction import Prediction, PredictionType
from sfvd_pl.diffusion.sampler import Denoiser, Sampler, SamplerConfig, inference_timesteps
from sfvd_pl.diffusion.schedule import NoiseSchedule, ScheduleConfig

__all__ = [
    "Denoiser",
    "NoiseSchedule",
    "Prediction",
    "PredictionType",
    "Sampler",
    "SamplerConfig",
    "ScheduleConfig",
    "SegmentationGuidance",
    "Segmenter",
    "X0Guidance",
    "guidance_active",
    "inference_timesteps",
    "min_snr_weight",
    "sample_generator",
    "sample_noise",
    "sample_seed",
    "share_coarse",
    "weighted_mse",
    "wire_band",
]
