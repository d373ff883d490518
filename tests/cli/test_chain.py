"""The whole chain through the command, once; then what it left."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from toy import FRAMES, STAGES, WINDOW

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.metrics.schema import validate_metrics
from sfvd_pl.modules.checkpoint import RECORD_KEY, read_checkpoint

Sfvd = Callable[..., Any]
STEPS = ["source", "check", "guide", "suspects", "scene", "scenes", "motion", "motions", "gate", "augment"]
STEPS += ["segment/real", "segment/synthetic", "segment/pretrain", "segmentation", "evaluator", "features", "report"]


class Chain(NamedTuple):
    root: Path
    run: Path
    out: str
    arguments: list[object]


@pytest.fixture(scope="module")
def chain(sfvd: Sfvd, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    root = tmp_path_factory.mktemp("root with a space")
    arguments: list[object] = ["--run", "toy", "--root", root, "--preset", "toy", "--stages", STAGES, "--seed", 3]
    arguments += ["--scene.data.num_scenes", "4", "--augment.plan.segmentation_scale=0.03"]
    done = sfvd("run", "stage1", "stage2", "augment", "segment", *arguments)
    assert done.status == 0, done.err
    return Chain(root, root / "toy", done.out, arguments)


def test_every_step_ran_and_is_done(chain: Chain) -> None:
    for step in STEPS:
        assert json.loads((chain.run / step / "step.json").read_text())["status"] == "done"
        assert f"{step}: starting" in chain.out
    assert "nothing to do" not in chain.out
    assert not list(chain.run.glob("**/*.shards"))
    assert not list(chain.run.glob("**/.*partial*"))


def test_every_artifact_holds_and_names_its_parents(chain: Chain) -> None:
    run = chain.run
    parents = {name: run / f"{name}.h5" for name in ("source", "scenes", "suspects")}
    expected = {"source": set(), "scenes": {"source"}, "motions": {"source", "scenes"}}
    expected |= {"synthetic": {"source", "suspects"}, "suspects": {"source"}, "segmentation": {"source"}}
    for name, needed in expected.items():
        path = run / f"{name}.h5"
        assert verify(path, parents={key: parents[key] for key in needed}) == []
        assert needed <= set(Artifact.open(path).parents)


def test_sizes_are_those_of_the_preset_and_of_the_command_line(chain: Chain) -> None:
    scenes, motions = (Artifact.open(chain.run / f"{name}.h5") for name in ("scenes", "motions"))
    synthetic = Artifact.open(chain.run / "synthetic.h5", Kind.SYNTHETIC)
    assert scenes.n_clips == 4
    assert (motions.n_clips, synthetic.n_clips) == (2, 4)
    for artifact in (scenes, motions, synthetic):
        assert set(artifact.column("clips/length")) == {FRAMES}
    assert scenes.frame_shape == motions.frame_shape == (WINDOW, WINDOW)
    assert synthetic.frame_shape == (48, 48), "real clips at their own size"
    assert np.abs(synthetic.column("clips/segmentation_scale")).max() <= 0.03
    assert synthetic.column("clips/accepted").all()
    config = yaml.safe_load((chain.run / "scene" / "config.yaml").read_text())
    assert config["data"]["num_scenes"] == 4
    assert config["seed_everything"] == 3
    assert read_checkpoint(chain.run / "scene" / "model.ckpt")[RECORD_KEY]["config"]["seed"] == 3


def test_the_clips_follow_the_masks_and_scenes_they_were_made_from(chain: Chain) -> None:
    scenes, motions = (Artifact.open(chain.run / f"{name}.h5") for name in ("scenes", "motions"))
    for clip in range(2):
        masks = scenes.clip_rows("frames/wire_mask", clip)
        assert np.array_equal(motions.clip_rows("frames/wire_mask", clip), masks)
        first = motions.clip_rows("frames/image", clip)[0].astype(int)
        assert np.abs(first - scenes.rows("clips/scene", clip, clip + 1)[0].astype(int)).max() <= 1


def test_nobody_learned_from_a_patient_that_must_stay_unseen(chain: Chain) -> None:
    source = Artifact.open(chain.run / "source.h5", Kind.SOURCE)
    of = dict(zip(source.column("clips/patient"), source.column("clips/split"), strict=True))
    train = {patient for patient, split in of.items() if split == "train"}
    assert set(of.values()) == {"train", "val", "test"}
    for name in ("scenes", "motions", "synthetic", "segmentation"):
        assert set(Artifact.open(chain.run / f"{name}.h5").patients) == train
    for model in ("scene", "motion", "guide", "gate", "evaluator", "features", "segment/real"):
        record = read_checkpoint(chain.run / model / "model.ckpt")[RECORD_KEY]
        assert set(record["patients"]) == train
        assert record["source"] == source.content_hash
    tested = set(Artifact.open(chain.run / "segmentation.h5").column("clips/patient"))
    assert tested == {patient for patient, split in of.items() if split == "test"}


def test_guide_gate_and_evaluator_start_from_weights_of_their_own_and_arms_from_the_same(chain: Chain) -> None:
    def seed(model: str) -> int:
        return int(read_checkpoint(chain.run / model / "model.ckpt")[RECORD_KEY]["config"]["seed"])

    arms = {seed(f"segment/{arm}") for arm in ("real", "synthetic", "pretrain")}
    assert arms == {3}
    assert len({seed("guide"), seed("gate"), seed("evaluator"), 3}) == 4


def test_metrics_and_report(chain: Chain) -> None:
    metrics = json.loads((chain.run / "report" / "metrics.json").read_text())
    validate_metrics(metrics)
    assert (metrics["run"], metrics["preset"], metrics["seed"]) == ("toy", "toy", 3)
    assert [stage["name"] for stage in metrics["stages"]] == [step for step in STEPS if step != "report"]
    assert [arm["name"] for arm in metrics["segmentation"]["arms"]] == ["real", "synthetic", "pretrain"]
    assert metrics["gate"]["n"] == metrics["gate"]["accepted"] == 4
    page = (chain.run / "report" / "index.html").read_text()
    assert "reconstruction" in page
    assert f"report: {chain.run / 'report' / 'index.html'}" in chain.out


def test_training_leaves_curves_pictures_and_a_configuration(chain: Chain) -> None:
    for model, picture in (("scene", "scenes-*.png"), ("motion", "clips-*.gif"), ("guide", "predictions-*.png")):
        assert list((chain.run / model / "pictures").glob(picture))
        (curve,) = (chain.run / model / "logs").glob("version_*/metrics.csv")
        assert "val/" in curve.read_text().splitlines()[0]
        assert (chain.run / model / "config.yaml").is_file()
    assert list((chain.run / "augment" / "pictures").glob("synthetic-*.gif"))


def _stamps(chain: Chain) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in chain.run.rglob("*") if p.is_file() and p.name != ".lock"}


def test_a_second_call_does_nothing(chain: Chain, sfvd: Sfvd) -> None:
    before = _stamps(chain)
    done = sfvd("run", "stage1", "stage2", "augment", "segment", *chain.arguments)
    assert done.status == 0, done.err
    assert _stamps(chain) == before
    for step in STEPS:
        assert f"{step}: nothing to do" in done.out
    assert "starting" not in done.out


def test_a_stage_out_of_order_names_what_is_missing(chain: Chain, sfvd: Sfvd) -> None:
    arguments = ["--run", "bare", "--root", chain.root, "--preset", "toy", "--stages", STAGES]
    done = sfvd("run", "stage2", *arguments)
    assert done.status == 1
    assert "lacks its" in done.err
    assert "make stage1" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["stage1", "--preset", "huge"], 1, "no such preset"),
        (["stage1", "--nonsense", "3"], 1, "unknown argument"),
        (["stage1", "--devices", "many"], 1, "not a number of devices"),
        (["stage1", "--data", "/nowhere/at/all"], 1, "no such clips"),
        (["stage9"], 2, "invalid choice"),
        (["segment", "--labelled", "2"], 1, "not a share of the labelled clips"),
        (["stage1", "--labelled", ","], 1, "no clip would keep its labels"),
        (["stage1", "--test", "some"], 2, "invalid choice"),
        (["stage1", "--split", "/nowhere.csv"], 1, "can't be read"),
        (["stage1", "--split", "/nowhere.csv", "--test", "none"], 1, "two ways"),
    ],
)
def test_a_run_that_cannot_start(
    chain: Chain, sfvd: Sfvd, arguments: list[str], status: int, message: str
) -> None:
    where = ["--run", "never", "--root", chain.root, "--stages", STAGES]
    preset = [] if "--preset" in arguments else ["--preset", "toy"]
    done = sfvd("run", *arguments, *preset, *where)
    assert done.status == status
    assert message in done.err
    assert not list((chain.root / "never").glob("*.h5"))


# -- the models of the chain, one by one -----------------------------------------------------------------------


def test_scene_validate(chain: Chain, sfvd: Sfvd, tmp_path: Path) -> None:
    config, ckpt = chain.run / "scene" / "fit.yaml", chain.run / "scene" / "model.ckpt"
    done = sfvd("scene", "validate", "--config", config, "--ckpt_path", ckpt, "--run_dir", tmp_path)
    assert done.status == 0, done.err
    assert "val/loss" in done.out


def test_segment_test(chain: Chain, sfvd: Sfvd, tmp_path: Path) -> None:
    config, ckpt = chain.run / "segment/real" / "fit.yaml", chain.run / "segment/real" / "model.ckpt"
    done = sfvd("segment", "test", "--config", config, "--ckpt_path", ckpt, "--run_dir", tmp_path)
    assert done.status == 0, done.err
    assert "test/dice" in done.out


def test_evaluate_writes_the_same_measures_as_the_chain(chain: Chain, sfvd: Sfvd, tmp_path: Path) -> None:
    run = chain.run
    done = sfvd(
        "evaluate", "--real", run / "source.h5", "--generated", run / "synthetic.h5", "--seed", 3,
        "--evaluator_ckpt", run / "evaluator" / "model.ckpt", "--out", tmp_path,
    )  # fmt: skip
    assert done.status == 0, done.err
    ours = json.loads((tmp_path / "metrics.json").read_text())
    theirs = json.loads((run / "report" / "metrics.json").read_text())
    for section in ("label_fidelity", "noise", "visibility", "gate"):
        assert ours[section] == theirs[section]
    assert (tmp_path / "index.html").is_file()


def test_predict_needs_a_model_of_this_source(chain: Chain, sfvd: Sfvd, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "scenes.h5"
    predict = ["scene", "predict", "--config", chain.run / "scene" / "fit.yaml", "--run_dir", tmp_path]
    ckpt = ["--ckpt_path", chain.run / "scene" / "model.ckpt"]
    for arguments, message in (
        ([*ckpt, "--out", out, "--data.source", source], "trained on another source"),
        (["--out", out], "needs --ckpt_path"),
        (ckpt, "needs --out"),
    ):
        done = sfvd(*predict, *arguments)
        assert done.status == 1
        assert message in done.err
    assert not out.exists()


def test_long_clips_of_the_finished_models(chain: Chain, sfvd: Sfvd) -> None:
    done = sfvd("run", "rollout", *chain.arguments)
    assert done.status == 0, done.err
    folder = chain.run / "rollout"
    scenes, motions = (Artifact.open(folder / f"{name}.h5") for name in ("scenes", "motions"))
    # Nine frames: the first, four whole blocks of two; twice as long as any clip that the models were trained on.
    assert list(motions.column("clips/length")) == [9, 9] and motions.config["data"]["frames"] == 9
    assert set(motions.column("clips/mask_origin")) == {"simulated"}
    for clip in range(2):
        assert np.array_equal(motions.clip_rows("frames/wire_mask", clip), scenes.clip_rows("frames/wire_mask", clip))
        frames = motions.clip_rows("frames/image", clip).astype(int)
        assert np.abs(frames[0] - scenes.rows("clips/scene", clip, clip + 1)[0].astype(int)).max() <= 1
        assert (np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2)) > 0).all()
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    validate_metrics(metrics)
    assert {"rollout/scenes", "rollout/motions"} <= {stage["name"] for stage in metrics["stages"]}
    (row,) = [row for row in metrics["motion"]["rows"] if row["name"] == "synthetic"]
    assert row["n"] == 2 and len(row["by_frame"]["pixel_std"]) == 9
    assert all(point["mean"] is not None for point in row["by_frame"]["pixel_std"])
    assert "segmentation" in metrics["not_measured"] and (folder / "report" / "index.html").is_file()
    again = sfvd("run", "rollout", *chain.arguments)
    assert "starting" not in again.out
    for key, value in (("frames", "3"), ("frames", "many"), ("length", "8")):
        refused = sfvd("run", "rollout", *chain.arguments, f"--rollout.{key}", value)
        assert refused.status == 1 and f"rollout.{key}" in refused.err


def test_a_changed_setting_redoes_its_step_and_those_behind_it(chain: Chain, sfvd: Sfvd) -> None:
    """Last in this file: it changes the run."""
    done = sfvd("run", "augment", *chain.arguments, "--augment.plan.num_clips", "2")
    assert done.status == 0, done.err
    assert "gate: nothing to do" in done.out
    assert "configuration changed" in done.out
    assert Artifact.open(chain.run / "synthetic.h5").n_clips == 2
    assert Artifact.open(chain.run / "augment.previous-1" / "synthetic.h5").n_clips == 4
