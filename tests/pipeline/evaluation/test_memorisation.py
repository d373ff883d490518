"""Copies that were planted among generated clips are found and can be left out; others are not called copies."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import FRAMES, WINDOW, rewritten, toy_clips, write_synthetic, write_toy_source

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.augment.exclude import exclude_copies
from sfvd_pl.cli import main as cli
from sfvd_pl.datasets.planted import Planted
from sfvd_pl.datasets.segmentation import MadeFrames
from sfvd_pl.datasets.sets import ArtifactClips, MeasuredClip, WindowClips
from sfvd_pl.errors import ArtifactError, ConfigError, MetricsError
from sfvd_pl.metrics.schema import clean_metrics, validate_section, write_metrics
from sfvd_pl.networks.features import NetworkSpace
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs, NotMeasuredError
from sfvd_pl.pipeline.evaluation.memorisation import measure_memorisation
from sfvd_pl.pipeline.evaluation.neighbours import DOMAIN
from sfvd_pl.pipeline.evaluation.run import metrics_head

KINDS = ("exact", "noised", "shifted", "flipped")


@pytest.fixture(scope="module")
def grainy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source whose clips have grain, as those of a detector do."""
    rng = np.random.default_rng(0)
    clips = []
    for clip in toy_clips():
        image = clip.image + rng.normal(0, 6, clip.image.shape)
        clips.append(replace(clip, image=image.round().clip(0, 255).astype(np.uint8)))
    return write_toy_source(tmp_path_factory.mktemp("grainy") / "source.h5", clips=clips)


def windows(source: Path, split: str, **changes: Any) -> WindowClips:
    settings = {"window": WINDOW, "frames": FRAMES, "seed": 3, "windows_per_clip": 1, "with_wire": False}
    return WindowClips(source, split, **(settings | changes))


def independent() -> list[MeasuredClip]:
    """Windows of phantoms that nothing was learned from."""
    rng = np.random.default_rng(9)
    return [
        MeasuredClip(
            (clip.image[1 : 1 + FRAMES, 8:40, 8:40] + rng.normal(0, 6, (FRAMES, WINDOW, WINDOW)))
            .round().clip(0, 255).astype(np.uint8),
            clip.wire_mask[1 : 1 + FRAMES, 8:40, 8:40],
            np.ones(FRAMES, bool),
            "synthetic",
            clip.name,
        )
        for clip in toy_clips(seed=11)[:6]
    ]  # fmt: skip


def as_synthetic(path: Path, source: Path, clips: Sequence[MeasuredClip], driven: str = "") -> Path:
    """A synthetic artifact that shows these clips."""
    plain = write_synthetic(path.with_name(f"plain-{path.name}"), source, accepted=[True] * len(clips))
    changes: dict[str, Any] = {
        "frames__image": np.concatenate([clip.image for clip in clips]),
        "frames__wire_mask": np.concatenate([clip.wire_mask for clip in clips]),
    }
    if driven:
        changes["clips__mask_source"] = np.array([driven] * len(clips), object)
        changes["clips__mask_origin"] = np.array(["labelled"] * len(clips), object)
    return rewritten(plain, path, **changes)


def context(source: Path, synthetic: Path, **changes: Any) -> EvaluationContext:
    reference = windows(source, "test", windows_per_clip=3)
    inputs = Inputs(source=source, synthetic=ArtifactClips(synthetic), reference=reference)
    return EvaluationContext(inputs=replace(inputs, **changes))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer windows to calibrate on and fewer copies planted."""
    monkeypatch.setattr("sfvd_pl.pipeline.evaluation.memorisation.CALIBRATION", 16)
    monkeypatch.setattr("sfvd_pl.pipeline.evaluation.memorisation.PLANTED", 1)


@pytest.fixture(scope="module")
def mixed(grainy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six independent clips, then one copy of each kind."""
    base = windows(grainy, "train")
    copies = [Planted(base, kind, 1)[number] for number, kind in enumerate(KINDS)]  # type: ignore[arg-type]
    return as_synthetic(tmp_path_factory.mktemp("mixed") / "synthetic.h5", grainy, [*independent(), *copies])


@pytest.fixture(scope="module")
def section(grainy: Path, mixed: Path) -> dict[str, Any]:
    found = clean_metrics(measure_memorisation(context(grainy, mixed)))
    validate_section("memorisation", found)
    return found


