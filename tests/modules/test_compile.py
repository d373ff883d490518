"""The compiled network computes what the plain one computes, in one graph."""

import subprocess
import sys
from unittest import mock

import pytest
import torch

from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.networks import UNetConfig

TOY = UNetConfig(block_out_channels=(8, 16), norm_num_groups=4)

# In a process of its own: the run-time check of shapes that the tests put on every function can't be compiled.
PROGRAM = """
import torch
from torch._dynamo.utils import counters
from sfvd_pl.networks import MotionUNet, SceneUNet, UNetConfig, WireCondition

toy = UNetConfig(block_out_channels=(8, 16), norm_num_groups=4)
torch.manual_seed(0)
times = torch.tensor([10, 900])
cases = [
    (SceneUNet(toy), (torch.randn(2, 1, 16, 16), times, WireCondition(torch.rand(2, 5, 1, 16, 16)))),
    (
        MotionUNet(toy, 2),
        (
            torch.randn(2, 1, 3, 16, 16),
            times,
            WireCondition(torch.rand(2, 5, 3, 16, 16)),
            torch.rand(2, 6, 16, 16),
            torch.zeros(2),
        ),
    ),
]
for network, arguments in cases:
    plain, names = network(*arguments), list(network.state_dict())
    network.compile(backend="eager", fullgraph=True)
    assert torch.equal(network(*arguments), plain)
    assert list(network.state_dict()) == names, "checkpoints fit with and without compiling"
assert counters["stats"]["unique_graphs"] == 2, counters["stats"]
print("compiled")
"""


def test_compiled_networks_are_one_graph_each_with_the_same_result() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "compiled"


@pytest.mark.parametrize("wanted", [True, False])
def test_network_is_compiled_for_training_when_asked(wanted: bool) -> None:
    module = SceneModule(network=TOY, compile_network=wanted)
    with (
        mock.patch.object(torch.nn.Module, "compile") as compiled,
        mock.patch("sfvd_pl.modules.base.RecordedModule.setup"),
    ):
        module.setup("predict")
        assert not compiled.called
        module.setup("fit")
        assert compiled.called is wanted
