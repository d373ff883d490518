"""The contact sheet and the summary of every kind of artifact."""

from pathlib import Path

import numpy as np
import pytest
from artifact_samples import columns_of, provenance, write_artifact
from export_samples import clips_of, generated_artifact, write_clips

from sfvd_pl.artifacts import Artifact, Kind, content_hash
from sfvd_pl.report.describe import describe
from sfvd_pl.report.overlay import IGNORE_COLOUR, LABEL_COLOUR, PREDICTION_COLOUR
from sfvd_pl.report.sheet import CELL_PX, TEXT_PX, contact_sheet


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels beside the text and below the title have a colour."""
    return int((picture[48:, TEXT_PX:] == colour).all(axis=-1).sum())


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_sheet_and_a_summary(tmp_path: Path, kind: Kind) -> None:
    artifact = Artifact.open(generated_artifact(tmp_path, kind))
    picture = contact_sheet(artifact)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) > CELL_PX
    assert bool(has(picture, LABEL_COLOUR)) == (kind != Kind.SEGMENTATION)
    text = describe(artifact)
    for expected in (f"{kind} artifact", "3 clips, 12 frames of 12 x 10", artifact.content_hash, "p0, p1", "seed 7"):
        assert expected in text
    assert "made from source aaaaaaaaaaaa" in text


def test_a_source_s_table(tmp_path: Path) -> None:
    artifact = write_clips(tmp_path / "s.h5", clips_of(255))
    columns = [artifact.column(f"clips/{key}") for key in ("split", "patient", "length", "labelled", "start")]
    text = describe(artifact)
    for part in ("train", "val", "test"):
        rows = [r for r in zip(*columns, strict=True) if r[0] == part]
        annotated = sum(int(artifact.column("frames/annotated")[r[4] : r[4] + r[2]].sum()) for r in rows)
        frames, labelled = (sum(r[k] for r in rows) for k in (2, 3))
        expected = [part, len({r[1] for r in rows}), len(rows), frames, annotated, labelled]
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {part}")]
        assert line.split()[:6] == [str(value) for value in expected]
    assert "spacing_mm: 0.277 to 0.277 mm, unknown in 1 clips" in text
    assert "fps: 7.3 to 15 Hz, unknown in 1 clips" in text
    assert "origin: frames 2, dicom 1" in text


def test_clips_that_lie_in_another_order_than_their_frames(tmp_path: Path) -> None:
    """The table counts frames of the right clips."""
    columns = columns_of(Kind.SOURCE) | {"clips/start": np.array([9, 4, 0]), "clips/length": np.array([3, 5, 4])}
    columns["frames/annotated"] = np.arange(12) >= 4
    columns["frames/wire_mask"] = columns["frames/wire_mask"] * columns["frames/annotated"][:, None, None]
    columns["clips/labelled"] = np.array([True, True, False])
    text = describe(Artifact.open(write_artifact(tmp_path / "s.h5", Kind.SOURCE, columns)))
    assert [line.split()[1:5] for line in text.splitlines() if line.startswith(("  train", "  val", "  test"))] == [
        ["1", "1", "3", "3"],
        ["1", "1", "5", "5"],
        ["1", "1", "4", "0"],
    ]


def test_a_swapped_parent_is_shouted_at(tmp_path: Path) -> None:
    source = write_artifact(tmp_path / "source.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
    origin = provenance(parents={"source": content_hash(source)})
    path = write_artifact(tmp_path / "scenes.h5", Kind.SCENES, columns_of(Kind.SCENES), provenance=origin)
    scenes = Artifact.open(path)
    assert "(source.h5 is the same)" in describe(scenes)
    write_artifact(source, Kind.SOURCE, columns_of(Kind.SOURCE, seed=1), overwrite=True)
    assert "(source.h5 HOLDS SOMETHING ELSE)" in describe(scenes)
    source.write_bytes(b"")
    assert "(source.h5 CAN'T BE READ)" in describe(scenes)


def test_every_split_is_on_the_sheet(tmp_path: Path) -> None:
    """Also where one of them has a hundred times as many clips; drawn from its rows' heights."""
    from sfvd_pl.report.sheet import _spread

    class Lopsided:
        kind, n_clips = Kind.SOURCE, 102

        @staticmethod
        def column(key: str) -> np.ndarray:
            return np.array(["train"] * 100 + ["val", "test"], object)

    shown = _spread(Lopsided(), 9)  # type: ignore[arg-type]
    assert len(shown) == len(set(shown)) == 9
    assert {100, 101} <= set(shown)
    assert _spread(Lopsided(), 200) == list(range(102))  # type: ignore[arg-type]


def test_a_segmentation_shows_labels_and_predictions_where_its_source_lies_beside_it(tmp_path: Path) -> None:
    source = write_artifact(tmp_path / "source.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
    columns = columns_of(Kind.SEGMENTATION) | {"frames/source_frame": np.arange(12), "clips/source_clip": np.arange(3)}
    origin = provenance(parents={"source": content_hash(source)})
    path = write_artifact(tmp_path / "segmentation.h5", Kind.SEGMENTATION, columns, provenance=origin)
    picture = contact_sheet(Artifact.open(path))
    assert has(picture, LABEL_COLOUR)
    assert has(picture, PREDICTION_COLOUR)
    source.unlink()
    bare = contact_sheet(Artifact.open(path))
    assert not has(bare, LABEL_COLOUR)
    assert not has(bare, PREDICTION_COLOUR)


def test_thin_wires_survive_a_large_frame(tmp_path: Path) -> None:
    """A wire one pixel wide in frames of 700 pixels: each picture of the row but the first shows its outline."""
    columns = columns_of(Kind.MOTIONS, lengths=[1, 1])
    masks = np.zeros((2, 700, 640), np.uint8)
    masks[:, 100:600, 320] = 1
    columns |= {"frames/image": np.full((2, 700, 640), 99, np.uint8), "frames/wire_mask": masks}
    columns |= {"clips/height": [700, 700], "clips/width": [640, 640]}
    picture = contact_sheet(Artifact.open(write_artifact(tmp_path / "m.h5", Kind.MOTIONS, columns)))
    assert picture.shape[0] < 3 * CELL_PX
    assert has(picture, LABEL_COLOUR) > 2 * 100


def test_ignored_pixels_are_tinted_named_and_counted(tmp_path: Path) -> None:
    columns = columns_of(Kind.SYNTHETIC, lengths=[2, 2])
    columns["frames/image"][:], columns["frames/ignore"][:] = 90, 0
    plain = Artifact.open(write_artifact(tmp_path / "plain.h5", Kind.SYNTHETIC, columns))
    columns["frames/ignore"][1, 2:7] = 1 - columns["frames/wire_mask"][1, 2:7]
    ignoring = Artifact.open(write_artifact(tmp_path / "ignoring.h5", Kind.SYNTHETIC, columns))
    legend = [(contact_sheet(a)[:48] == IGNORE_COLOUR).all(axis=-1).any() for a in (plain, ignoring)]
    assert legend == [False, True]
    changed = (contact_sheet(plain)[48:] != contact_sheet(ignoring)[48:]).any(axis=-1)
    assert changed.any()
    assert "ignored pixels: 0.00%" in describe(plain)
    share = columns["frames/ignore"].mean()
    assert f"ignored pixels: {share:.2%}" in describe(ignoring)
