"""Folders of pictures: what is read, and every bad case refused by name."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import scan_source
from sfvd_pl.sources.pictures import natural_key, read_grey, read_mask


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
    scan = scan_source(root_of(run))
    assert len(scan) == 2 and scan.frame_shape == (20, 24)
    first, second = list(scan)
    assert [int(frame[0, 0]) for frame in first.image] == list(range(100, 112)), "f2 comes before f10"
    assert first.annotated.tolist() == [k in (0, 10) for k in range(12)]
    assert first.wire_mask[10, 4:16, 15].all() and first.wire_mask.sum() == 24
    assert (first.name, first.patient, first.fps, first.spacing_mm) == ("p1/r1", "p1", 12.5, 0.3)
    assert not second.annotated.any() and np.isnan(second.fps)
    assert [clip.name for clip in scan] == ["p1/r1", "p2/r1"], "a scan can be gone through again"


def test_pixels_to_ignore_lie_beside_the_masks_and_never_on_the_wire(make_run) -> None:
    run = make_run(masked=(0, 2))
    (run / "ignore").mkdir()
    unknown = np.zeros((20, 24), np.uint8)
    unknown[2:6, :9] = 7
    rewrite(run / "ignore" / "f2.png", unknown)
    (clip,) = scan_source(root_of(run))
    assert not clip.ignore[:2].any()
    assert np.array_equal(clip.ignore[2], (unknown > 0) & (clip.wire_mask[2] == 0))
    assert clip.wire_mask[2, 4:16, 7].all(), "the wire wins"
    assert run / "ignore" / "f2.png" in scan_source(root_of(run)).recordings[0].files


def test_natural_order_has_no_ties() -> None:
    names = ["f10.png", "f2.png", "f02.png", "F1.png", "a.png", "7.png"]
    assert [p.name for p in sorted(map(Path, names), key=natural_key)] == [
        p.name for p in sorted(map(Path, reversed(names)), key=natural_key)
    ]
    assert natural_key(Path("f2.png")) < natural_key(Path("f10.png"))


def test_largest_frame_of_all_runs(make_run) -> None:
    run = make_run(shape=(20, 30))
    make_run(patient="p2", shape=(28, 24))
    assert scan_source(root_of(run)).frame_shape == (28, 30)


def test_sixteen_bit_and_given_range(make_run) -> None:
    run = make_run(frames=1, masked=(), meta={"intensity_max": 4095})
    rewrite(run / "images" / "f0.png", np.full((20, 24), 4000, np.uint16))
    (clip,) = scan_source(root_of(run))
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


@pytest.mark.parametrize("name", ["images/f1.bmp", "masks/f1.bmp", "masks/f1.npy", "masks/f1.nii.gz"])
def test_a_picture_in_another_format_is_not_passed_over(make_run, name: str) -> None:
    run = make_run(frames=3, masked=(0,))
    (run / "images" / "Thumbs.db").touch()
    assert len(scan_source(root_of(run))) == 1
    (run / name).write_bytes(b"?")
    with pytest.raises(SourceError, match=rf"a format that isn't read[\s\S]*{name}"):
        scan_source(root_of(run))


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


def test_sixteen_bit_pictures_of_every_kind(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (9, 11)).astype(np.uint16)
    rewrite(tmp_path / "a.png", grey)
    rewrite(tmp_path / "a.tif", grey)
    Image.fromarray(grey).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    cv2.imwrite(str(tmp_path / "opencv.png"), grey)
    cv2.imwrite(str(tmp_path / "opencv.tif"), grey)
    big = b"MM\0*" + struct.pack(">IH", 8, 8)  # a big-endian file by hand
    tags = [(256, 11), (257, 9), (258, 16), (259, 1), (262, 1), (273, 200), (278, 9), (279, 198)]
    big += b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags) + struct.pack(">I", 0)
    (tmp_path / "big.tif").write_bytes(big.ljust(200, b"\0") + grey.astype(">u2").tobytes())
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(read_grey(path), grey) and read_grey(path).dtype == np.uint16, path.name
    Image.fromarray(grey).save(tmp_path / "white.tif", tiffinfo={262: 0})
    assert np.array_equal(read_grey(tmp_path / "white.tif"), 65535 - grey)


def test_sixteen_bit_colour_is_not_cut_to_eight(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 65536, (9, 11)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), np.dstack([grey, grey, grey]))
        with pytest.raises(SourceError, match="several channels"):
            read_grey(tmp_path / name)


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    rewrite(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 10000, 10000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SourceError, match=r"too large|can't be read"):
        read_grey(tmp_path / "a.png")


def break_run(kind: str, run: Path) -> None:
    """Damage a run in one way."""
    images, masks = run / "images", run / "masks"
    big = np.zeros((21, 24), np.uint8)
    if kind == "mask of another size":
        rewrite(masks / "f1.png", big)
    elif kind == "mask without image":
        rewrite(masks / "f9.png", big)
    elif kind == "pixels to ignore of another size":
        (run / "ignore").mkdir()
        rewrite(run / "ignore" / "f1.png", big)
    elif kind == "pixels to ignore without mask":
        (run / "ignore").mkdir()
        (masks / "f1.png").rename(run / "ignore" / "f1.png")
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
        ("pixels to ignore of another size", "size differs"),
        ("pixels to ignore without mask", r"without a mask[\s\S]*add its mask"),
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
        ("no images folder", "belong to no run"),
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
        list(scan_source(root_of(run)))
    assert caught.value.file is not None and caught.value.file.startswith(str(root_of(run)))


def test_a_folder_without_patients_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recordings"):
        scan_source(tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        scan_source(tmp_path / "nowhere")
