"""Exports: what is read back is what was there, and a folder is whole or not there."""

import errno
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import nibabel
import numpy as np
import pytest
from artifact_samples import columns_of, write_artifact
from export_samples import clips_of, generated_artifact, wire_clip, write_clips
from PIL import Image

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.errors import ExportError
from sfvd_pl.export import FORMATS, ExportConfig, export_artifact
from sfvd_pl.export.clips import read_item
from sfvd_pl.sources import Clip, SplitConfig
from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.run import import_source


def exported(artifact: Artifact, out: Path, format: Any, **options: Any) -> list[str]:
    return export_artifact(artifact, out, ExportConfig(format, **options), progress=False)


def imported(folder: Path, out: Path, **options: Any) -> Artifact:
    """What ``sfvd data import`` makes of an export."""
    config = ImportConfig(polarity="keep", workers=1, **options)
    import_source(folder, out, config, split=SplitConfig(0.2, 0.2), seed=3, progress=False)
    return Artifact.open(out, Kind.SOURCE)


def clips_in(artifact: Artifact) -> dict[str, Clip]:
    items = [read_item(artifact, row) for row in range(artifact.n_clips)]
    return {item.clip.name: item.clip for item in items}


def assert_same_clip(found: Clip, expected: Clip, *, but: tuple[str, ...] = ()) -> None:
    for key in vars(expected):
        if key in but:
            continue
        ours, theirs = getattr(expected, key), getattr(found, key)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(theirs, ours, err_msg=f"{expected.name} {key}")
            assert theirs.dtype == ours.dtype, (expected.name, key)
        else:
            np.testing.assert_equal(theirs, ours, err_msg=f"{expected.name} {key}")


def test_the_whole_range_of_16_bit_survives(tmp_path: Path) -> None:
    artifact = write_clips(tmp_path / "s.h5", clips_of(65535))
    exported(artifact, tmp_path / "out", "frames")
    again = clips_in(imported(tmp_path / "out", tmp_path / "again.h5"))
    for name, clip in clips_in(artifact).items():
        assert_same_clip(again[name], clip)


