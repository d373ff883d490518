"""Label files: what each format says, and every way in which one can be wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfvd_pl.errors import SourceError
from sfvd_pl.sources.labels.attach import read_marks
from sfvd_pl.sources.labels.coco import decode_counts, read_coco
from sfvd_pl.sources.labels.cvat import read_cvat
from sfvd_pl.sources.labels.files import Drawing, Mark
from sfvd_pl.sources.labels.shapes import Bitmap, Curve, Polygon, rasterise

WIDE = Drawing(2.0)


def read(folder: Path, content: Any, name: str = "labels.json", drawing: Drawing = WIDE) -> list[Mark]:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_marks(path, drawing)


# -- COCO ------------------------------------------------------------------------------------------------------

# Encoded by pycocotools 2.0.11 (mask.encode), which writes what every COCO tool reads.
RANDOM = [
    "000111011", "001000010", "010101001", "001010011", "011000110", "001101010",
]  # fmt: skip
STRIPE = "ho13Q3" + 137 * "0" + "Pn0"


def test_compressed_run_lengths_are_those_of_cocos_own_tool() -> None:
    expected = np.array([[int(c) for c in row] for row in RANDOM], bool)
    bitmap = Bitmap(0, 0, 6, 9, tuple(decode_counts("811010O30M110O00O01020M1020N1")), by_column=True)
    assert np.array_equal(bitmap.mask(), expected)
    assert decode_counts("d0") == [20] and decode_counts("0d0") == [0, 20]
    stripe = Bitmap(0, 0, 100, 100, tuple(decode_counts(STRIPE)), by_column=True).mask()
    assert stripe[40:43, 20:90].all() and stripe.sum() == 210


def coco(
    annotations: list[Any], images: list[Any] | None = None, categories: list[Any] | None = None
) -> dict[str, Any]:
    images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}] if images is None else images
    categories = [{"id": 1, "name": "guidewire"}] if categories is None else categories
    return {"images": images, "annotations": annotations, "categories": categories}


def drawn(**keys: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1} | keys


def test_coco_polygons_count_from_the_corner(tmp_path: Path) -> None:
    (mark,) = read(tmp_path, coco([drawn(segmentation=[[2, 3, 6, 3, 6, 5, 2, 5]])]))
    assert (mark.key, mark.frame, mark.size) == ("a.png", None, (20, 30))
    mask = rasterise(mark.shapes, (20, 30))
    assert mask[3:5, 2:6].all() and mask.sum() == 8, "the box from 2 to 6 and 3 to 5 is 4 x 2 pixels"


def test_coco_polylines_keypoints_and_run_lengths(tmp_path: Path) -> None:
    plain = {"size": [20, 30], "counts": [20, 20, 560]}
    marks = read(
        tmp_path,
        coco(
            [
                drawn(segmentation=[[2.5, 3.5, 8.5, 3.5]], width=1.5),
                drawn(keypoints=[2.5, 9.5, 2, 5.5, 9.5, 0, 8.5, 9.5, 1]),
                drawn(segmentation=plain, image_id=2),
                drawn(segmentation={"size": [6, 9], "counts": "811010O30M110O00O01020M1020N1"}, image_id=3),
            ],
            [
                {"id": 1, "file_name": "a.png"},
                {"id": 2, "file_name": "b.png", "height": 20, "width": 30},
                {"id": 3, "file_name": "clip.mp4", "frame_index": 7},
            ],
        ),
    )
    first, second, third = marks
    assert first.shapes == (Curve(((2.0, 3.0), (8.0, 3.0)), 1.5), Curve(((2.0, 9.0), (8.0, 9.0)), 2.0))
    column = rasterise(second.shapes, (20, 30))
    assert column[:, 1].all() and column.sum() == 20
    assert (third.key, third.frame) == ("clip.mp4", 7)
    assert rasterise(third.shapes, (6, 9)).sum() == sum(row.count("1") for row in RANDOM)


def test_coco_an_image_without_annotation_has_no_label_unless_it_says_so(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png", "annotated": True}]
    (mark,) = read(tmp_path, coco([], images))
    assert (mark.key, mark.shapes) == ("b.png", ())


def test_coco_the_wire_among_several_categories(tmp_path: Path) -> None:
    categories = [{"id": 1, "name": "Guide Wire"}, {"id": 2, "name": "catheter"}]
    polygon = [[2, 3, 6, 3, 6, 5]]
    annotations = [drawn(segmentation=polygon), drawn(segmentation=polygon, category_id=2)]
    (mark,) = read(tmp_path, coco(annotations, categories=categories))
    assert len(mark.shapes) == 1
    categories[0]["name"] = "Draht"
    with pytest.raises(SourceError, match="which label"):
        read(tmp_path, coco(annotations, categories=categories))
    drawing = Drawing(labels=("Draht", "catheter"))
    (mark,) = read(tmp_path, coco(annotations, categories=categories), drawing=drawing)
    assert len(mark.shapes) == 2 and drawing.seen == {"Draht", "catheter"}


@pytest.mark.parametrize(
    "content",
    [
        {"images": [], "annotations": {}},
        {"images": {}, "annotations": []},
        {"images": [{"id": 1}, {"id": 1}], "annotations": []},
        {"images": [{"file_name": "a"}], "annotations": []},
        coco([], categories=[1]),
        coco([1]),
        coco([drawn(image_id=9, segmentation=[[0, 0, 1, 1, 2, 0]])]),
        coco([drawn(image_id=[], segmentation=[[0, 0, 1, 1, 2, 0]])]),
        coco([drawn()]),
        coco([drawn(segmentation="x")]),
        coco([drawn(segmentation=[[0, 0, 1, 1]])]),
        coco([drawn(segmentation=[[0, 0, 1]])]),
        coco([drawn(segmentation=[["a", 0, 1, 1, 2, 2]])]),
        coco([drawn(segmentation=[[0, 0, 1, 1]], width=0)]),
        coco([drawn(segmentation=[[0, 0, 1e300, 1]], width=1)]),
        coco([drawn(segmentation={"size": [20, 30], "counts": [1, 2]})]),
        coco([drawn(segmentation={"size": [20, 30], "counts": [700, -100]})]),
        coco([drawn(segmentation={"size": [20, 31], "counts": [620]})]),
        coco([drawn(segmentation={"size": [10**6, 10**6], "counts": "d0"})]),
        coco([drawn(segmentation={"counts": "d0"})]),
        coco([drawn(segmentation={"size": [20, 30], "counts": "\x01"})]),
        coco([drawn(segmentation={"size": [20, 30], "counts": "P"})]),
        coco([drawn(segmentation={"size": [20, 30], "counts": "o" * 50})]),
        coco([drawn(keypoints=[1, 2])]),
        coco([drawn(keypoints=[1, 2, 0, 3, 4, 0])]),
        coco(
            [drawn(segmentation=[[0, 0, 4, 1, 2, 2]])],
            [{"id": 1, "file_name": "a", "height": "x", "width": 2}],
        ),
        coco([drawn(segmentation=[[0, 0, 4, 1, 2, 2]])], [{"id": 1}]),
        coco([drawn(segmentation=[[0, 0, 4, 1, 2, 2]])], [{"id": 1, "file_name": "a", "frame_index": -1}]),
        coco([drawn(segmentation=[[0, 0, 4, 1, 2, 2]])], [{"id": 1, "file_name": "a", "frame_index": 1.5}]),
    ],
)
def test_coco_files_that_are_wrong(tmp_path: Path, content: Any) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, content)
    assert caught.value.file == str(tmp_path / "labels.json")


def test_a_curve_without_a_width_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--wire_width"):
        read(tmp_path, coco([drawn(keypoints=[1, 2, 2, 3, 4, 2])]), drawing=Drawing())


# -- CVAT ------------------------------------------------------------------------------------------------------


def cvat(body: str, meta: str = "") -> str:
    return f'<?xml version="1.0"?><annotations><version>1.1</version>{meta}{body}</annotations>'


def test_cvat_images(tmp_path: Path) -> None:
    body = """
    <image id="0" name="p1/a.png" width="30" height="20">
      <polyline label="wire" points="2.5,3.5;8.5,3.5"><attribute name="width">1.5</attribute></polyline>
      <polygon label="wire" points="10,10;14,10;14,12;10,12"/></image>
    <image id="1" name="p1/b.png" width="30" height="20">
      <mask label="wire" rle="1, 2, 3" left="4" top="5" width="3" height="2"/></image>
    <image id="2" name="p1/c.png" width="30" height="20"/>
    <image id="3" name="p1/d.png" width="30" height="20"><tag label="No wire"/></image>"""
    first, second, third = read(tmp_path, cvat(body), "annotations.xml")
    assert (first.key, first.frame, first.size) == ("p1/a.png", None, (20, 30))
    assert first.shapes[0] == Curve(((2.0, 3.0), (8.0, 3.0)), 1.5)
    assert isinstance(first.shapes[1], Polygon) and rasterise(first.shapes[1:], (20, 30)).sum() == 8
    mask = rasterise(second.shapes, (20, 30))
    assert np.argwhere(mask).tolist() == [[5, 5], [5, 6]], "along the rows of its box"
    assert (third.key, third.shapes) == ("p1/d.png", ()), "c.png has no label"


def test_cvat_tracks_are_interpolated(tmp_path: Path) -> None:
    size = "<original_size><width>30</width><height>20</height></original_size>"
    meta = f"<meta><task><source>run.mp4</source>{size}</task></meta>"
    body = """<track id="0" label="wire">
      <polyline frame="2" outside="0" keyframe="1" points="2.5,3.5;8.5,3.5"/>
      <polyline frame="6" outside="0" keyframe="1" points="2.5,7.5;8.5,11.5"/>
      <polyline frame="7" outside="1" keyframe="1" points="2.5,7.5;8.5,11.5"/>
      <polyline frame="10" outside="0" keyframe="1" points="0.5,0.5;10.5,0.5"/>
      <polyline frame="12" outside="0" keyframe="1" points="0.5,4.5;5.5,4.5;10.5,4.5"/></track>
    <track id="1" label="wire"><mask frame="2" rle="0,4" left="1" top="1" width="2" height="2"/></track>"""
    marks = {mark.frame: mark for mark in read(tmp_path, cvat(body, meta), "annotations.xml")}
    assert sorted(marks) == [2, 3, 4, 5, 6, 10, 11, 12], (
        "outside, and beyond the last entry, there is no label"
    )
    assert {(mark.key, mark.size) for mark in marks.values()} == {("run.mp4", (20, 30))}
    assert len(marks[2].shapes) == 2
    points = {frame: np.array(mark.shapes[0].points) for frame, mark in marks.items()}
    assert np.allclose(points[3], 0.75 * points[2] + 0.25 * points[6])
    assert np.allclose(points[11], [(0, 2), (5, 2), (10, 2)]), "fewer points are spread along the curve first"


@pytest.mark.parametrize(
    "body",
    [
        '<image name="a"><polyline label="w" points="1,1"/></image>',
        '<image name="a"><polyline label="w" points="1,1;2"/></image>',
        '<image name="a"><polyline label="w" points="1,1;2,x"/></image>',
        '<image name="a"><polyline label="w"/></image>',
        '<image name="a"><polygon label="w" points="1,1;2,2"/></image>',
        '<image name="a"><polyline label="w" points="1,1;2,2"><attribute name="width">?</attribute></polyline></image>',
        '<image name="a"><mask label="w" rle="1,2" left="0" top="0" width="3" height="2"/></image>',
        '<image name="a"><mask label="w" rle="7,-1" left="0" top="0" width="3" height="2"/></image>',
        '<image name="a"><mask label="w" rle="6" left="0" top="0" width="99999999" height="2"/></image>',
        '<image name="a"><mask label="w" rle="6" width="3" height="2"/></image>',
        '<image name="a" height="x" width="1"><polyline label="w" points="1,1;2,2"/></image>',
        '<image name="a"><tag label="empty"/><polyline label="w" points="1,1;2,2"/></image>',
        '<track id="0" label="w"><polyline frame="0" points="1,1;2,2"/><polyline frame="0" points="1,1;2,2"/></track>',
        '<track id="0" label="w"><polyline points="1,1;2,2"/></track>',
        '<track id="0" label="w"><polyline frame="-1" points="1,1;2,2"/></track>',
        '<track id="0" label="w"><polyline frame="0" points="1,1;2,2"/>'
        '<polyline frame="9999999" points="1,1;2,2"/></track>',
        '<track id="0" label="w"><polygon frame="0" points="1,1;2,2;3,1"/>'
        '<polygon frame="3" points="1,1;2,2;3,1;4,1"/></track>',
    ],
)
def test_cvat_files_that_are_wrong(tmp_path: Path, body: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, cvat(body), "annotations.xml")
    assert caught.value.key, "the place is named"


def test_cvat_tracks_without_end(tmp_path: Path) -> None:
    track = '<track label="w"><polyline frame="0" points="1,1;2,2"/><polyline frame="19999" points="1,1;2,2"/></track>'
    with pytest.raises(SourceError, match="shapes"):
        read(tmp_path, cvat(track * 11), "annotations.xml")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<annotations>",
        "<opencv/>",
        '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><annotations>&c;</annotations>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotations>&b;</annotations>',
        '<?xml version="1.0" encoding="no-such-thing"?><annotations/>',
    ],
)
def test_xml_that_is_no_cvat(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="can't be read"):
        read(tmp_path, text, "annotations.xml")


# -- point lists -----------------------------------------------------------------------------------------------


def test_a_point_list_in_json(tmp_path: Path) -> None:
    content = {
        "width": 1.5,
        "frames": [
            {"frame": 3, "curves": [{"points": [[1, 2], [3, 4]]}, {"points": [[5, 5], [6, 6]], "width": 4}]},
            {"clip": "p1/r1", "file": "00007.png", "curves": []},
            {"frame": 4, "curves": [{"points": [[0, 0], [9, 0], [9, 9]], "kind": "spline"}]},
        ],
    }
    first, second, third = read(tmp_path, content, drawing=Drawing())
    assert (first.key, first.frame) == ("", 3)
    assert first.shapes == (Curve(((1.0, 2.0), (3.0, 4.0)), 1.5), Curve(((5.0, 5.0), (6.0, 6.0)), 4.0))
    assert (second.key, second.frame, second.shapes) == ("p1/r1/00007.png", None, ())
    assert len(third.shapes[0].points) > 20


def test_a_point_list_in_csv(tmp_path: Path) -> None:
    text = """frame,clip,wire,x,y,width,kind
