import json
from pathlib import Path

import numpy as np
import pytest
from generation import bank, write_toy_scenes
from toy import FRAMES

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.augment.plan import Plan, PlanConfig
from sfvd_pl.errors import ConfigError


@pytest.fixture(scope="module")
def scenes(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(write_toy_scenes(tmp_path_factory.mktemp("plan") / "scenes.h5", source), Kind.SCENES)


def _plan(source: Path, scenes: Artifact, seed: int = 0, **config: float) -> Plan:
    settings = {"num_clips": 10, "reuse_scenes": 0.3} | config
    return Plan(PlanConfig(**settings), bank(source, seed), scenes, seed)  # type: ignore[arg-type]


def _lines(plan: Plan) -> list[object]:
    return [plan.clip(i, plan.sequence(i)) for i in plan.sample_ids]


def test_the_plan_is_decided_by_its_seed(source: Path, scenes: Artifact) -> None:
    assert _lines(_plan(source, scenes)) == _lines(_plan(source, scenes))
    assert _lines(_plan(source, scenes)) != _lines(_plan(source, scenes, seed=1))


@pytest.mark.parametrize(("share", "reused"), [(0.0, 0), (0.3, 3), (1.0, 4)])
def test_scenes_are_reused_as_far_as_there_are_any(
    source: Path, scenes: Artifact, share: float, reused: int
) -> None:
    plan = _plan(source, scenes, reuse_scenes=share)
    assert len(plan.sample_ids) == len(set(plan.sample_ids)) == 10
    rows = [plan.clip(i, plan.sequence(i)).scene_row for i in plan.sample_ids]
    assert rows == [*range(reused), *[-1] * (10 - reused)]
    assert plan.sample_ids[reused:] == list(range(4, 14 - reused))  # behind the ids of all four scenes


def test_a_reused_scene_keeps_its_mask_sequence(source: Path, scenes: Artifact) -> None:
    plan = _plan(source, scenes)
    for row in range(3):
        sequence = plan.sequence(row)
        assert np.array_equal(sequence.wire_mask, scenes.clip_rows("frames/wire_mask", row))
        assert sequence.visibility == pytest.approx(float(scenes.column("clips/requested_visibility")[row]))
        assert sequence.mask_source == str(scenes.column("clips/mask_source")[row])


def test_a_plain_wire_is_made_clearer_and_a_faint_one_fainter(source: Path, scenes: Artifact) -> None:
    plan = _plan(source, scenes, num_clips=40, segmentation_scale=0.05, segmentation_jitter=0.0)
    low, high = plan.bank.visibility_range
    middle = (low + high) / 2
    for line in (plan.clip(i, plan.sequence(i)) for i in plan.sample_ids):
        place = (line.requested_visibility - middle) / (high - low)
        assert line.segmentation_scale == pytest.approx(0.05 * max(-1, min(1, 2 * place)), abs=1e-6)
    scales = [plan.clip(i, plan.sequence(i)).segmentation_scale for i in plan.sample_ids]
    assert min(scales) < 0 < max(scales)


def test_jitter_spreads_the_strength_within_its_bound(source: Path, scenes: Artifact) -> None:
    plan = _plan(source, scenes, num_clips=60, segmentation_scale=0.05, segmentation_jitter=0.5)
    plain = _plan(source, scenes, num_clips=60, segmentation_scale=0.05, segmentation_jitter=0.0)
    scales, steady = (
        np.array([p.clip(i, p.sequence(i)).segmentation_scale for i in p.sample_ids]) for p in (plan, plain)
    )
    assert np.abs(scales).max() <= 0.05
    assert (scales != steady).mean() > 0.9
    assert np.corrcoef(scales, steady)[0, 1] > 0.5


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_batches_hold_every_id_once_and_never_mix_refined_and_fresh(
    source: Path, scenes: Artifact, size: int
) -> None:
    plan = _plan(source, scenes)
    batches = plan.batches(plan.sample_ids[::-1], size)
    assert sorted(i for batch in batches for i in batch) == sorted(plan.sample_ids)
    for batch in batches:
        assert 0 < len(batch) <= size
        assert len({plan.clip(i, plan.sequence(i)).scene_row >= 0 for i in batch}) == 1


def test_the_saved_plan_reads_as_json(source: Path, scenes: Artifact, tmp_path: Path) -> None:
    plan = _plan(source, scenes)
    plan.save(tmp_path / "plan.json")
    lines = json.loads((tmp_path / "plan.json").read_text())
    assert [line["sample_id"] for line in lines] == plan.sample_ids
    for line, clip in zip(lines, _lines(plan), strict=True):
        assert line == vars(clip)
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert plan.sequence(5).wire_mask.shape[0] == FRAMES


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_clips", 0), ("segmentation_scale", -0.1), ("segmentation_jitter", -1.0), ("reuse_scenes", 1.5)],
)
def test_counts_and_shares_are_checked(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=r"found: (-|0|1\.5)"):
        PlanConfig(**{key: value})  # type: ignore[arg-type]
