"""Labels reach the frames they mean: beside recordings, for a whole tree, in volumes; nothing is lost silently."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from dicom_files import write_dicom
from PIL import Image

from sfvd_pl.errors import SfvdError, SourceError
from sfvd_pl.sources import Clip, scan_source
from sfvd_pl.sources.labels.attach import Labelled, attach_labels, read_marks
from sfvd_pl.sources.labels.files import Drawing
from sfvd_pl.sources.labels.shapes import Curve, rasterise

SHAPE = (20, 24)
SIZE = {"height": 20, "width": 24}
LINE = [[4.0, 5.0], [15.0, 11.0]]
MASK = rasterise([Curve(((4.0, 5.0), (15.0, 11.0)), 2.0)], SHAPE)


def stack(path: Path, frames: int = 4, meta: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full((frames, *SHAPE), 7, np.uint8))
    if meta is not None:
        path.with_suffix(".json").write_text(json.dumps(meta))
    return path


def points(*frames: dict[str, Any]) -> str:
    entries = [{"curves": [{"points": LINE}]} | frame for frame in frames]
    return json.dumps({"width": 2.0, "frames": entries})


def coco(*images: dict[str, Any]) -> str:
    shapes = [
        {"id": k, "image_id": k, "category_id": 1, "segmentation": [[4.5, 5.5, 15.5, 11.5]], "width": 2.0}
        for k in range(len(images))
    ]
    listed = [{"id": k} | image for k, image in enumerate(images)]
    return json.dumps({"images": listed, "annotations": shapes, "categories": [{"id": 1, "name": "wire"}]})


def cvat(*names: str) -> str:
    line = (
        '<polyline label="wire" points="4.5,5.5;15.5,11.5"><attribute name="width">2</attribute></polyline>'
    )
    images = "".join(f'<image id="0" name="{name}" width="24" height="20">{line}</image>' for name in names)
    return f"<annotations>{images}</annotations>"


def read(root: Path, **settings: Any) -> dict[str, Clip]:
    return {clip.name: clip for clip in attach_labels(scan_source(root), **settings)}


def assert_labelled(clip: Clip, frames: set[int], empty: set[int] = frozenset()) -> None:
    assert {int(k) for k in np.flatnonzero(clip.annotated)} == frames | set(empty)
    for k, mask in enumerate(clip.wire_mask):
        assert np.array_equal(mask, MASK if k in frames else np.zeros(SHAPE)), k


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.json", points({"frame": 1}, {"file": "f2.png"}, {"frame": 0, "curves": []})),
        ("labels.json", points({"frame": 1, "clip": "r1"}, {"file": "images/f2"}, {"file": "r1/f0.png", "curves": []})),
        ("annotations.json", coco({"file_name": "f1.png"}, {"file_name": "p1/r1/images/f2.png"})),
        ("annotations.json", coco({"file_name": "set/p1/r1/images/f1.png", **SIZE}, {"file_name": "f2"})),
        ("annotations.xml", cvat("f1.png", "r1/f2.png")),
        ("labels.csv", "file,x,y,width\nf1.png,4,5,2\nf1.png,15,11,2\nr1\\f2.png,4,5,2\nr1\\f2.png,15,11,2\n"),
        ("labels.csv", "frame,x,y,width\n1,4,5,2\n1,15,11,2\n2,4,5,2\n2,15,11,2\n"),
    ],
)  # fmt: skip
def test_labels_beside_a_run_of_pictures(make_run, name: str, text: str) -> None:
    run = make_run(masked=())
    (run / name).write_text(text)
    clip = read(run.parents[1])["p1/r1"]
    assert_labelled(clip, {1, 2}, {0} if '"curves": []' in text else set())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "run.labels.json",
            points({"frame": 1}, {"frame": 3, "clip": "run.npy"}, {"frame": 0, "curves": []}),
        ),
        (
            "run.labels.json",
            coco({"file_name": "run.npy", "frame_index": 1}, {"file_name": "frame_000003.PNG"}),
        ),
        ("run.labels.xml", cvat("frame_000001", "run/frame_000003.png")),
        (
            "run.labels.csv",
            "frame,clip,x,y,width\n1,,4,5,2\n1,,15,11,2\n3,p1/run,4,5,2\n3,p1/run,15,11,2\n0,,,,\n",
        ),
    ],
)
def test_labels_beside_a_file(tmp_path: Path, name: str, text: str) -> None:
    stack(tmp_path / "p1" / "run.npy")
    (tmp_path / "p1" / name).write_text(text)
    explicit = '"curves": []' in text or "0,,,," in text
    assert_labelled(read(tmp_path)["p1/run"], {1, 3}, {0} if explicit else set())


def test_a_track_of_a_video_beside_it(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy")
    entries = "".join(
        f'<polyline frame="{k}" outside="0" points="4.5,5.5;15.5,11.5"><attribute name="width">2</attribute></polyline>'
        for k in (0, 3)
    )
    xml = f'<annotations><meta><source>other name.mp4</source></meta><track label="w">{entries}</track></annotations>'
    (tmp_path / "p1" / "run.labels.xml").write_text(xml)
    assert_labelled(read(tmp_path)["p1/run"], {0, 1, 2, 3})


VIDEO_FRAME = {"file_name": "day/a.npy", "frame_index": 3}


def tree(tmp_path: Path, make_run) -> Path:
    make_run(masked=())
    make_run(run="r2", masked=())
    return stack(tmp_path / "data" / "p2" / "day" / "a.npy").parents[2]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("all.json", points({"file": "p1/r1/images/f1.png"}, {"file": "r2/f0"}, {"clip": "a", "frame": 3})),
        ("all.json", coco({"file_name": "p1/r1/f1.png"}, {"file_name": "r2/images/f0.png"}, VIDEO_FRAME)),
        ("all.xml", cvat("r1/images/f1.png", "p1/r2/f0.png", "p2/day/a/frame_000003.png")),
        ("all.csv", "clip,frame,file,x,y,width\np1/r1,1,,4,5,2\np1/r1,1,,15,11,2\n,,r2/f0,4,5,2\n,,r2/f0,15,11,2\n"
                    "p2/day/a,3,,4,5,2\np2/day/a,3,,15,11,2\n"),
    ],
)  # fmt: skip
def test_one_file_for_a_tree(tmp_path: Path, make_run, name: str, text: str) -> None:
    root = tree(tmp_path, make_run)
    (tmp_path / name).write_text(text)
    clips = read(root, labels=tmp_path / name)
    assert_labelled(clips["p1/r1"], {1})
    assert_labelled(clips["p1/r2"], {0})
    assert_labelled(clips["p2/day/a"], {3})


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ({"file": "p1/r1/f9.png"}, "labels of nothing"),
        ({"file": "p1/r3/f1.png"}, "labels of nothing"),
        ({"file": "f1.png"}, "several"),
        ({"clip": "r9", "frame": 1}, "labels of nothing"),
        ({"frame": 1}, "labels of nothing"),
        ({"clip": "r1", "frame": 3}, "isn't understood"),
        ({"file": "p2/day/a.npy"}, "isn't understood"),
        ({"file": "../p1/r1/f1.png"}, "isn't understood"),
        ({"file": "/data/p1/r1/f1.png"}, "isn't understood"),
        ({"file": "C:\\p1\\r1\\f1.png"}, "isn't understood"),
        ({"file": "elsewhere/a.npy/b"}, "labels of nothing"),
        ({"file": "p1/r1/f1.png/"}, None),
    ],
)
def test_labels_of_nothing_are_an_error(
    tmp_path: Path, make_run, frame: dict[str, Any], says: str | None
) -> None:
    root = tree(tmp_path, make_run)
    (tmp_path / "all.json").write_text(points(frame))
    if says is None:
        assert_labelled(read(root, labels=tmp_path / "all.json")["p1/r1"], {1})
        return
    with pytest.raises(SourceError, match=says) as caught:
        read(root, labels=tmp_path / "all.json")
    assert caught.value.file == str(tmp_path / "all.json") and "frames[0]" in str(caught.value)


def test_a_name_in_a_label_file_is_never_opened(tmp_path: Path, make_run, monkeypatch) -> None:
    root = tree(tmp_path, make_run)
    (tmp_path / "all.json").write_text(coco({"file_name": "r1/f1.png"}))
    opened: list[str] = []
    real = Path.open

    def spy(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(str(self))
        return real(self, *args, **kwargs)

    scan = scan_source(root)
    monkeypatch.setattr(Path, "open", spy)
    attach_labels(scan, labels=tmp_path / "all.json")
    assert set(opened) <= {str(tmp_path / "all.json")}


def test_labels_that_nobody_looks_for(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy")
    for name in ("ruin.labels.json", "labels.csv", "annotations.xml", "run2.labels.nii.gz"):
        path = tmp_path / "p1" / name
        path.write_text(points({"frame": 0}))
        with pytest.raises(SourceError, match="belong to no recording"):
            read(tmp_path)
        path.unlink()
    (tmp_path / "labels.json").write_text(points({"frame": 0, "clip": "run"}))
    assert_labelled(read(tmp_path, labels=tmp_path / "labels.json")["p1/run"], {0})


@pytest.mark.parametrize("name", ["instances_default.json", "images/annotations.xml", "masks/labels.csv"])
def test_labels_within_a_run_that_nobody_looks_for(make_run, name: str) -> None:
    run = make_run()
    (run / name).write_text(points({"frame": 0}))
    with pytest.raises(SourceError, match="belong to no recording"):
        read(run.parents[1])


def test_run_lengths_of_frames_of_another_size(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy")
    content = json.loads(coco({"file_name": "run.npy", "frame_index": 1}))
    content["annotations"][0] |= {"segmentation": {"size": [16384, 16384], "counts": [16384**2]}}
    (tmp_path / "p1" / "run.labels.json").write_text(json.dumps(content))
    with pytest.raises(SourceError, match="another size"):
        read(tmp_path)


def test_a_crowded_frame(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy")
    (tmp_path / "p1" / "run.labels.json").write_text(points({"frame": 1, "curves": [{"points": LINE}] * 257}))
    with pytest.raises(SourceError, match="257 shapes"):
        read(tmp_path)


def test_two_labels_of_one_frame(make_run, tmp_path: Path) -> None:
    run = make_run(masked=(1,))
    (run / "labels.json").write_text(points({"frame": 1}))
    with pytest.raises(SourceError, match="labelled twice"):
        read(run.parents[1])
    (run / "labels.json").write_text(points({"frame": 0}))
    (tmp_path / "all.json").write_text(points({"frame": 0, "clip": "r1"}))
    with pytest.raises(SourceError, match="in both"):
        read(run.parents[1], labels=tmp_path / "all.json")
    (tmp_path / "all.json").write_text(points({"frame": 2, "clip": "r1"}))
    assert read(run.parents[1], labels=tmp_path / "all.json")["p1/r1"].annotated.all()
    (run / "labels.csv").write_text("frame,x,y\n")
    with pytest.raises(SourceError, match="two files of labels"):
        read(run.parents[1])


def test_labels_of_frames_of_another_size(tmp_path: Path, make_run) -> None:
    run = make_run(masked=())
    (run / "labels.json").write_text(coco({"file_name": "f1.png", "height": 40, "width": 48}))
    with pytest.raises(SourceError, match="another size"):
        read(run.parents[1])


def test_a_frame_beyond_the_clip(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy")
    (tmp_path / "p1" / "run.labels.json").write_text(points({"frame": 4}))
    with pytest.raises(SourceError, match="isn't there"):
        read(tmp_path)


def test_a_wire_label_that_no_file_has(tmp_path: Path, make_run) -> None:
    run = make_run(masked=())
    (run / "annotations.xml").write_text(cvat("f1.png"))
    with pytest.raises(SourceError, match="no file of labels uses"):
        read(run.parents[1], drawing=Drawing(labels=("wire", "wier")))


# -- volumes ---------------------------------------------------------------------------------------------------


def volume(
    path: Path, frames: int = 4, *, marked: tuple[int, ...] = (1, 3), shape: tuple[int, int] = SHAPE
) -> None:
    labels = np.zeros((frames, *shape), np.uint8)
    for k in marked:
        labels[k, : MASK.shape[0], : MASK.shape[1]] = 3 * MASK
    if path.suffix == ".npy":
        np.save(path, labels)
    else:
        nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), np.eye(4)), path)


@pytest.mark.parametrize("suffix", [".npy", ".nii", ".nii.gz"])
def test_a_label_volume(tmp_path: Path, suffix: str) -> None:
    stack(tmp_path / "p1" / "run.npy")
    volume(tmp_path / "p1" / f"run.labels{suffix}")
    assert_labelled(read(tmp_path)["p1/run"], {1, 3})
    assert scan_source(tmp_path).ignored and not attach_labels(scan_source(tmp_path)).ignored


@pytest.mark.parametrize(("frames", "empty"), [("all", {0, 2}), ([1, 3, 0], {0})])
def test_which_frames_of_a_volume_were_looked_at(tmp_path: Path, frames: Any, empty: set[int]) -> None:
    stack(tmp_path / "p1" / "run.npy", meta={"annotated_frames": frames})
    volume(tmp_path / "p1" / "run.labels.npy")
    assert_labelled(read(tmp_path)["p1/run"], {1, 3}, empty)


@pytest.mark.parametrize(
    ("settings", "meta", "says"),
    [
        ({"frames": 5}, {}, "number of frames"),
        ({"shape": (20, 25)}, {}, "another size"),
        ({}, {"annotated_frames": [1]}, "outside annotated_frames"),
        ({}, {"annotated_frames": [1, 3, 4]}, "beyond the clip"),
    ],
)
def test_volumes_that_do_not_fit(
    tmp_path: Path, settings: dict[str, Any], meta: dict[str, Any], says: str
) -> None:
    stack(tmp_path / "p1" / "run.npy", meta=meta)
    volume(tmp_path / "p1" / "run.labels.npy", **settings)
    with pytest.raises(SourceError, match=says):
        read(tmp_path)


def test_a_volume_for_a_tree_is_refused(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy")
    volume(tmp_path / "all.npy")
    (tmp_path / "all.npy").rename(tmp_path / "labels.npy")
    with pytest.raises(SourceError, match="beside its recording"):
        read(tmp_path, labels=tmp_path / "labels.npy")


# -- where pixels are not the file's -----------------------------------------------------------------------------


def test_labels_of_a_cropped_dicom_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SFVD_SALT", "pepper")
    frames = np.random.default_rng(0).integers(0, 255, (3, *SHAPE), dtype=np.uint8)
    shutter = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 3, "ShutterRightVerticalEdge": 21,
               "ShutterUpperHorizontalEdge": 2, "ShutterLowerHorizontalEdge": 19}  # fmt: skip
    write_dicom(tmp_path / "a.dcm", frames, elements=shutter)

    (tmp_path / "a.labels.json").write_text(points({"frame": 1}, {"frame": 2, "curves": []}))
    (clip,) = attach_labels(scan_source(tmp_path))
    assert clip.frame_shape != SHAPE, "the shutter was cut away"
    (_, _, left), (_, _, top) = clip.affine
    height, width = clip.frame_shape
    part = (slice(int(top), int(top) + height), slice(int(left), int(left) + width))
    assert np.array_equal(clip.image[1], frames[1][part])
    assert np.array_equal(clip.wire_mask[1], MASK[part]) and clip.annotated.tolist() == [False, True, True]
    (tmp_path / "a.labels.json").unlink()
    labels = np.zeros((3, *SHAPE), np.uint8)
    labels[1] = MASK
    np.save(tmp_path / "a.labels.npy", labels)
    (clip,) = attach_labels(scan_source(tmp_path))
    assert np.array_equal(clip.wire_mask[1], MASK[part])


def test_a_map_to_a_further_original_does_not_move_labels(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "run.npy", meta={"affine": [[2, 0, 30], [0, 2, 40]]})
    (tmp_path / "p1" / "run.labels.json").write_text(points({"frame": 1}))
    clip = read(tmp_path)["p1/run"]
    assert_labelled(clip, {1})
    assert clip.affine == ((2.0, 0.0, 30.0), (0.0, 2.0, 40.0))


# -- passing over what is bad ------------------------------------------------------------------------------------


def test_bad_labels_leave_out_their_recording_only(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    stack(tmp_path / "p1" / "b.npy")
    (tmp_path / "p1" / "a.labels.json").write_text("{")
    (tmp_path / "p1" / "b.labels.json").write_text(points({"frame": 0}))
    told: list[tuple[str, SfvdError]] = []
    scan = attach_labels(scan_source(tmp_path), problem=lambda name, error: told.append((name, error)))
    assert [r.name for r in scan.recordings] == ["p1/b"] and [name for name, _ in told] == ["p1/a"]
    assert isinstance(scan.recordings[0], Labelled)


def test_labels_of_a_recording_that_is_left_out(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    (tmp_path / "p1" / "bad.npy").write_bytes(b"?")
    labels = tmp_path / "all.json"
    labels.write_text(points({"frame": 0, "clip": "a"}, {"frame": 0, "clip": "p1/bad"}))
    left_out: list[str] = []
    scan = scan_source(tmp_path, problem=lambda name, error: left_out.append(name))
    assert left_out == ["p1/bad"]
    (clip,) = attach_labels(scan, labels=labels, skipped=left_out)
    assert_labelled(clip, {0})
    with pytest.raises(SourceError, match="labels of nothing"):
        attach_labels(scan, labels=labels)


@pytest.mark.parametrize("shape", [(17, 19), (20, 30)])
def test_labels_of_another_size_than_a_cropped_dicom_file(tmp_path: Path, shape: tuple[int, int]) -> None:
    shutter = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 3, "ShutterRightVerticalEdge": 21,
               "ShutterUpperHorizontalEdge": 2, "ShutterLowerHorizontalEdge": 18}  # fmt: skip
    write_dicom(tmp_path / "a.dcm", np.full((3, *SHAPE), 7), elements=shutter)
    np.save(tmp_path / "a.labels.npy", np.ones((3, *shape), np.uint8))
    (recording,) = attach_labels(scan_source(tmp_path, salt="s")).recordings
    assert recording.frame_shape == (17, 19)
    with pytest.raises(SourceError, match=r"another size[\s\S]*\(20, 24\)"):
        recording.read()
    (tmp_path / "a.labels.npy").unlink()
    size = {"file_name": "a.dcm", "frame_index": 0, "height": shape[0], "width": shape[1]}
    (tmp_path / "a.labels.json").write_text(coco(size))
    with pytest.raises(SourceError, match=r"another size[\s\S]*\(20, 24\)"):
        attach_labels(scan_source(tmp_path, salt="s")).recordings[0].read()


@pytest.mark.parametrize("text", [points({"frame": 0}), coco({"file_name": "a", "frame_index": 0})])
def test_labels_where_facts_are_looked_for(tmp_path: Path, text: str) -> None:
    stack(tmp_path / "p1" / "a.npy").with_suffix(".json").write_text(text)
    with pytest.raises(SourceError, match=r"labels under a name[\s\S]*<stem>.labels.json"):
        scan_source(tmp_path)


def test_files_named_by_their_uid_have_labels_of_their_own(tmp_path: Path) -> None:
    for number in (5, 6):
        elements = {"SOPInstanceUID": f"1.2.3.{number}"}
        write_dicom(tmp_path / "p1" / f"1.2.3.{number}", np.full((3, *SHAPE), 7), elements=elements)
    (tmp_path / "p1" / "1.2.3.6.labels.json").write_text(points({"frame": 1}))
    scan = attach_labels(scan_source(tmp_path, salt="s"))
    labelled = {recording.files[0].name: isinstance(recording, Labelled) for recording in scan.recordings}
    assert labelled == {"1.2.3.5": False, "1.2.3.6": True}


def test_masks_and_marks_share_a_run(make_run) -> None:
    run = make_run(masked=(0,))
    Image.fromarray(MASK * 255).save(run / "masks" / "f0.png")
    (run / "labels.json").write_text(points({"frame": 2}))
    assert_labelled(read(run.parents[1])["p1/r1"], {0, 2})
    assert len(read_marks(run / "labels.json", Drawing())) == 1
