"""Pictures and animations, decoded again and compared pixel by pixel."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from scipy import ndimage

from sfvd_pl.errors import MetricsError
from sfvd_pl.report.animation import gif_bytes, save_gif
from sfvd_pl.report.media import MediaClips, ReportMedia
from sfvd_pl.report.overlay import (
    GAP_PX,
    LABEL_COLOUR,
    PREDICTION_COLOUR,
    fitting_scale,
    grid_picture,
    outline,
    overlay,
    png_bytes,
    save_png,
    to_grey,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 12, 16), dtype=np.uint8)
WIRES = np.zeros_like(FRAMES)
WIRES[:, 5, 3:12] = 1


def test_windows() -> None:
    assert to_grey(FRAMES) is FRAMES
    assert to_grey(np.array([0, 65535], dtype=np.uint16)).tolist() == [0, 255]
    assert to_grey(np.array([-1, 0, 0.5, 2, np.nan])).tolist() == [0, 0, 128, 255, 0]
    assert to_grey(np.array([-1.0, 0, 1]), (-1.0, 1.0)).tolist() == [0, 128, 255]
    assert to_grey(np.array([0, 10], dtype=np.int64), (0.0, 20.0)).tolist() == [0, 128]


@pytest.mark.parametrize("scale", [1, 3])
def test_the_outline_surrounds_the_wire_and_leaves_it_visible(scale: int) -> None:
    line = outline(WIRES[:1], scale)[0]
    wire = WIRES[0].repeat(scale, 0).repeat(scale, 1).astype(bool)
    np.testing.assert_array_equal(line, ndimage.binary_dilation(wire, np.ones((3, 3))) & ~wire)
    picture = overlay(FRAMES[:1], WIRES[:1], scale=scale)[0]
    enlarged = FRAMES[0].repeat(scale, 0).repeat(scale, 1)
    assert (picture[line] == LABEL_COLOUR).all()
    assert (picture[~line] == enlarged[~line][:, None]).all()


def test_a_prediction_has_a_colour_of_its_own() -> None:
    picture = overlay(FRAMES[:1], WIRES[:1], predicted=np.roll(WIRES[:1], 4, axis=1))[0]
    assert (picture[4, 5] == LABEL_COLOUR).all() and (picture[8, 5] == PREDICTION_COLOUR).all()


def test_the_grid_puts_outlined_rows_below_plain_ones() -> None:
    picture = grid_picture(FRAMES, WIRES, columns=3, scale=2)
    height, width = 24, 32
    assert picture.shape == (4 * (height + GAP_PX) - GAP_PX, 3 * (width + GAP_PX) - GAP_PX, 3)
    fifth = overlay(FRAMES[4:5], WIRES[4:5], scale=2)[0]
    np.testing.assert_array_equal(picture[3 * (height + GAP_PX) :, width + GAP_PX :][:, :width], fifth)
    assert (picture[3 * (height + GAP_PX) :, -width:] == 255).all()
    assert grid_picture(FRAMES / 255.0, scale=1).shape[0] == 12


def test_small_frames_are_enlarged_by_whole_steps() -> None:
    assert (
        fitting_scale(64, 64, 192) == 3 and fitting_scale(64, 100, 192) == 1 and fitting_scale(512, 512) == 1
    )


def test_a_png_decodes_to_the_same_pixels(tmp_path: Path) -> None:
    picture = grid_picture(FRAMES, WIRES)
    path = save_png(tmp_path / "new" / "grid.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_bytes(FRAMES[0])))), FRAMES[0])
    assert [entry.name for entry in path.parent.iterdir()] == ["grid.png"]


def test_a_gif_plays_every_frame_with_its_outlines(tmp_path: Path) -> None:
    clips, wires = np.stack([FRAMES, 255 - FRAMES]), np.stack([WIRES, WIRES])
    path = save_gif(
        tmp_path / "clips.gif", clips, wires, predicted=np.roll(wires, 3, axis=2), fps=10, scale=2
    )
    animation = Image.open(path)
    assert animation.n_frames == 5 and animation.info["duration"] == 100 and animation.info["loop"] == 0
    for t, frame in enumerate(ImageSequence.Iterator(animation)):
        shown = np.asarray(frame.convert("RGB")).astype(int)
        expected = grid_picture(clips[:, t], wires[:, t], predicted=np.roll(wires, 3, axis=2)[:, t], scale=2)
        assert np.abs(shown - expected).max() <= 1
        np.testing.assert_array_equal((shown == LABEL_COLOUR).all(-1), (expected == LABEL_COLOUR).all(-1))


def test_one_clip_without_masks_plays_too() -> None:
    animation = Image.open(io.BytesIO(gif_bytes(FRAMES, scale=1)))
    assert animation.size == (16, 12) and animation.n_frames == 5


def test_importing_the_report_does_not_import_what_draws() -> None:
    code = (
        "import sys, sfvd_pl.report.html, sfvd_pl.report.animation\n"
        "print([name for name in ('matplotlib', 'PIL', 'jinja2', 'skimage', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (lambda: to_grey(np.zeros(3, dtype=np.int64)), "window"),
        (lambda: to_grey(FRAMES, (1.0, 1.0)), "window"),
        (lambda: overlay(FRAMES, scale=0), "scale"),
        (lambda: overlay(FRAMES, WIRES[:2]), "wire_masks"),
        (lambda: overlay(FRAMES, predicted=WIRES[:2]), "predicted"),
        (lambda: outline(WIRES[0]), "wire_masks"),
        (lambda: grid_picture(FRAMES[0]), "images"),
        (lambda: grid_picture(FRAMES[:0]), "images, columns"),
        (lambda: grid_picture(FRAMES, columns=0), "images, columns"),
        (lambda: png_bytes(FRAMES / 255.0), "picture"),
        (lambda: png_bytes(FRAMES), "picture"),
        (lambda: gif_bytes(FRAMES, fps=0.0), "fps"),
        (lambda: gif_bytes(FRAMES, fps=60), "fps"),
        (lambda: gif_bytes(FRAMES[None, :0]), "clips"),
        (lambda: gif_bytes(FRAMES[0]), "clips"),
        (lambda: gif_bytes(FRAMES, WIRES[:2]), "wire_masks"),
        (lambda: gif_bytes(FRAMES, predicted=WIRES[:2]), "predicted"),
        (lambda: MediaClips(FRAMES, WIRES, ("a",)), "clips"),
        (lambda: MediaClips(FRAMES[None] / 255.0, WIRES[None], ("a",)), "clips"),
        (lambda: MediaClips(FRAMES[None, :0], WIRES[None, :0], ("a",)), "clips"),
        (lambda: MediaClips(FRAMES[None], WIRES[None, :2], ("a",)), "wire_masks"),
        (lambda: MediaClips(FRAMES[None], WIRES[None], ("a",), WIRES[None, :2]), "predicted"),
        (lambda: MediaClips(FRAMES[None], WIRES[None], ()), "titles"),
    ],
)
def test_wrong_arguments_are_named(call, key: str) -> None:
    with pytest.raises(MetricsError) as caught:
        call()
    assert caught.value.key == key


def test_media_know_their_number() -> None:
    assert len(MediaClips(FRAMES[None], WIRES[None], ("a",))) == 1 and ReportMedia().real is None
