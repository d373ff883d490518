import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from pictures import blank, write_pictures
from PIL import Image
from toy import (
    STAGES,
    WINDOW,
    rewritten,
    save_model,
    scene_module,
    segmentation_module,
    toy_clips,
    write_synthetic,
)

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.cli.predict import wire_masks
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule

Sfvd = Callable[..., Any]


def _nothing_half_written(folder: Path) -> None:
    assert [p for p in folder.rglob("*") if "partial" in p.name or p.suffix == ".h5"] == []


# -- data ------------------------------------------------------------------------------------------------------


def test_simulate_then_verify(sfvd: Sfvd, tmp_path: Path) -> None:
    out = tmp_path / "s.h5"
    simulate = ["data", "simulate", "--config", STAGES / "toy" / "source.yaml", "--phantom.clips_per_patient", 1]
    done = sfvd(*simulate, "--out", out)
    assert done.status == 0, done.err
    assert verify(out) == []
    assert Artifact.open(out, Kind.SOURCE).n_clips == 5
    good = sfvd("data", "verify", out)
    assert good.status == 0
    assert "holds" in good.out
    # An artifact is replaced only on demand, and the same seed gives the same content.
    again = sfvd(*simulate, "--out", out)
    assert again.status == 1
    assert "overwrite" in again.err
    before = Artifact.open(out).content_hash
    assert sfvd(*simulate, "--out", out, "--overwrite", "true").status == 0
    assert Artifact.open(out).content_hash == before
    assert sfvd(*simulate, "--out", out, "--overwrite", "true", "--seed", 1).status == 0
    assert Artifact.open(out).content_hash != before


