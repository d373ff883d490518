"""Networks: the scene U-Net, the motion U-Net (the scene inflated over time), wire segmenters."""

from sfvd_pl.networks.condition import ScalarEmbedding, WireCondition
from sfvd_pl.networks.motion import MotionUNet, pack_context
from sfvd_pl.networks.scene import SceneUNet, UNetConfig
from sfvd_pl.networks.segmenter import SegmenterConfig, WireSegmenter, normalise_frames

__all__ = [
    "MotionUNet",
    "SceneUNet",
    "ScalarEmbedding",
    "SegmenterConfig",
    "UNetConfig",
    "WireCondition",
    "WireSegmenter",
    "normalise_frames",
    "pack_context",
]
