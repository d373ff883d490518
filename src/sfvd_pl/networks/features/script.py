"""A feature network that a user brings as a TorchScript file, such as the Inception network of published FIDs."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfvd_pl.artifacts import file_hash
from sfvd_pl.errors import ConfigError
from sfvd_pl.networks.features.space import NetworkSpace, resized

SIZE = 299
"""Side of the pictures that it is given: Inception's."""


def script_space(path: Path | str, device: torch.device | str = "cpu") -> NetworkSpace:
    """The network in a TorchScript file, named after the file.

    It is called with pictures ``B 3 299 299`` of 8 bit (0 to 255, three equal channels) and must return ``B D``. Where
    its ``forward`` takes ``return_features``, as in ``inception-2015-12-05.pt`` of NVIDIA's StyleGAN, that is set. Such
    a file holds a program: load only one from somebody you trust.

    Raises:
        ConfigError: No such file, no TorchScript, or it returns something else.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError("there is no such feature network", file=path, expected="a TorchScript file")
    try:
        load: Any = torch.jit.load  # untyped
        network = load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise ConfigError(
            "the feature network can't be loaded",
            file=path,
            expected="a TorchScript file, written by torch.jit.save",
            found=str(error).splitlines()[0][:200],
            remedy="a state dict has no network: script the network that it belongs to, and save that",
        ) from error
    named = [argument.name for argument in network.forward.schema.arguments]
    options: dict[str, Any] = {"return_features": True} if "return_features" in named else {}

    def embed(images: Tensor) -> Tensor:
        pictures = (resized(images, SIZE) * 255.0).round().clamp(0, 255).to(torch.uint8)
        found: Tensor = network(pictures.repeat(1, 3, 1, 1), **options)
        return found

    return NetworkSpace(
        name=f"torchscript {path.name}",
        kind="frame",
        num_features=_width(embed, path, torch.device(device)),
        weights_sha256=file_hash(path),
        resizing=f"{SIZE}x{SIZE} px, bilinear, antialiased, 8 bit",
        function=embed,
        device=torch.device(device),
    )


def _width(embed: Any, path: Path, device: torch.device) -> int:
    """Length of its vectors, by trying it on two grey pictures."""
    try:
        with torch.inference_mode():
            found = embed(torch.full((2, 1, 8, 8), 0.5, device=device))
    except RuntimeError as error:
        found = error
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 2:
        shape = tuple(found.shape) if isinstance(found, Tensor) else str(found).strip().splitlines()[-1][:200]
        raise ConfigError(
            "the feature network doesn't turn pictures into vectors",
            file=path,
            expected="a tensor (2, D) for 8-bit pictures (2, 3, 299, 299)",
            found=shape,
        )
    return int(found.shape[1])
