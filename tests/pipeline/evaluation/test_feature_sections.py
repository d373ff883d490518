import sys
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy import FRAMES, WINDOW, features_module, patients_of, save_model, write_synthetic

from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, MeasuredClip, WindowClips
from sfvd_pl.errors import LeakError, MetricsError
from sfvd_pl.metrics.schema import clean_metrics, validate_section
from sfvd_pl.modules.features import domain_spaces
from sfvd_pl.networks.features import NetworkSpace
from sfvd_pl.pipeline.evaluation.cache import Cache
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs, NotMeasuredError
from sfvd_pl.pipeline.evaluation.features import (
    BATCH_CLIPS,
    ROI_PX,
    embedded_sets,
    has_wire,
    paired_frames,
    wire_places,
)
from sfvd_pl.pipeline.evaluation.image import measure_image
from sfvd_pl.pipeline.evaluation.run import evaluate
from sfvd_pl.pipeline.evaluation.settings import EvaluateSettings
from sfvd_pl.pipeline.evaluation.video import measure_video

CPU = torch.device("cpu")


@dataclass
class Made(ClipSet):
    """Clips of noise around a level, each with a vertical wire."""

    number: int
    level: float = 0.5
    frames: int = 6
    patients_of: int = 3
    side: int = 48
    wire: bool = True
    title: str = "made"
    intensity_max: int = 255
    seed: int = 0

    def __len__(self) -> int:
        return self.number

    @property
    def identity(self) -> str:
        return f"made {self.number} {self.level} {self.frames} {self.seed}"

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(f"p{i % self.patients_of}" for i in range(self.number))

    def __getitem__(self, number: int) -> MeasuredClip:
        rng = np.random.default_rng([self.seed, number])
        shape = (self.frames, self.side, self.side)
        image = 255 * (self.level + 0.1 * rng.standard_normal()) + 10 * rng.standard_normal(shape)
        mask = np.zeros(shape, np.uint8)
        mask[:, 10:40, 5 + number % 30] = self.wire
        return MeasuredClip(
            image.clip(0, 255).astype(np.uint8), mask, np.ones(self.frames, bool), self.patients[number], f"c{number}",
            mask_group=f"c{number}",
        )  # fmt: skip


def level_space() -> NetworkSpace:
    """Mean and deviation of a frame."""
    return NetworkSpace(
        "level", "frame", 2, "0", "none", lambda x: torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1), CPU
    )  # fmt: skip


def clip_space() -> NetworkSpace:
    """Mean of a clip, and how much it changes."""
    return NetworkSpace(
        "clip", "clip", 2, "1", "none",
        lambda x: torch.stack([x.mean((1, 2, 3, 4)), x.diff(dim=2).abs().mean((1, 2, 3, 4))], 1), CPU,
    )  # fmt: skip


def context(synthetic: ClipSet, cache: Path | None = None, **changes: ClipSet) -> EvaluationContext:
    sets = {"reference": Made(12, seed=1), "training": Made(20, seed=2)} | changes
    inputs = Inputs(synthetic=synthetic, spaces=(level_space(), clip_space()), **sets)  # type: ignore[arg-type]
    return EvaluationContext(inputs, cache=None if cache is None else Cache(cache, "code"))


def test_pairs_of_consecutive_frames() -> None:
    assert [paired_frames(n) for n in (1, 3, 4, 8)] == [[0], [0, 1, 2], [0, 1, 2, 3], [0, 1, 6, 7]]


def test_windows_are_around_the_wire_and_stay_for_a_pair() -> None:
    clip = Made(3, frames=8)[2]
    places = wire_places(clip, seed=0, number=2)
    assert places is not None
    assert len(places) == 5
    assert places[0] == places[1]
    assert places[2] == places[3]
    for place, frame in zip(places, [0, 1, 6, 7, 4], strict=True):
        assert place.cut(clip.wire_mask[frame]).any()
        assert place.size == ROI_PX
        assert 0 <= place.top <= 48 - ROI_PX
        assert 0 <= place.left <= 48 - ROI_PX
    assert places == wire_places(clip, seed=0, number=2)
    assert wire_places(replace(clip, annotated=np.zeros(8, bool)), 0, 0) is None
    assert not has_wire(Made(1, wire=False)[0])
    assert len(wire_places(Made(1, frames=1)[0], 0, 0) or ()) == 2