@pytest.mark.parametrize("format", ["frames", "nifti"])
def test_importing_an_export_gives_the_same_clips(any_depth: Artifact, tmp_path: Path, format: str) -> None:
    """Pixels, masks, empty but annotated masks, and everything that is known of a clip; not the split."""
    exported(any_depth, tmp_path / "out", format)
    again = imported(tmp_path / "out", tmp_path / "again.h5")
    before, after = clips_in(any_depth), clips_in(again)
    assert set(after) == set(before)
    for name, clip in before.items():
        assert_same_clip(after[name], clip)
    assert again.intensity_max == any_depth.intensity_max
    exported(again, tmp_path / "twice", format)
    files = sorted(p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*") if p.name != "export.json")
    for file in files:
        if (tmp_path / "out" / file).is_file():
            assert (tmp_path / "twice" / file).read_bytes() == (tmp_path / "out" / file).read_bytes(), file


def test_what_the_fixture_holds(any_depth: Artifact) -> None:
    """The clips of the round trip are the ones that were written, up to the artifact's precision."""
    for clip in clips_of(any_depth.intensity_max):
        assert_same_clip(clips_in(any_depth)[clip.name], clip)


def test_the_listing_says_where_it_is_from(eight_bit: Artifact, tmp_path: Path) -> None:
    lines = exported(eight_bit, tmp_path / "out", "frames")
    listing = json.loads((tmp_path / "out" / "export.json").read_text())
    assert listing["content_hash"] == eight_bit.content_hash
    assert {c["name"]: c["split"] for c in listing["clips"]} == dict(
        zip(eight_bit.column("clips/name"), eight_bit.column("clips/split"), strict=True)
    )
    assert [c["name"] for c in listing["clips"] if c["synthetic"]] == ["p5/ä"], "the phantom shows nobody"
    assert lines[0] == f"{tmp_path / 'out'}: 7 clips as frames"


def test_clips_are_chosen_by_name_pattern_and_split(eight_bit: Artifact, tmp_path: Path) -> None:
    def names(**options: Any) -> set[str]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        exported(eight_bit, out, "frames", **options)
        return {str(p.parent.relative_to(out)) for p in out.glob("*/*/images")}

    assert names(clips=("p1/*", "p2/a")) == {"p1/a", "p1/b", "p2/a"}
    test = {n for n, s in zip(*(eight_bit.column(f"clips/{k}") for k in ("name", "split")), strict=True) if s == "test"}
    assert names(split="test") == test
    with pytest.raises(ExportError, match="nothing to export"):
        names(clips=("p9/*",))
    with pytest.raises(ExportError, match="nothing to export"):
        names(clips=("p1/A",))


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_that_holds_something_is_left_alone(eight_bit: Artifact, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(ExportError, match="holds something already"):
        exported(eight_bit, out, format)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    (out / "mine.txt").unlink()
    exported(eight_bit, out, format)  # an empty folder is fine
    assert (out / "export.json").is_file()
    file = tmp_path / "file"
    file.write_text("keep")
    with pytest.raises(ExportError, match="holds something already"):
        exported(eight_bit, file, format)


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_fails_leaves_nothing(
    eight_bit: Artifact, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def failing(artifact: Artifact, row: int) -> Any:
        calls.append(row)
        if len(calls) == 3:
            raise OSError("disk full")
        return read_item(artifact, row)

    monkeypatch.setattr("sfvd_pl.export.run.read_item", failing)
    with pytest.raises(OSError, match="disk full"):
        exported(eight_bit, tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_nothing_is_named(
    eight_bit: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="the output folder can't be written"):
        exported(eight_bit, tmp_path / "file" / "out", "frames")

    def full(artifact: Artifact, row: int) -> Any:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("sfvd_pl.export.run.read_item", full)
    with pytest.raises(ExportError, match=r"can't be written[\s\S]*no space"):
        exported(eight_bit, tmp_path / "out", "frames")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("format", ["mp4", "nifti", "dicom"])
def test_a_missing_library_is_named_with_its_extra(
    eight_bit: Artifact, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    extra = {"mp4": "video"}.get(format, format)
    with pytest.raises(ExportError) as caught:
        exported(eight_bit, tmp_path / "out", format)
    assert caught.value.remedy == f"pip install 'sfvd-pl[{extra}]'"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["p1/../../../etc/x", "p1/.hidden", "p1/a\\b", "p1/a\nb", "p1/..", "p1/" + "x" * 201, "p1//a"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    named = enumerate(["p0/a", "p2/a", name])
    clips = [wire_clip(n, top=255, shape=(1, 24, 32), seed=k, annotated=[0]) for k, n in named]
    artifact = write_clips(tmp_path / "s.h5", clips)
    for format in FORMATS:
        if format == "nnunet":
            continue  # plain letters only, see below
        with pytest.raises(ExportError, match="can't be that of a folder or file"):
            exported(artifact, tmp_path / "out", format)
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]


def test_of_synthetic_clips_only_the_accepted_are_exported_unless_asked(synthetic: Artifact, tmp_path: Path) -> None:
    lines = exported(synthetic, tmp_path / "out", "frames")
    assert json.loads((tmp_path / "out" / "export.json").read_text())["learned_from"] == ["p0", "p1"]
    assert "1 that the gate rejected left out" in lines[0]
    assert {p.name for p in (tmp_path / "out" / "synthetic").iterdir()} == {"000001", "000002"}
    exported(synthetic, tmp_path / "all", "frames", accepted=False)
    assert {p.name for p in (tmp_path / "all" / "synthetic").iterdir()} == {"000000", "000001", "000002"}
    with pytest.raises(ExportError, match="only a source is split"):
        exported(synthetic, tmp_path / "x", "frames", split="test")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_with_pictures_can_be_exported(tmp_path: Path, kind: Kind, format: str) -> None:
    artifact = Artifact.open(generated_artifact(tmp_path, kind))
    if kind == Kind.SEGMENTATION:
        with pytest.raises(ExportError, match="holds no pictures"):
            exported(artifact, tmp_path / "out", format)
        return
    exported(artifact, tmp_path / "out", format, accepted=False if kind == Kind.SYNTHETIC else None)
    assert len(json.loads((tmp_path / "out" / "export.json").read_text())["clips"]) == 3


def test_a_scene_is_exported_with_the_mask_that_drove_it(tmp_path: Path) -> None:
    artifact = Artifact.open(generated_artifact(tmp_path, Kind.SCENES))
    clip = read_item(artifact, 1).clip
    np.testing.assert_array_equal(clip.image, artifact.column("clips/scene")[1:2])
    np.testing.assert_array_equal(clip.wire_mask, artifact.column("frames/wire_mask")[3:4])


def test_nifti_says_spacing_and_time(eight_bit: Artifact, tmp_path: Path) -> None:
    exported(eight_bit, tmp_path / "out", "nifti")
    for name, units, zooms in (
        ("p1/a", ("mm", "sec"), (0.277, 0.277, 1, 1 / 15)),
        ("p2/a", ("mm", "unknown"), (0.277, 0.277, 1, 1)),
        ("p3/Lauf 1", ("unknown", "sec"), (1, 1, 1, 1 / 15)),
    ):
        image = nibabel.load(tmp_path / "out" / f"{name}.nii.gz")
        labels = nibabel.load(tmp_path / "out" / f"{name}.labels.nii.gz")
        assert image.header.get_xyzt_units() == units
        assert image.header.get_zooms() == pytest.approx(zooms, rel=1e-6)
        assert labels.header.get_zooms() == image.header.get_zooms()
        np.testing.assert_array_equal(labels.affine, image.affine)
        clip = clips_in(eight_bit)[name]
        pixels = np.asanyarray(image.dataobj)
        assert pixels.dtype == np.uint8
        assert pixels[2, 5, 0, 1] == clip.image[1, 5, 2], "axes X, Y, 1, T"
    assert not (tmp_path / "out" / "p5" / "b.labels.nii.gz").exists(), "nobody looked at it"


def frames_of(path: Path, format: str) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format=format) for frame in container.decode(video=0)])


def test_mp4_plays_and_looks_the_same(eight_bit: Artifact, tmp_path: Path) -> None:
    """Smooth pictures survive; the sizes are even; the rate is the clip's."""
    lines = exported(eight_bit, tmp_path / "out", "mp4", fps=12.5)
    assert any("1 clips don't know their frame rate; they play at 12.5" in line for line in lines)
    clips = clips_in(eight_bit)
    made = (tmp_path / "out").rglob("*.mp4")
    assert {str(path.relative_to(tmp_path / "out").with_suffix("")) for path in made} == set(clips)
    for name, rate in (("p1/b", 15), ("p2/a", 12.5)):
        with av.open(str(tmp_path / "out" / f"{name}.mp4")) as container:
            stream = container.streams.video[0]
            assert float(stream.average_rate) == pytest.approx(rate)
            assert stream.codec_context.pix_fmt == "yuv420p"
            assert stream.codec_context.name in ("h264", "mpeg4")
        found = frames_of(tmp_path / "out" / f"{name}.mp4", "gray").astype(float)
        height, width = clips[name].frame_shape
        assert found.shape == (len(clips[name]), height + height % 2, width + width % 2)
        error = found[:, :height, :width] - clips[name].image
        assert np.sqrt(np.mean(error**2)) < 8, "white noise is the worst case"
        assert abs(np.mean(error)) < 2


def test_the_overlay_draws_a_yellow_line_where_a_frame_is_annotated(eight_bit: Artifact, tmp_path: Path) -> None:
    exported(eight_bit, tmp_path / "out", "mp4", overlay=True, clips=("p1/a",))
    found = frames_of(tmp_path / "out" / "p1" / "a.mp4", "rgb24").astype(int)
    yellow = (found[..., 0] - found[..., 2] > 60) & (found[..., 1] - found[..., 2] > 40)
    drawn = yellow.reshape(len(found), -1).sum(1)
    # frames 0 and 3 show a wire; 2 is annotated and empty; 1 and 4 aren't annotated
    assert (drawn[[0, 3]] > 200).all()
    assert (drawn[[1, 2, 4]] < 20).all()


def test_a_frame_rate_out_of_bounds_is_refused() -> None:
    with pytest.raises(ExportError, match="no such frame rate"):
        ExportConfig("mp4", fps=math.inf)


def test_another_depth_in_mp4_is_shown_over_its_own_range(tmp_path: Path) -> None:
    shape = (2, 24, 32)
    clips = [wire_clip(f"p{k}/a", top=1000, shape=shape, seed=k, annotated=[0]) for k in range(3)]
    flat = np.full(shape, 500, np.uint16)
    artifact = write_clips(tmp_path / "s.h5", [replace(clip, image=flat) for clip in clips])
    exported(artifact, tmp_path / "out", "mp4")
    found = frames_of(tmp_path / "out" / "p0" / "a.mp4", "gray")
    assert abs(float(found.mean()) - 127.5) < 3


def ignoring(tmp_path: Path) -> Artifact:
    """The source, with pixels to ignore beside the wire in one clip that is smaller than the frame."""
    clips = clips_of(255)
    ignore = np.zeros_like(clips[1].wire_mask)
    ignore[0, 2:9, 3:27] = 1
    ignore &= 1 - clips[1].wire_mask
    return write_clips(tmp_path / "source.h5", [clips[0], replace(clips[1], ignore=ignore), *clips[2:]])


def test_pixels_to_ignore_survive_the_round_trip(tmp_path: Path) -> None:
    artifact = ignoring(tmp_path)
    exported(artifact, tmp_path / "out", "frames")
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("ignore/*"))
    assert files == [f"p1/b/ignore/{k:05d}.png" for k in range(3)]
    again = clips_in(imported(tmp_path / "out", tmp_path / "again.h5"))
    assert again["p1/b"].ignore.any()
    for name, clip in clips_in(artifact).items():
        assert_same_clip(again[name], clip)
    assert "1 clips have pixels to ignore" in exported(artifact, tmp_path / "nifti", "nifti")[-1]


def test_synthetic_clips_are_exported_at_their_own_size(tmp_path: Path) -> None:
    """What lies beyond a clip is ignored in the artifact and not there in the export."""
    columns = columns_of(Kind.SYNTHETIC)
    columns["clips/height"], columns["clips/width"] = np.array([12, 9, 12]), np.array([10, 10, 7])
    for rows, beyond in ((slice(3, 8), np.s_[:, 9:]), (slice(8, 12), np.s_[:, :, 7:])):
        columns["frames/wire_mask"][rows][beyond] = 0
        columns["frames/ignore"][rows][beyond] = 1
    artifact = Artifact.open(write_artifact(tmp_path / "synthetic.h5", Kind.SYNTHETIC, columns))
    exported(artifact, tmp_path / "out", "frames", accepted=True)
    for name, size in (("p1/run", (9, 10)), ("p2/run", (12, 7))):
        for folder in ("images", "masks", "ignore"):
            files = sorted((tmp_path / "out" / name / folder).glob("*.png"))
            assert len(files) == int(columns["clips/length"][int(name[1])])
            assert {np.asarray(Image.open(file)).shape for file in files} == {size}
    listed = json.loads((tmp_path / "out" / "export.json").read_text())["clips"]
    assert [clip["shows"] for clip in listed] == ["", "p1"]


@pytest.mark.parametrize("kind", [Kind.SOURCE, Kind.SCENES, Kind.MOTIONS])
def test_only_synthetic_clips_are_accepted_or_rejected(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(ExportError, match="no gate has judged these clips"):
        exported(Artifact.open(generated_artifact(tmp_path, kind)), tmp_path / "out", "frames", accepted=True)
