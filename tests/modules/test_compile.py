"""The compiled network computes what the plain one computes, in one graph."""

from unittest import mock

import pytest
import torch
from torch._dynamo.utils import counters

from sfvd_pl.modules.motion import MotionModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.networks import UNetConfig, WireCondition

TOY = UNetConfig(block_out_channels=(8, 16), norm_num_groups=4)


@pytest.mark.parametrize("frames", [1, 3])
def test_compiled_network_is_one_graph_with_the_same_result(frames: int) -> None:
    torch._dynamo.reset()
    counters.clear()
    condition = WireCondition(torch.rand(2, 4, frames, 16, 16), torch.rand(2, frames))
    times = torch.tensor([10, 900])
    if frames == 1:
        network: torch.nn.Module = SceneModule(network=TOY).network
        arguments = (torch.randn(2, 1, 16, 16), times, condition)
    else:
        network = MotionModule(network=TOY).network
        arguments = (torch.randn(2, 1, 3, 16, 16), times, condition, torch.rand(2, 9, 16, 16), torch.zeros(2))
    plain = network(*arguments)
    names = list(network.state_dict())
    network.compile(backend="eager")
    assert torch.equal(network(*arguments), plain)
    assert not counters["graph_break"]
    assert list(network.state_dict()) == names  # checkpoints fit with and without compiling


@pytest.mark.parametrize("wanted", [True, False])
def test_network_is_compiled_for_training_when_asked(wanted: bool) -> None:
    module = SceneModule(network=TOY, compile_network=wanted)
    with mock.patch.object(torch.nn.Module, "compile") as compiled, mock.patch(
        "sfvd_pl.modules.base.RecordedModule.setup"
    ):
        module.setup("predict")
        assert not compiled.called
        module.setup("fit")
        assert compiled.called is wanted