3,p1/r1,a,1,2,1.5,
3,p1/r1,a,3,4,,
3,p1/r1,b,5,5,,bspline
3,p1/r1,b,6,6,,
3,p1/r1,b,9,6,,
5,p1/r1,,,,,
"""
    first, second = read(tmp_path, text, "labels.csv")
    assert (first.key, first.frame) == ("p1/r1", 3)
    assert first.shapes[0] == Curve(((1.0, 2.0), (3.0, 4.0)), 1.5)
    assert first.shapes[1].width == 2.0 and first.shapes[1].points[-1] == pytest.approx((9.0, 6.0))
    assert (second.frame, second.shapes) == (5, ()), "a line without a point says that there is no wire"
    (mark,) = read(tmp_path, "file,x,y\na.png,1,1\na.png,2,2\n", "labels.csv")
    assert (mark.key, mark.frame) == ("a.png", None)


@pytest.mark.parametrize(
    "content",
    [
        {"frames": {}},
        {"frames": [1]},
        {"frames": [{"frame": 0}]},
        {"frames": [{"curves": []}]},
        {"frames": [{"frame": 0, "file": "a.png", "curves": []}]},
        {"frames": [{"frame": "x", "curves": []}]},
        {"frames": [{"frame": True, "curves": []}]},
        {"frames": [{"frame": 0, "clip": 3, "curves": []}]},
        {"frames": [{"frame": 0, "curves": {}}]},
        {"frames": [{"frame": 0, "curves": [[]]}]},
        {"frames": [{"frame": 0, "curves": [{}]}]},
        {"frames": [{"frame": 0, "curves": [{"points": [[1, 2]]}]}]},
        {"frames": [{"frame": 0, "curves": [{"points": [[1, 2], [3, None]]}]}]},
        {"frames": [{"frame": 0, "curves": [{"points": 7}]}]},
        {"frames": [{"frame": 0, "curves": [{"points": [[1, 2], [3, 4]], "kind": "bezier"}]}]},
        {"frames": [{"frame": 0, "curves": [{"points": [[1, 2], [3, 4]], "knots": 3, "kind": "bspline"}]}]},
        {
            "frames": [
                {"frame": 0, "curves": [{"points": [[1, 2], [3, 4]], "degree": "3", "kind": "bspline"}]}
            ]
        },
        {"frames": [{"frame": 0, "curves": [{"points": [[1, 2], [3, 4]], "width": [2]}]}]},
        {"nothing": 1},
        [1, 2],
        "{",
    ],
)
def test_point_lists_in_json_that_are_wrong(tmp_path: Path, content: Any) -> None:
    with pytest.raises(SourceError):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x,y\n1,2\n",
        "frame,x\n1,2\n",
        "frame,x,y\n,1,2\n",
        "frame,x,y\none,1,2\n",
        "frame,x,y\n1,1,2\n",
        "frame,x,y\n1,1,2\n1,3,\n",
        "frame,x,y\n1,1,2,3\n",
        "frame,x,y,width\n1,1,2,3\n1,1,3,4\n",
        "frame,file,x,y\n1,a,1,2\n",
        "frame,x,y,kind\n1,1,2,arc\n1,1,3,arc\n",
    ],
)
def test_point_lists_in_csv_that_are_wrong(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError):
        read(tmp_path, text, "labels.csv")


def test_what_is_no_label_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="isn't understood"):
        read(tmp_path, "x", "labels.txt")
    with pytest.raises(SourceError, match="can't be read"):
        read_marks(tmp_path / "absent.csv", WIDE)
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(SourceError):
        read_marks(tmp_path / "binary.csv", WIDE)
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(SourceError, match="too large"):
        read_marks(tmp_path / "huge.json", WIDE)


def test_another_label_is_no_wire_where_wires_could_have_been_drawn(tmp_path: Path) -> None:
    shape = {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 9, 9]], "width": 2}
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [shape],
               "categories": [{"id": 1, "name": "guidewire"}, {"id": 2, "name": "stent"}]}  # fmt: skip
    assert read_coco(content, tmp_path / "a.json", Drawing()) == []
    only = content | {"categories": [{"id": 2, "name": "stent"}]}
    assert len(read_coco(only, tmp_path / "a.json", Drawing())) == 1, "the only label there is"
    names = "".join(f"<label><name>{name}</name></label>" for name in ("guidewire", "stent"))
    line = '<polyline label="stent" points="1,1;9,9"><attribute name="width">2</attribute></polyline>'
    image = f'<image id="0" name="a.png" width="24" height="20">{line}</image>'
    path = tmp_path / "a.xml"
    path.write_text(f"<annotations><meta><job><labels>{names}</labels></job></meta>{image}</annotations>")
    assert read_cvat(path, Drawing()) == []
    path.write_text(f"<annotations>{image}</annotations>")
    assert len(read_cvat(path, Drawing())) == 1
