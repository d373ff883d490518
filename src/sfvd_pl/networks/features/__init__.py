"""Feature spaces: networks that turn pictures or clips into vectors whose distributions are compared."""

from sfvd_pl.networks.features.domain import FeatureNetwork, FeatureNetworkConfig
from sfvd_pl.networks.features.imagenet import imagenet_space
from sfvd_pl.networks.features.script import script_space
from sfvd_pl.networks.features.space import FeatureSpace, NetworkSpace, resized

__all__ = [
    "FeatureNetwork",
    "FeatureNetworkConfig",
    "FeatureSpace",
    "NetworkSpace",
    "imagenet_space",
    "resized",
    "script_space",
]