def test_import_keeps_pictures_and_masks(sfvd: Sfvd, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.h5"
    done = sfvd("data", "import", pictures, "--out", out)
    assert done.status == 0, done.err
    artifact = Artifact.open(out, Kind.SOURCE)
    of_name = {clip.name: clip for clip in toy_clips()}
    for row, name in enumerate(artifact.column("clips/name")):
        clip = of_name[str(name)]
        assert np.array_equal(artifact.clip_rows("frames/image", row), clip.image[:2])
        assert np.array_equal(artifact.clip_rows("frames/wire_mask", row), clip.wire_mask[:2])
    assert set(artifact.column("clips/split")) == {"train", "val", "test"}


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _other_size(folder: Path) -> None:
    blank((40, 40)).save(next(folder.glob("*/*/masks/*.png")))


def _no_masks(folder: Path) -> None:
    for masks in list(folder.glob("*/*/masks")):
        shutil.rmtree(masks)


def _one_patient(folder: Path) -> None:
    for patient in sorted(folder.iterdir())[1:]:
        shutil.rmtree(patient)


def _torn(folder: Path) -> None:
    picture = sorted(folder.glob("*/*/images/*.png"))[-1]
    picture.write_bytes(picture.read_bytes()[:60])


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize("damage", [_empty, _other_size, _no_masks, _one_patient, _torn, _gone])
def test_clips_that_cannot_make_a_data_set(
    sfvd: Sfvd, pictures: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(pictures)
    done = sfvd("data", "import", pictures, "--out", tmp_path / "out" / "s.h5")
    assert done.status == 1
    assert done.err.count("sfvd: ") == 1
    assert "Traceback" not in done.err
    _nothing_half_written(tmp_path)


def _truncated(source: Path, path: Path) -> None:
    path.write_bytes(source.read_bytes()[:5000])


def _foreign(source: Path, path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["pixels"] = np.zeros(3)


def _not_hdf5(source: Path, path: Path) -> None:
    path.write_text("clips, patients\n")


def _other_version(source: Path, path: Path) -> None:
    shutil.copy(source, path)
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 99


def _absent(source: Path, path: Path) -> None:
    pass


def _other_kind(source: Path, path: Path) -> None:
    write_synthetic(path, source)


DAMAGES = [_truncated, _foreign, _not_hdf5, _other_version, _absent]


@pytest.mark.parametrize(
    ("command", "damage"),
    # Any kind can be verified, and any with frames segmented; only training asks for one kind.
    [("fit", _other_kind), *((command, damage) for command in ("verify", "fit", "predict") for damage in DAMAGES)],
)
def test_an_artifact_that_cannot_be_read(
    sfvd: Sfvd, source: Path, models: dict[str, Path], tmp_path: Path, damage: Callable[..., None], command: str
) -> None:
    bad, out = tmp_path / "bad.h5", tmp_path / "out"
    damage(source, bad)
    commands: dict[str, list[object]] = {
        "verify": ["data", "verify", bad],
        "fit": ["scene", "fit", "--config", STAGES / "toy" / "scene.yaml", "--data.source", bad, "--run_dir", out],
        "predict": ["segment", "predict", bad, "--ckpt_path", models["guide"], "--out", out],
    }
    done = sfvd(*commands[command])
    assert done.status == 1
    assert "Traceback" not in done.err
    assert "bad.h5" in done.err + done.out
    assert not list(out.rglob("*.ckpt"))
    assert not list(out.rglob("*.h5"))


# -- segment predict -------------------------------------------------------------------------------------------


def test_predict_on_an_artifact(sfvd: Sfvd, source: Path, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = sfvd("segment", "predict", source, "--ckpt_path", models["guide"], "--out", out, "--masks", "false")
    assert done.status == 0, done.err
    assert sorted(p.name for p in out.iterdir()) == ["overview.png", "segmentation.h5"]
    made = Artifact.open(out / "segmentation.h5", Kind.SEGMENTATION)
    assert verify(out / "segmentation.h5", parents={"source": source}) == []
    assert made.n_clips == 10
    assert list(made.column("clips/name")) == list(Artifact.open(source).column("clips/name"))
    module = load_for_inference(SegmentationModule, models["guide"])
    batch = np.float32(Artifact.open(source).rows("frames/image", 31, 32)) / 255
    expected = module(torch.from_numpy(batch)[None]).sigmoid()[0, 0].detach().numpy()
    assert np.allclose(made.rows("frames/probability", 0, 1)[0, 31], expected, atol=2e-3)
    again = sfvd("segment", "predict", source, "--ckpt_path", models["guide"], "--out", out)
    assert again.status == 1
    assert "holds something already" in again.err


def test_a_clip_whose_name_leads_out_of_the_folder_is_refused(
    sfvd: Sfvd, source: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    names = np.array([str(name) for name in Artifact.open(source).column("clips/name")], object)
    names[0] = "../../escaped"
    bad = rewritten(source, tmp_path / "bad.h5", clips__name=names)
    out = tmp_path / "deep" / "found"
    done = sfvd("segment", "predict", bad, "--ckpt_path", models["guide"], "--out", out)
    assert done.status == 1 and "can't be that of a folder" in done.err
    assert not list(tmp_path.rglob("escaped")) and list(out.parent.iterdir()) == []


def test_the_name_of_what_was_segmented_is_not_recorded(
    sfvd: Sfvd, pictures: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    named = pictures.rename(pictures.with_name("Doe^Jane"))
    done = sfvd("segment", "predict", named, "--ckpt_path", models["guide"], "--out", tmp_path / "found")
    assert done.status == 0, done.err
    assert "Doe" not in str(Artifact.open(tmp_path / "found" / "segmentation.h5").config)


def test_predicted_masks_can_be_laid_beside_the_pictures_and_imported(
    sfvd: Sfvd, pictures: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    _no_masks(pictures)
    assert sfvd("data", "import", pictures, "--out", tmp_path / "bare.h5").status == 1
    out = tmp_path / "found"
    # An untrained segmenter is sure of nothing: from a low threshold on everything is wire.
    predict = ["segment", "predict", pictures, "--ckpt_path", models["guide"], "--out", out]
    done = sfvd(*predict, "--threshold", 0.0)
    assert done.status == 0, done.err
    for masks in out.glob("*/*/masks"):
        shutil.copytree(masks, pictures / masks.relative_to(out))
    done = sfvd("data", "import", pictures, "--out", tmp_path / "s.h5")
    assert done.status == 0, done.err
    artifact = Artifact.open(tmp_path / "s.h5", Kind.SOURCE)
    assert artifact.column("frames/annotated").all()
    assert artifact.rows("frames/wire_mask", 0, 6).all()


def test_masks_follow_the_threshold(sfvd: Sfvd, pictures: Path, models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "found"
    ckpt = models["guide"]
    assert sfvd("segment", "predict", pictures, "--ckpt_path", ckpt, "--out", out, "--threshold", 0.47).status == 0
    probability = Artifact.open(out / "segmentation.h5").rows("frames/probability", 0, 1)[0]
    names = list(Artifact.open(out / "segmentation.h5").column("clips/name"))
    for clip, name in enumerate(names):
        for frame in range(2):
            mask = np.asarray(Image.open(out / str(name) / "masks" / f"shot-{frame + 7}.png"))
            sure = np.abs(probability[2 * clip + frame].astype(np.float32) - 0.47) > 1e-3  # kept in 16 bits
            assert np.array_equal(mask[sure] > 0, probability[2 * clip + frame][sure] >= 0.47)


def test_a_failure_in_the_middle_leaves_no_folder(
    sfvd: Sfvd, pictures: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    _torn(pictures)
    done = sfvd("segment", "predict", pictures, "--ckpt_path", models["guide"], "--out", tmp_path / "found")
    assert done.status == 1
    assert [p.name for p in tmp_path.iterdir()] == ["clips"]


def test_clips_of_different_sizes_are_segmented_at_their_own(
    sfvd: Sfvd, pictures: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    folder = pictures / "p99" / "r01" / "images"
    folder.mkdir(parents=True)
    blank((64, 48)).save(folder / "0.png")
    out = tmp_path / "found"
    done = sfvd("segment", "predict", pictures, "--ckpt_path", models["guide"], "--out", out, "--flips", "true")
    assert done.status == 0, done.err
    assert Image.open(out / "p99" / "r01" / "masks" / "0.png").size == (48, 64)
    made = Artifact.open(out / "segmentation.h5")
    assert made.clip_rows("frames/probability", made.n_clips - 1)[0, 0, :64, :48].all()
    padded = made.clip_rows("frames/probability", made.n_clips - 1)[0, 0]
    padded[:64, :48] = 0
    assert not padded.any()


def test_specks_can_be_removed() -> None:
    probability = np.zeros((2, 32, 32), np.float32)
    probability[0, 10:12, 2:30] = probability[0, 20:23, 4:7] = probability[1, 5, 5:9] = 0.8
    assert np.array_equal(wire_masks(probability, 0.5, 0), probability >= 0.5)
    kept = wire_masks(probability, 0.5, 10)
    assert kept[0].sum() == 56 and kept[0, 10:12, 2:30].all() and not kept[1].any()


@pytest.mark.parametrize("which", ["kind", "architecture", "garbage", "missing"])
def test_a_checkpoint_that_does_not_fit(
    sfvd: Sfvd, source: Path, models: dict[str, Path], tmp_path: Path, which: str
) -> None:
    ckpt = tmp_path / "model.ckpt"
    if which == "kind":
        ckpt = models["scene"]
    elif which == "architecture":
        module = segmentation_module()
        module.recorded_config["network"]["features"] = [8, 8, 8, 8, 16, 8]
        save_model(module, ckpt, source)
    elif which == "garbage":
        ckpt.write_bytes(b"\x80garbage")
    done = sfvd("segment", "predict", source, "--ckpt_path", ckpt, "--out", tmp_path / "found")
    assert done.status == 1
    assert done.err.count("sfvd: ") == 1
    assert not (tmp_path / "found").exists()


def test_generating_with_another_architecture_is_refused(sfvd: Sfvd, source: Path, tmp_path: Path) -> None:
    ckpt = save_model(scene_module(), tmp_path / "scene.ckpt", source)
    done = sfvd(
        "scene", "predict", "--config", STAGES / "toy" / "scene.yaml", "--data.source", source, "--ckpt_path", ckpt,
        "--model.network.block_out_channels", "[8, 24]", "--out", tmp_path / "s.h5", "--run_dir", tmp_path / "run",
    )  # fmt: skip
    assert done.status == 1
    assert "does not fit" in done.err
    assert "[8, 24]" in done.err
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("verb", ["fit", "validate", "predict"])
@pytest.mark.parametrize("which", ["kind", "garbage", "missing"])
def test_a_stage_given_a_checkpoint_that_is_none_of_its_own(
    sfvd: Sfvd, source: Path, models: dict[str, Path], tmp_path: Path, verb: str, which: str
) -> None:
    ckpt = tmp_path / "model.ckpt"
    if which == "kind":
        ckpt = models["guide"]
    elif which == "garbage":
        ckpt.write_bytes(b"\x80garbage")
    out = [] if verb != "predict" else ["--out", tmp_path / "s.h5"]
    done = sfvd(
        "scene", verb, "--config", STAGES / "toy" / "scene.yaml", "--data.source", source, "--ckpt_path", ckpt,
        "--run_dir", tmp_path / "run", *out,
    )  # fmt: skip
    assert done.status == 1
    assert done.err.count("sfvd: ") == 1
    assert not list(tmp_path.rglob("model.ckpt")) or which == "garbage"
    assert not list(tmp_path.rglob("*.h5"))


def test_pictures_larger_than_the_window(sfvd: Sfvd, models: dict[str, Path], tmp_path: Path) -> None:
    clip = toy_clips()[0]
    write_pictures(tmp_path / "clips", clip, masks=False)
    assert clip.image.shape[1] > WINDOW
    done = sfvd("segment", "predict", tmp_path / "clips", "--ckpt_path", models["guide"], "--out", tmp_path / "o")
    assert done.status == 0, done.err
    mask = np.asarray(Image.open(tmp_path / "o" / clip.name / "masks" / "shot-7.png"))
    assert mask.shape == clip.image.shape[1:]
