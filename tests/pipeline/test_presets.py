from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy import STAGES

from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline.presets import (
    load_preset,
    machine_preset,
    merged,
    parse_overrides,
    set_dotted,
    stages_folder,
)

KNOWN = ("scene", "augment", "source")


def test_merging_goes_into_mappings_and_replaces_everything_else() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    over = {"a": {"c": [9], "e": {"f": 1}}, "d": {"g": 2}}
    assert merged(base, over) == {"a": {"b": 1, "c": [9], "e": {"f": 1}}, "d": {"g": 2}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}


trees = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@given(base=mappings, over=mappings, last=mappings)
def test_merging_is_associative_and_empty_changes_nothing(base: dict, over: dict, last: dict) -> None:  # type: ignore[type-arg]
    assert merged(base, {}) == base
    assert merged({}, over) == over
    assert merged(base, base) == base
    assert merged(merged(base, over), over) == merged(base, over)


def test_dotted_keys_make_missing_mappings_and_leave_the_rest() -> None:
    config = {"trainer": {"max_steps": 3, "devices": 1}}
    assert set_dotted(config, "trainer.max_steps", 9) == {"trainer": {"max_steps": 9, "devices": 1}}
    assert set_dotted(config, "data.split.share", 0.5)["data"] == {"split": {"share": 0.5}}
    assert set_dotted(config, "trainer", None) == {"trainer": None}
    assert config == {"trainer": {"max_steps": 3, "devices": 1}}


def test_overrides_by_step() -> None:
    arguments = [
        "--scene.trainer.max_steps", "5",
        "--scene.model.network.block_out_channels=[8, 16]",
        "--augment.gate_ckpt", "null",
        "--augment.gate.dice_ratio", "-0.5",
        "--source.phantom.view_mm=[1, 2]",
    ]  # fmt: skip
    assert parse_overrides(arguments, KNOWN) == {
        "scene": {"trainer": {"max_steps": 5}, "model": {"network": {"block_out_channels": [8, 16]}}},
        "augment": {"gate_ckpt": None, "gate": {"dice_ratio": -0.5}},
        "source": {"phantom": {"view_mm": [1, 2]}},
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nothing.a", "1"],
        ["--scene", "1"],
        ["--scene.trainer.max_steps"],
        ["scene.trainer.max_steps", "3"],
        ["--verbose"],
        ["--scene.trainer.max_steps", "5", "6"],
    ],
)
def test_an_unknown_argument_is_refused(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="unknown argument"):
        parse_overrides(arguments, KNOWN)


def test_a_preset_file_is_read() -> None:
    assert load_preset(STAGES, "toy", "scene")["data"]["window"] == 32


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no such preset[\s\S]*toy"):
        load_preset(STAGES, "huge", "scene")
    with pytest.raises(ConfigError, match="lacks a file"):
        load_preset(STAGES, "toy", "cake")


def test_a_preset_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for text in ("", "- a\n- b\n", "word"):
        (tmp_path / "mine" / "scene.yaml").write_text(text)
        with pytest.raises(ConfigError, match="must be a mapping"):
            load_preset(tmp_path, "mine", "scene")


def test_presets_are_found_where_they_were_given_or_in_the_checkout(tmp_path: Path) -> None:
    assert stages_folder(STAGES) == STAGES
    assert (stages_folder() / "tiny" / "scene.yaml").is_file()
    with pytest.raises(ConfigError, match="presets can't be found"):
        stages_folder(tmp_path)


def test_the_machine_decides_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine_preset()[0] == "tiny"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a card")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for gib, preset in ((8, "tiny"), (24, "workstation")):

        class Properties:
            total_memory = gib * 2**30

        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index, p=Properties: p)
        assert machine_preset() == (preset, f"1 x a card, {gib} GiB")