def test_planted_copies_are_named_and_others_are_not(grainy: Path, section: dict[str, Any]) -> None:
    verdicts = {clip["clip"]: clip for clip in section["clips"]}
    names = [clip.name for clip in windows(grainy, "train")]
    for number in range(6):
        assert verdicts[f"synthetic/{number:06d}"]["verdict"] == "clear"
    for number, kind in enumerate(KINDS):
        found = verdicts[f"synthetic/{6 + number:06d}"]
        assert found["verdict"] == "copy" and found["by"], kind
        named = {entry["level"]: entry["training_clip"] for entry in found["nearest"]}
        assert {named[level] for level in found["by"]} == {names[number]}
    assert [clip["evidence"] for clip in section["clips"]] == sorted(
        (clip["evidence"] for clip in section["clips"]), reverse=True
    )


def test_the_place_of_the_original_is_told(grainy: Path, section: dict[str, Any]) -> None:
    clip = next(clip for clip in section["clips"] if clip["clip"] == "synthetic/000006")
    entry = next(entry for entry in clip["nearest"] if entry["level"] == "grain")
    source = Artifact.open(grainy)
    row = [str(name) for name in source.column("clips/name")].index(entry["training_clip"])
    whole = source.clip_rows("frames/image", row)
    first, top, left = entry["training_frame"], entry["top"], entry["left"]
    assert not entry["quarter_turns"] and not entry["mirrored"]
    shown = windows(grainy, "train")[0].image
    assert np.array_equal(shown, whole[first : first + FRAMES, top : top + WINDOW, left : left + WINDOW])


def test_rows_and_recall(section: dict[str, Any]) -> None:
    synthetic, floor = section["rows"]
    assert (synthetic["name"], synthetic["n"], synthetic["copies"]) == ("synthetic", 10, 4)
    assert (floor["name"], floor["copies"]) == ("floor", 0) and floor["n"] > 3
    assert floor["share"]["high"] > 0.1  # six clips don't prove one per cent
    assert {row["kind"] for row in section["planted"]} == {*KINDS, "noisier", "regrained"}
    for row in section["planted"]:
        if row["kind"] in KINDS:
            assert row["caught"] == row["named"] == row["n"] > 3, row
    assert sum(level["rate"] for level in section["levels"]) == pytest.approx(0.01)
    assert section["training"]["searched"] >= section["training"]["frames"] > 0
    for level in section["levels"]:
        assert level["highest"] <= level["threshold"] and level["effective"] <= level["clips"]


@pytest.mark.usefixtures("quick")
def test_threads_change_nothing(grainy: Path, mixed: Path) -> None:
    one, two = (measure_memorisation(replace(context(grainy, mixed), processes=n)) for n in (1, 2))
    assert json.dumps(clean_metrics(one)) == json.dumps(clean_metrics(two))


@pytest.mark.usefixtures("quick")
def test_a_mask_that_a_training_clip_lent_is_no_memory(grainy: Path, tmp_path: Path) -> None:
    lent = windows(grainy, "train", with_wire=True)[0]
    clips = [replace(clip, wire_mask=lent.wire_mask) for clip in independent()]
    for driven, there in (("", True), (lent.name, False)):
        made = as_synthetic(tmp_path / f"made-{there}.h5", grainy, clips, driven)
        found = measure_memorisation(context(grainy, made))
        row = next(entry for entry in found["rows"][0]["levels"] if entry["level"] == "wire")
        assert bool(row["n"]) == there
        if there:
            assert row["highest"] > 0.9


@pytest.mark.usefixtures("quick")
def test_a_network_of_the_domain_adds_a_level(grainy: Path, mixed: Path) -> None:
    def embed(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 4).flatten(1)

    space = NetworkSpace(DOMAIN, "frame", 64, "0" * 64, "none", embed, torch.device("cpu"))
    found = clean_metrics(measure_memorisation(context(grainy, mixed, spaces=(space,))))
    validate_section("memorisation", found)
    level = found["levels"][-1]
    assert (level["name"], level["space"]) == (f"features: {DOMAIN}", DOMAIN)
    assert next(e for e in found["rows"][0]["levels"] if e["level"] == level["name"])["n"] == 10
    assert sum(entry["rate"] for entry in found["levels"]) == pytest.approx(0.01)


