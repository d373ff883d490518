"""Videos: lossless ones bit for bit, lossy ones closely, and every bad file refused."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip, scan_source


def encode(path: Path, frames: np.ndarray, codec: str, pixels: str, given: str, rate: Fraction = Fraction(15)) -> Path:
    """Write frames with a codec; ``pixels`` is its format, ``given`` that of the frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for values in frames:
            frame = av.VideoFrame.from_ndarray(values, format=given)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path.parents[1]


def read(root: Path) -> Clip:
    (clip,) = scan_source(root)
    return clip


def blobs(frames: int = 6, top: int = 200) -> np.ndarray:
    """Smooth moving pictures, kind to a codec."""
    y, x = np.mgrid[:48, :64]
    waves = [np.sin((x + 3 * k) / 9.0) * np.cos((y - k) / 7.0) for k in range(frames)]
    return (top * (0.55 + 0.4 * np.array(waves))).astype(np.uint8)


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "ffv1"), (".mkv", "ffv1"), (".mov", "png")])
def test_lossless_grey_is_exact(tmp_path: Path, suffix: str, codec: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 48, 64), dtype=np.uint8)
    clip = read(encode(tmp_path / "p1" / f"run{suffix}", frames, codec, "gray", "gray", Fraction(25, 2)))
    assert np.array_equal(clip.image, frames) and clip.intensity_max == 255
    assert (clip.name, clip.fps, clip.origin, clip.intensity) == ("p1/run", 12.5, "video", "display")


def test_lossless_sixteen_bit_is_exact(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 65536, (3, 48, 64)).astype(np.uint16)
    clip = read(encode(tmp_path / "p1" / "run.mkv", frames, "ffv1", "gray16le", "gray16le"))
    assert np.array_equal(clip.image, frames) and clip.intensity_max == 65535


def test_grey_rgb_is_exact(tmp_path: Path) -> None:
    frames = blobs()
    clip = read(encode(tmp_path / "p1" / "run.mkv", np.stack([frames] * 3, -1), "ffv1", "bgr0", "rgb24"))
    assert np.array_equal(clip.image, frames)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".mp4", "mpeg4"), (".avi", "mjpeg"), (".webm", "libvpx-vp9"), (".wmv", "wmv2")],
)
def test_lossy_grey_is_close(tmp_path: Path, suffix: str, codec: str) -> None:
    frames = blobs()
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = read(encode(tmp_path / "p1" / f"run{suffix}", np.stack([frames] * 3, -1), codec, pixels, "rgb24"))
    assert clip.image.shape == frames.shape and clip.image.dtype == np.uint8
    error = np.abs(clip.image.astype(int) - frames.astype(int))
    assert error.mean() < 4 and np.median(clip.image) == pytest.approx(np.median(frames), abs=3)
    assert clip.fps == pytest.approx(15, rel=0.01)


def test_colour_is_refused(tmp_path: Path) -> None:
    frames = np.stack([blobs()] * 3, -1)
    frames[3, 4:20, 4:20] = (250, 200, 20)  # a yellow caption in one frame
    root = encode(tmp_path / "p1" / "run.mp4", frames, "libx264", "yuv420p", "rgb24")
    with pytest.raises(SourceError, match="colour"):
        read(root)


def test_a_damaged_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p1" / "run.avi"
    encode(path, np.random.default_rng(0).integers(0, 256, (20, 48, 64), dtype=np.uint8), "ffv1", "gray", "gray")
    whole = path.read_bytes()
    for damaged in (b"", b"not a video", whole[:300], whole[: len(whole) // 3]):
        path.write_bytes(damaged)
        with pytest.raises(SourceError):
            read(tmp_path)


def test_a_playlist_is_no_video(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "p" / "secret.avi"
    encode(outside, blobs(), "ffv1", "gray", "gray")
    folder = tmp_path / "data" / "p1"
    folder.mkdir(parents=True)
    lists = [f"ffconcat version 1.0\nfile {outside}\n", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{outside}\n"]
    for text in lists:
        (folder / "run.mp4").write_text(text)
        with pytest.raises(SourceError, match="can't be read"):
            read(tmp_path / "data")


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    with av.open(str(tmp_path / "p1" / "run.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        for packet in stream.encode(frame):
            container.mux(packet)
    with pytest.raises(SourceError, match="no video"):
        scan_source(tmp_path)