def test_rows_order_sets_by_how_far_they_are() -> None:
    for measure, name in ((measure_image, "image"), (measure_video, "video")):
        near, far = (measure(context(Made(15, level, seed=3))) for level in (0.5, 0.9))
        for section in (near, far):
            validate_section(name, clean_metrics(section))
        space = near["spaces"][0]
        assert [row["name"] for row in space["whole"]] == ["synthetic", "floor", "blur", "noise"]
        assert [row["name"] for row in space["roi"]] == ["synthetic", "floor", "blur", "noise", "wrong masks"]
        values = {row["name"]: row for row in space["whole"]}
        other = far["spaces"][0]["whole"][0]
        assert values["synthetic"]["kernel"]["value"] < other["kernel"]["low"]
        assert values["synthetic"]["frechet"]["value"] < 0.1 * other["frechet"]["value"]
        assert values["floor"]["frechet"]["value"] < min(values[kind]["frechet"]["value"] for kind in ("blur", "noise"))
        assert other["precision"]["value"] < values["synthetic"]["precision"]["value"]


def test_counts_are_equalised_and_said() -> None:
    section = measure_image(context(Made(15, seed=3)))
    assert section["n_clips"] == 12
    assert section["n_patients"] == 3
    assert "3 test patients" in section["note"]
    for row in section["spaces"][0]["whole"]:
        assert (row["n"], row["n_vectors"], row["n_units"]) == (12, 48, 12 if row["name"] == "synthetic" else 3)
    assert [space["name"] for space in section["spaces"]] == ["level"]  # a space of clips has no frames to compare
    video = measure_video(context(Made(15, seed=3)))
    assert [(s["name"], s["num_features"]) for s in video["spaces"]] == [("level", 4), ("clip", 2)]
    assert {row["n_vectors"] for space in video["spaces"] for row in space["whole"]} == {12}


def test_vectors_are_those_of_the_clips_own_pixels() -> None:
    ctx = context(Made(12, seed=3))
    sets = embedded_sets(ctx)
    level, clip = ctx.spaces
    order = np.random.default_rng([0, 0]).permutation(12)
    first = Made(12, seed=1)[int(order[0])].image / 255.0
    found = sets["reference"].frames("whole", level, 1)
    assert found.vectors[:, 0] == pytest.approx([first[f].mean() for f in (0, 1, 4, 5)], abs=1e-5)
    change = [abs(first[1].mean() - first[0].mean()), abs(first[5].mean() - first[4].mean())]
    of_clip = sets["reference"].clips("whole", level, 1).vectors[0]
    assert of_clip[0] == pytest.approx(np.mean([first[f].mean() for f in (0, 1, 4, 5)]), abs=1e-5)
    assert of_clip[2] == pytest.approx(np.mean(change), abs=1e-5)
    assert sets["reference"].clips("whole", clip, 1).vectors[0, 0] == pytest.approx(first.mean(), abs=1e-5)


def test_clips_are_let_go_of_and_no_more_than_a_limit_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    alive, most = weakref.WeakValueDictionary[int, MeasuredClip](), [0]

    class Watched(Made):
        def __getitem__(self, number: int) -> MeasuredClip:
            clip = super().__getitem__(number)
            alive[len(most)] = clip
            most.append(len(alive))
            return clip

    many = context(Watched(60, seed=3), reference=Watched(60, seed=1), training=Watched(60, seed=2))
    assert measure_image(many)["n_clips"] == 60
    assert max(most) <= BATCH_CLIPS + 3  # a batch, the clip that is being read, and one with its masks' origin
    monkeypatch.setattr("sfvd_pl.pipeline.evaluation.features.CLIP_LIMIT", 8)
    assert measure_image(many)["n_clips"] == 8