@pytest.mark.usefixtures("quick")
def test_single_frames_are_searched_too(grainy: Path, tmp_path: Path, mixed: Path) -> None:
    base = windows(grainy, "train", frames=1)
    sets = Inputs(
        source=grainy,
        synthetic=Planted(base, "exact"),
        reference=windows(grainy, "test", frames=1, windows_per_clip=3),
    )
    found = measure_memorisation(EvaluationContext(inputs=sets))
    assert found["rows"][0]["copies"] == found["rows"][0]["n"] == len(base)
    assert found["rows"][1]["copies"] == 0 and found["artifact"] == ""


@pytest.mark.usefixtures("quick")
def test_too_few_patients_to_calibrate_on_is_said(grainy: Path, mixed: Path, tmp_path: Path) -> None:
    three = [clip for clip in toy_clips() if clip.patient in sorted({clip.patient for clip in toy_clips()})[:3]]
    alone = write_toy_source(tmp_path / "three.h5", clips=three)
    with pytest.raises(NotMeasuredError, match="calibrate"):
        measure_memorisation(context(alone, mixed))


def whole(section: dict[str, Any]) -> dict[str, Any]:
    return metrics_head("toy", "none", 0, []) | {"sets": {}, "not_measured": {}, "memorisation": section}


def test_copies_are_left_out_and_the_rest_is_used(
    grainy: Path, mixed: Path, section: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, out = write_metrics(tmp_path / "metrics.json", whole(section)), tmp_path / "clean.h5"
    arguments = ["data", "exclude", str(mixed), "--copies", str(metrics), "--out", str(out)]
    assert cli.main(arguments) == 0
    assert "copies left out: 4: synthetic/000006" in capsys.readouterr().out
    old, new = Artifact.open(mixed), Artifact.open(out, Kind.SYNTHETIC)
    assert verify(out, parents={"synthetic": mixed, "source": grainy}) == []
    assert [str(name) for name in new.column("clips/name")] == [f"synthetic/{k:06d}" for k in range(6)]
    assert np.array_equal(new.rows("frames/image", 0, new.n_frames), old.rows("frames/image", 0, 6 * FRAMES))
    assert new.parents["synthetic"] == old.content_hash and new.patients == old.patients
    assert [entry["clip"] for entry in new.config["excluded"]] == [f"synthetic/{k:06d}" for k in range(6, 10)]
    assert len(MadeFrames(out, Kind.SYNTHETIC, ("nobody",), Artifact.open(grainy).content_hash).rows) == 6 * FRAMES
    assert (cli.main(arguments) == 1 and "--overwrite" in capsys.readouterr().err) or out.exists()
    assert cli.main([*arguments, "--overwrite", "true"]) == 0


def test_nothing_is_left_out_on_another_artifacts_word(
    grainy: Path, mixed: Path, section: dict[str, Any], tmp_path: Path
) -> None:
    metrics = write_metrics(tmp_path / "metrics.json", whole(section))
    other = write_synthetic(tmp_path / "other.h5", grainy)
    with pytest.raises(MetricsError, match="another artifact"):
        exclude_copies(other, metrics, tmp_path / "clean.h5")
    with pytest.raises(ArtifactError, match="only generated clips"):
        exclude_copies(grainy, metrics, tmp_path / "clean.h5")
    silent = whole(section)
    del silent["memorisation"]
    with pytest.raises(MetricsError, match="doesn't say"):
        exclude_copies(mixed, write_metrics(tmp_path / "silent.json", silent), tmp_path / "clean.h5")
    assert not (tmp_path / "clean.h5").exists()


def test_a_set_of_copies_only_leaves_nothing_and_one_without_any_everything(
    mixed: Path, section: dict[str, Any], tmp_path: Path
) -> None:
    all_copies, none = json.loads(json.dumps(section)), json.loads(json.dumps(section))
    for clip in all_copies["clips"]:
        clip.update(verdict="copy", by=["frame"])
    all_copies["rows"][0]["copies"] = 10
    with pytest.raises(ConfigError, match="nothing would be left"):
        exclude_copies(mixed, write_metrics(tmp_path / "all.json", whole(all_copies)), tmp_path / "clean.h5")
    for clip in none["clips"]:
        clip.update(verdict="clear", by=[])
    none["rows"][0]["copies"] = 0
    metrics = write_metrics(tmp_path / "none.json", whole(none))
    assert exclude_copies(mixed, metrics, tmp_path / "clean.h5") == []
    assert Artifact.open(tmp_path / "clean.h5").n_clips == 10
