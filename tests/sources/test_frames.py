"""Folders of pictures: what is read, and every bad case refused by name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import scan_folder
from sfvd_pl.sources.frames import natural_key, read_grey, read_mask


def rewrite(path: Path, values: np.ndarray) -> None:
    """Replace a picture's pixels."""
    Image.fromarray(values).save(path)


def root_of(run: Path) -> Path:
    """The data folder of a run."""
    return run.parents[1]


def test_a_folder_is_read_in_order(make_run) -> None:
    run = make_run(frames=12, masked=(0, 10), meta={"fps": 12.5, "pixel_spacing_mm": 0.3, "unheard of": [1]})
    make_run(patient="p2", suffix=".jpg", masked=())
    (root_of(run) / "README.txt").write_text("beside the patients")
    (root_of(run) / ".hidden").mkdir()
    scan = scan_folder(root_of(run))
    assert len(scan) == 2 and scan.frame_shape == (20, 24)
    first, second = list(scan)
    assert [int(frame[0, 0]) for frame in first.image] == list(range(100, 112)), "f2 comes before f10"
    assert first.annotated.tolist() == [k in (0, 10) for k in range(12)]
    assert first.wire_mask[10, 4:16, 15].all() and first.wire_mask.sum() == 24
    assert (first.name, first.patient, first.fps, first.spacing_mm) == ("p1/r1", "p1", 12.5, 0.3)
    assert not second.annotated.any() and np.isnan(second.fps)
    assert [clip.name for clip in scan] == ["p1/r1", "p2/r1"], "a scan can be gone through again"


def test_natural_order_has_no_ties() -> None:
    names = ["f10.png", "f2.png", "f02.png", "F1.png", "a.png", "7.png"]
    assert [p.name for p in sorted(map(Path, names), key=natural_key)] == [
        p.name for p in sorted(map(Path, reversed(names)), key=natural_key)
    ]
    assert natural_key(Path("f2.png")) < natural_key(Path("f10.png"))


def test_largest_frame_of_all_runs(make_run) -> None:
    run = make_run(shape=(20, 30))
    make_run(patient="p2", shape=(28, 24))
    assert scan_folder(root_of(run)).frame_shape == (28, 30)


def test_sixteen_bit_and_given_range(make_run) -> None:
    run = make_run(frames=1, masked=(), meta={"intensity_max": 4095})
    rewrite(run / "images" / "f0.png", np.full((20, 24), 4000, np.uint16))
    (clip,) = scan_folder(root_of(run))
    assert clip.image.dtype == np.uint16 and int(clip.image[0, 0, 0]) == 4000 and clip.intensity_max == 4095


def test_grey_in_disguise_is_grey(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 250, (16, 16), dtype=np.uint8)
    colour = np.stack([grey, grey, grey], axis=2)
    rewrite(tmp_path / "rgb.png", colour)
    rewrite(tmp_path / "rgba.png", np.dstack([colour, grey]))
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(grey).convert("LA").save(tmp_path / "alpha.png")
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(read_grey(path), grey), path.name


def test_any_nonzero_pixel_of_a_mask_is_wire(tmp_path: Path) -> None:
    wire = np.zeros((6, 7), np.uint8)
    wire[2, 1:5] = 1
    rewrite(tmp_path / "one.png", wire)
    rewrite(tmp_path / "grey.png", wire * 255)
    rewrite(tmp_path / "sixteen.png", wire.astype(np.uint16) * 300)
    rewrite(tmp_path / "red.png", np.stack([wire * 200, wire * 0, wire * 0], axis=2))
    rewrite(
        tmp_path / "opaque.png", np.stack([wire * 9, wire * 9, wire * 9, np.full_like(wire, 255)], axis=2)
    )
    Image.fromarray(wire.astype(bool)).save(tmp_path / "bits.png")
    palette = Image.fromarray(1 - wire, mode=None).convert("L")
    palette = Image.frombytes("P", (7, 6), palette.tobytes())
    palette.putpalette([255, 255, 255, 0, 0, 0])  # its first colour is white: index 0 is wire
    palette.save(tmp_path / "palette.png")
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(read_mask(path, (6, 7)), wire), path.name