def test_without_wires_whole_frames_are_compared_alone() -> None:
    section = measure_image(context(Made(9, wire=False), reference=Made(9, wire=False, seed=1)))
    assert [len(section["spaces"][0][view]) for view in ("whole", "roi")] == [4, 0]


def test_single_frames_don_t_move() -> None:
    with pytest.raises(NotMeasuredError, match="don't move"):
        measure_video(context(Made(9, frames=1)))
    assert measure_image(context(Made(9, frames=1), reference=Made(9, frames=1, seed=1)))["n_clips"] == 9


def test_too_few_clips_are_not_compared() -> None:
    with pytest.raises(NotMeasuredError, match="fewer than two"):
        measure_image(context(Made(1)))


def test_vectors_are_kept_for_the_next_time(tmp_path: Path) -> None:
    ctx = context(Made(12, seed=3), cache=tmp_path)
    first = measure_image(ctx)
    broken = replace(level_space(), function=lambda x: torch.full((len(x), 2), torch.nan))
    again = replace(ctx, inputs=replace(ctx.inputs, spaces=(broken, clip_space())))
    assert clean_metrics(measure_image(again)) == clean_metrics(first)
    other = replace(broken, weights_sha256="of other weights")
    with pytest.raises(MetricsError, match="returned NaN"):
        measure_image(replace(ctx, inputs=replace(ctx.inputs, spaces=(other, clip_space()))))


def test_the_schema_wants_an_unreliable_distance_explained() -> None:
    section = clean_metrics(measure_video(context(Made(12, seed=3))))
    row = section["spaces"][0]["whole"][0]
    row["frechet"]["reliable"], row["note"] = False, ""
    with pytest.raises(MetricsError, match="note"):
        validate_section("video", section)
    row["frechet"]["reliable"], section["spaces"][0]["num_features"] = True, 500
    with pytest.raises(MetricsError, match="reliable"):
        validate_section("video", section)


def test_clips_of_a_run_in_the_spaces_of_this_project(
    source: Path, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)  # as where the extra is not installed
    synthetic = write_synthetic(tmp_path / "synthetic.h5", source)
    settings = EvaluateSettings(source, synthetic, features_ckpt=models["features"], only="image,video")
    metrics = evaluate(settings, progress=False).metrics
    names = {space["name"] for space in metrics["video"]["spaces"]}
    absent = {entry["name"]: entry["why"] for entry in metrics["image"]["absent"]}
    assert names == {"domain-frames", "domain-clips"}
    assert set(absent) == {"torchscript", "imagenet-efficientnet-lite0"}
    assert "sfvd-pl[metrics]" in absent["imagenet-efficientnet-lite0"]
    assert metrics["image"]["n_clips"] == 4


def test_a_feature_network_that_knows_test_patients_is_refused(source: Path, tmp_path: Path) -> None:
    leaky = save_model(features_module(), tmp_path / "l.ckpt", source, patients=sorted(patients_of(source, "test")))
    synthetic = write_synthetic(tmp_path / "synthetic.h5", source)
    with pytest.raises(LeakError, match="feature network"):
        evaluate(EvaluateSettings(source, synthetic, features_ckpt=leaky, only="image"), progress=False)


def test_artifacts_and_windows_are_sets_alike(source: Path, models: dict[str, Path], tmp_path: Path) -> None:
    reference = WindowClips(source, "test", window=WINDOW, frames=FRAMES, seed=0)
    made = ArtifactClips(write_synthetic(tmp_path / "synthetic.h5", source))
    inputs = Inputs(
        synthetic=made,
        reference=reference,
        training=WindowClips(source, "train", window=WINDOW, frames=FRAMES, seed=0),
        spaces=domain_spaces(models["features"]),
    )
    rows = measure_image(EvaluationContext(inputs))["spaces"][0]["roi"]
    assert {row["n"] for row in rows if row["name"] != "wrong masks"} == {4}
