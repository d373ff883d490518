import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import UNET, motion_module, save_model, scene_module, segmentation_module

from sfvd_pl.artifacts import Kind
from sfvd_pl.diffusion import SamplerConfig, ScheduleConfig
from sfvd_pl.errors import CheckpointError
from sfvd_pl.modules.base import ObjectiveConfig, OptimiserConfig
from sfvd_pl.modules.checkpoint import RECORD_KEY, from_plain, load_for_inference, read_checkpoint, to_plain
from sfvd_pl.modules.motion import HistoryConfig, MotionModule
from sfvd_pl.modules.scene import SceneModule
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.modules.wire_loss import SegmentationLossConfig
from sfvd_pl.networks import SegmenterConfig, UNetConfig

share = st.floats(0, 1, allow_nan=False)
CONFIGS = st.one_of(
    st.builds(
        ObjectiveConfig,
        prediction_type=st.sampled_from(["v_prediction", "sample"]),
        schedule=st.builds(ScheduleConfig, name=st.just("shifted_cosine"), shift=st.floats(0.5, 4)),
        snr_gamma=st.none() | st.floats(1, 9),
    ),
    st.builds(
        OptimiserConfig, lr=st.floats(1e-6, 1), betas=st.tuples(share, share), warmup_steps=st.integers(0, 99)
    ),
    st.builds(
        SamplerConfig,
        name=st.sampled_from(["ddim", "dpmpp_2m"]),
        num_inference_steps=st.integers(2, 50),
        eta=share,
        clip_x0=st.none() | st.tuples(st.floats(-2, -1), st.floats(1, 2)),
    ),
    st.builds(
        UNetConfig,
        block_out_channels=st.lists(st.sampled_from([8, 16, 24]), min_size=1, max_size=4).map(tuple),
        gradient_checkpointing=st.booleans(),
        unshuffle=st.integers(1, 4),
    ),
    st.builds(SegmenterConfig, features=st.tuples(*[st.integers(1, 64)] * 6), dropout=share),
    st.builds(HistoryConfig, frames=st.integers(0, 5), level=st.just(0.0)),
    st.builds(SegmentationLossConfig, skeleton_iterations=st.integers(1, 9)),
)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


@given(config=CONFIGS)
def test_settings_survive_the_checkpoint(config: Any) -> None:
    plain = to_plain(config)
    assert _is_plain(plain)
    assert from_plain(type(config), plain) == config
    assert from_plain(type(config) | None, plain) == config


def test_other_values_become_plain() -> None:
    assert to_plain({"kind": Kind.SOURCE, "path": Path("a/b"), "pair": (1, None)}) == {
        "kind": "source",
        "path": "a/b",
        "pair": [1, None],
    }
    assert from_plain(Kind, "source") is Kind.SOURCE
    assert from_plain(UNetConfig | None, None) is None


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(CheckpointError, match="depth"):
        from_plain(UNetConfig, {"depth": 3})


@pytest.mark.parametrize("make", [scene_module, motion_module, segmentation_module])
def test_a_saved_module_comes_back_as_it_was(tmp_path: Path, source: Path, make: Any) -> None:
    module = make(seed=9)
    path = save_model(module, tmp_path / "m.ckpt", source)
    loaded = load_for_inference(type(module), path)
    assert loaded.recorded_config == module.recorded_config
    assert loaded.learned_from == module.learned_from
    assert all(torch.equal(v, module.state_dict()[k]) for k, v in loaded.state_dict().items())
    assert loaded.intensity.tolist() == module.intensity.tolist()
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


def test_another_kind_of_model_is_refused(models: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"expected: SegmentationModule[\s\S]*found: SceneModule"):
        load_for_inference(SegmentationModule, models["scene"])


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such checkpoint[\s\S]*nowhere.ckpt"):
        load_for_inference(SceneModule, tmp_path / "nowhere.ckpt")


def test_garbage_is_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    path = tmp_path / "bad.ckpt"
    for content in (b"", b"not a checkpoint", models["scene"].read_bytes()[:2000]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="can't be read"):
            read_checkpoint(path)


def test_a_checkpoint_of_somebody_else_is_refused(tmp_path: Path) -> None:
    for content in ({"state_dict": {}}, [1, 2], torch.zeros(3)):
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(CheckpointError, match="not written by this project"):
            read_checkpoint(tmp_path / "other.ckpt")


class _Mischief:
    """Runs something when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    mischief = _Mischief(tmp_path / "done")
    torch.save({RECORD_KEY: mischief}, tmp_path / "bad.ckpt")
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(mischief))
    for name in ("bad.ckpt", "bad.pkl"):
        with pytest.raises(CheckpointError, match="can't be read"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"network": {**to_plain(UNET), "block_out_channels": [8, 24]}},
        {"network": {**to_plain(UNET), "layers_per_block": 2}},
        {"network": {**to_plain(UNET), "norm_num_groups": 3}},
        {"network": {**to_plain(UNET), "width": 3}},
        {"colour": "blue"},
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    module = scene_module()
    module.recorded_config = {**module.recorded_config, **change}
    path = save_model(module, tmp_path / "m.ckpt")
    with pytest.raises(CheckpointError, match="does not fit this version's architecture"):
        load_for_inference(SceneModule, path)


def test_a_motion_model_takes_over_the_scene_model(models: dict[str, Path]) -> None:
    scene = load_for_inference(SceneModule, models["scene"])
    motion = MotionModule(models["scene"], network=UNET)
    assert motion.intensity.tolist() == scene.intensity.tolist()
    own = motion.network.unet.state_dict()
    for key, value in scene.network.unet.state_dict().items():
        taken = own[key][:, : value.shape[1]] if key == "conv_in.weight" else own[key]
        assert torch.equal(taken, value)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("network", {"network": UNetConfig(block_out_channels=(8, 24), norm_num_groups=4)}),
        ("objective", {"objective": ObjectiveConfig(prediction_type="sample")}),
        ("objective", {"objective": ObjectiveConfig(schedule=ScheduleConfig("shifted_cosine", shift=2.0))}),
    ],
)
def test_a_motion_model_of_other_size_or_diffusion_is_refused(
    models: dict[str, Path], key: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError, match=f"key: model.{key}"):
        motion_module(scene_ckpt=models["scene"], **settings)


def test_weights_of_the_loss_may_differ_between_the_stages(models: dict[str, Path]) -> None:
    motion_module(scene_ckpt=models["scene"], objective=ObjectiveConfig(snr_gamma=9.0))


def test_a_motion_model_does_not_start_from_a_segmenter(models: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match="another kind of model"):
        motion_module(scene_ckpt=models["guide"])