def break_run(kind: str, run: Path) -> None:
    """Damage a run in one way."""
    images, masks = run / "images", run / "masks"
    big = np.zeros((21, 24), np.uint8)
    if kind == "mask of another size":
        rewrite(masks / "f1.png", big)
    elif kind == "mask without image":
        rewrite(masks / "f9.png", big)
    elif kind == "mask is a jpeg":
        rewrite(masks / "f1.jpg", big)
    elif kind == "frame of another size":
        rewrite(images / "f1.png", big)
    elif kind == "frame of another depth":
        rewrite(images / "f1.png", np.zeros((20, 24), np.uint16))
    elif kind == "two frames of one name":
        rewrite(images / "f1.jpg", np.zeros((20, 24), np.uint8))
    elif kind == "zero bytes":
        (images / "f1.png").write_bytes(b"")
    elif kind == "not a picture":
        (images / "f1.png").write_bytes(b"not a picture at all")
    elif kind == "cut short":
        path = images / "f1.png"
        rewrite(path, np.random.default_rng(0).integers(0, 255, (20, 24), dtype=np.uint8))
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "true colour":
        rewrite(images / "f1.png", np.stack([np.full((20, 24), c, np.uint8) for c in (10, 90, 200)], axis=2))
    elif kind == "float pixels":
        Image.fromarray(np.zeros((20, 24), np.float32)).save(images / "f3.tif")
    elif kind == "several pages":
        page = Image.fromarray(np.zeros((20, 24), np.uint8))
        page.save(images / "f3.tif", save_all=True, append_images=[page])
    elif kind == "beyond 16 bit":
        Image.fromarray(np.full((20, 24), 70000, np.int32)).save(images / "f3.tif")
    elif kind == "no images":
        for path in images.iterdir():
            path.unlink()
    elif kind == "no images folder":
        images.rename(run / "pictures")
    elif kind == "a run is missing":
        (run.parents[1] / "p2").mkdir()
    elif kind == "meta isn't JSON":
        (run / "meta.json").write_text("{fps: 15")
    elif kind == "meta isn't an object":
        (run / "meta.json").write_text("[15]")
    else:
        (run / "meta.json").write_text(kind)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("mask of another size", "size differs"),
        ("mask without image", "without its picture"),
        ("mask is a jpeg", "lossy"),
        ("frame of another size", "frame size"),
        ("frame of another depth", "bits"),
        ("two frames of one name", "two pictures of one name"),
        ("zero bytes", "empty"),
        ("not a picture", "can't be read"),
        ("cut short", "can't be read"),
        ("true colour", "colour"),
        ("float pixels", "pixel type"),
        ("several pages", "several pictures"),
        ("beyond 16 bit", "16 bit"),
        ("no images", "no pictures"),
        ("no images folder", "no folder of images"),
        ("a run is missing", "no runs"),
        ("meta isn't JSON", "JSON"),
        ("meta isn't an object", "must hold keys"),
        ('{"fps": "15"}', "fps"),
        ('{"fps": true}', "fps"),
        ('{"fps": -1}', "fps"),
        ('{"fps": Infinity}', "fps"),
        ('{"intensity_max": 4095.0}', "intensity_max"),
        ('{"pixel_spacing_mm": [0.3, 0.3]}', "pixel_spacing_mm"),
    ],
)
def test_bad_folders_are_refused(kind: str, says: str, make_run) -> None:
    run = make_run()
    break_run(kind, run)
    with pytest.raises(SourceError, match=says) as caught:
        list(scan_folder(root_of(run)))
    assert caught.value.file is not None and caught.value.file.startswith(str(root_of(run)))


def test_a_folder_without_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no patients"):
        scan_folder(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        scan_folder(tmp_path / "nowhere")
