"""Files that are damaged or mean harm: one error that names the file, nothing large allocated, nothing printed."""

import os
import random
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import by_gdcm, jpeg, noise, smooth, write_dicom
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip
from sfvd_pl.sources.dicom.codestream import complaints, is_whole, read_j2k, read_jpeg
from sfvd_pl.sources.dicom.scan import DicomConfig, scan_dicom


def read(path: Path, **config: object) -> Clip:
    """The only clip of a file."""
    (run,) = scan_dicom([path], DicomConfig(**config), "a secret")
    return run.read()


def refuse(path: Path, says: str = "file", **config: object) -> SourceError:
    """Read a file that must be refused, with little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=says) as caught:
            read(path, **config)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()
    assert caught.value.file == str(path)
    return caught.value


def native(path: Path) -> Path:
    return write_dicom(path, noise((2, 24, 24), 12), bits=12)


def deflated(path: Path) -> Path:
    return write_dicom(path, noise((2, 24, 24), 12), bits=12, syntax=uid.DeflatedExplicitVRLittleEndian)


def lossless(path: Path) -> Path:
    return by_gdcm(native(path.with_suffix(".raw")), "JPEGLosslessProcess14_1").rename(path)


def jpeg_ls(path: Path) -> Path:
    return by_gdcm(native(path.with_suffix(".raw")), "JPEGLSLossless").rename(path)


def j2k(path: Path) -> Path:
    return by_gdcm(native(path.with_suffix(".raw")), "JPEG2000Lossless").rename(path)


def rle(path: Path) -> Path:
    return by_gdcm(native(path.with_suffix(".raw")), "RLELossless").rename(path)


def baseline(path: Path) -> Path:
    values = smooth((2, 24, 24), 8)
    return write_dicom(path, values, syntax=uid.JPEGBaseline8Bit, frames=[jpeg(frame) for frame in values])


MAKERS = [native, deflated, lossless, jpeg_ls, j2k, rle, baseline]


def outcome(path: Path) -> str:
    """What becomes of a file: a clip of bearable size, or an error that names it."""
    try:
        return "clip" if read(path).image.size < 2**22 else "a large clip"
    except SourceError as error:
        return "error" if error.file == str(path) else "an error elsewhere"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "x.dcm")
    data = path.read_bytes()
    assert len(read(path)) == 2
    # fragments end with an item of 8 bytes and perhaps padding, without which the pictures are whole
    end = len(data) - (11 if make in (lossless, jpeg_ls, j2k, rle, baseline) else 1)
    for length in sorted({*np.linspace(0, end, 30).astype(int).tolist(), *range(end - 20, end)}):
        path.write_bytes(data[:length])
        assert outcome(path) == "error", length


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_mutations_end_in_an_error_or_a_clip(
    tmp_path: Path, make: Callable[[Path], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path / "x.dcm")
    whole = path.read_bytes()
    rng, outcomes = random.Random(0), []
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 3, 10])):
            k = rng.randrange(300, len(data) - 4)
            if rng.random() < 0.5:
                data[k] = rng.randrange(256)
            else:
                data[k : k + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"])
        path.write_bytes(data)
        outcomes.append(outcome(path))
    assert len(outcomes) == 60 and set(outcomes) <= {"clip", "error"} and "error" in outcomes
    printed = capfd.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err


@pytest.mark.parametrize("make", [lossless, jpeg_ls, j2k, baseline], ids=lambda make: make.__name__)
def test_a_compressed_frame_without_an_end(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "x.dcm")
    ds = pydicom.dcmread(path)
    frames = [frame.rstrip(b"\0") for frame in generate_frames(ds.PixelData, number_of_frames=2)]
    assert all(frame.endswith(b"\xff\xd9") for frame in frames)
    ds.PixelData = encapsulate([frames[0], frames[1][:-2]])
    ds.save_as(path)
    refuse(path, "frame 2 is cut short")


def test_damage_that_gdcm_passes_over_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = lossless(tmp_path / "x.dcm")
    data = bytearray(path.read_bytes())
    start = data.rindex(b"\xff\xda")
    data[start + 40 : start + 44] = b"\xff\xd9\xff\xd9"  # an end of the picture in its middle
    path.write_bytes(data)
    error = refuse(path, "damaged")
    assert "Corrupt JPEG data" in str(error.found) and capfd.readouterr().err == ""


def test_other_output_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with complaints() as found:
        os.write(2, b"Corrupt JPEG data: somewhere\nanother message\n")
    assert found == ["Corrupt JPEG data: somewhere"]
    assert capfd.readouterr().err == "another message\n"


def test_without_an_error_output() -> None:
    code = (
        "import os; os.close(2)\n"
        "from sfvd_pl.sources.dicom.codestream import complaints\n"
        "with complaints() as found: print('decoded', found)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "decoded []\n" and done.returncode == 0


def test_a_deflated_bomb(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x.dcm")
    data = path.read_bytes()
    (length,) = struct.unpack_from("<L", data, 140)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(b"\0" * 2**20) for _ in range(300)) + packer.flush()
    path.write_bytes(data[: 144 + length] + bomb)
    assert path.stat().st_size < 2**20
    refuse(path, "unfolds to too much", max_clip_bytes=2**20)


def rows_of(path: Path, rows: int, columns: int, frames: int) -> Path:
    """The same file, its header claiming another size."""
    ds = pydicom.dcmread(path)
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, frames
    ds.save_as(path)
    return path


@pytest.mark.parametrize("make", [lossless, jpeg_ls, j2k, rle, baseline], ids=lambda make: make.__name__)
@pytest.mark.parametrize("size", [(16384, 16384, 1), (1000, 1000, 400), (65535, 65535, 2), (1, 1, 2**29)])
def test_absurd_sizes_allocate_nothing(tmp_path: Path, make: Callable[[Path], Path], size: tuple) -> None:
    refuse(rows_of(make(tmp_path / "x.dcm"), *size))


def never(*args: object) -> bytes:
    raise AssertionError("a decoder was asked")


@pytest.mark.parametrize("make", [lossless, jpeg_ls, j2k, baseline], ids=lambda make: make.__name__)
def test_a_codestream_of_another_size_is_not_decoded(
    tmp_path: Path, make: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "x.dcm")
    syntax = pydicom.dcmread(path).file_meta.TransferSyntaxUID
    for name in get_decoder(syntax).available_plugins:
        monkeypatch.setitem(get_decoder(syntax)._available, name, never)
    data = bytearray(path.read_bytes())
    if make is j2k:
        struct.pack_into(">2L", data, data.index(b"\xff\x4f\xff\x51") + 8, 60000, 60000)
    else:
        marker = {lossless: b"\xff\xc3", jpeg_ls: b"\xff\xf7", baseline: b"\xff\xc0"}[make]
        struct.pack_into(">2H", data, data.index(marker) + 5, 60000, 60000)
    path.write_bytes(data)
    refuse(path, "tiles" if make is j2k else "frame 1 differs from what the header says")


def test_a_codestream_deeper_than_any_picture(tmp_path: Path) -> None:
    path = j2k(tmp_path / "x.dcm")
    data = bytearray(path.read_bytes())
    data[data.index(b"\xff\x4f\xff\x51") + 42] = 37
    path.write_bytes(data)
    assert refuse(path, "frame 1 is too deep").found == 38


def test_lengths_beyond_the_file(tmp_path: Path) -> None:
    path = native(tmp_path / "x.dcm")
    whole = path.read_bytes()
    k = whole.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(whole[: k + 8] + b"\xfe\xff\xff\xff" + whole[k + 12 :])
    refuse(path, "cut short")
    path.write_bytes(whole[: k + 8] + b"\xff\xff\xff\xff" + whole[k + 12 :])
    refuse(path, "aren't laid out")
    other = b"\x09\x00\x10\x00UN\0\0\xf0\xff\xff\xff"  # a private element of 4 GiB before the pixels
    path.write_bytes(whole[:k] + other + whole[k:])
    refuse(path, "holds no picture")
    # a preamble, and group 2 with an element of 4 GiB
    path.write_bytes(b"\0" * 128 + b"DICM\x02\x00\x01\x00OB\0\0\xf0\xff\xff\xff" + whole[200:])
    refuse(path, "how it is encoded")


def test_sequences_without_end(tmp_path: Path) -> None:
    path = native(tmp_path / "x.dcm")
    whole = path.read_bytes()
    k = whole.index(b"\xe0\x7f\x10\x00OW")
    nested = (b"\x28\x00\x00\x30SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff") * 5000
    path.write_bytes(whole[:k] + nested + whole[k:])
    refuse(path)


ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"


def sequence(tag: bytes, body: bytes, length: int | None) -> bytes:
    """A sequence; None for one of undefined length."""
    if length is None:
        return tag + b"SQ\0\0\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return tag + b"SQ\0\0" + struct.pack("<L", length) + body


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        (lambda n: b"\x09\x00\x10\x10LO\0\0" * n, "elements, items and fragments"),
        (lambda n: sequence(b"\x08\x00\x11\x11", ITEM * n, None), "elements, items and fragments"),
        (lambda n: sequence(b"\x00\x52\x30\x92", ITEM * n, None), "elements, items and fragments"),
        (lambda n: sequence(b"\x00\x52\x30\x92", ITEM * n, 8 * n), "PerFrameFunctionalGroupsSequence of"),
    ],
)
def test_millions_of_pieces_are_not_taken_apart(
    tmp_path: Path, pieces: Callable[[int], bytes], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = native(tmp_path / "x.dcm")
    whole = path.read_bytes()
    k = whole.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(whole[:k] + pieces(20) + whole[k:])
    assert len(read(path)) == 2
    monkeypatch.setattr("sfvd_pl.sources.dicom.stream.MAX_READS", 4000)
    monkeypatch.setattr("sfvd_pl.sources.dicom.header._MAX_ITEMS", 4000)
    path.write_bytes(whole[:k] + pieces(5000) + whole[k:])
    assert says in str(refuse(path).found)


def test_a_flood_of_fragments_is_not_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise((1, 128, 128), 8)
    path = write_dicom(tmp_path / "x.dcm", values, syntax=uid.JPEGBaseline8Bit, frames=[jpeg(values[0])])
    ds = pydicom.dcmread(path)
    ds.PixelData = encapsulate([jpeg(values[0])], fragments_per_frame=5000)
    ds.save_as(path)
    assert len(read(path)) == 1
    monkeypatch.setattr("sfvd_pl.sources.dicom.stream.MAX_READS", 4000)
    assert "elements, items and fragments" in str(refuse(path).found)


def test_a_value_too_long_to_be_meant(tmp_path: Path) -> None:
    path = native(tmp_path / "x.dcm")
    whole = path.read_bytes()
    k = whole.index(b"\xe0\x7f\x10\x00OW")
    steps = b"40\\" * 2**19
    vector = b"\x18\x00\x65\x10UN\0\0" + struct.pack("<L", len(steps)) + steps
    path.write_bytes(whole[:k] + vector + whole[k:])
    assert np.isnan(read(path).fps)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\x00\x02",
        b"\xff\xd8\x00\x00\x00\x00",
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 3,
        b"\xff\xd8" + b"\xff\xe0\x00\x01" * 3,
        # what GDCM would abort the process for
        b"\xff\xd8" + b"\xff\x00\x00\x02" * 3,
        b"\xff\xd8" + b"\xff\xe0\x00\x10JFIF\0\x02" + b"\0" * 8,
        b"\xff\xd8" + b"\xff\xee\x00\x0eAdobe\0\0\0\0\0\0\x03",
        b"\xff\xd8" + b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00" * 2 + b"\xff\xda\x00\x02",
    ],
)
def test_jpeg_headers_that_say_nothing(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"picture|frame header|marker"):
        read_jpeg(data)


def siz(**changes: int) -> bytes:
    """The beginning of a JPEG 2000 codestream of 20 x 30 pixels."""
    fields = {
        "right": 30, "bottom": 20, "left": 0, "top": 0, "tile_width": 30, "tile_height": 20,
        "tile_left": 0, "tile_top": 0,
    }  # fmt: skip
    samples, step = changes.pop("samples", 1), changes.pop("step", 1)
    fields.update(changes)
    head = struct.pack(">HHHH8LH", 0xFF4F, 0xFF51, 41, 0, *fields.values(), samples)
    return head + struct.pack(">BBB", 11, step, 1) * samples


def test_jpeg2000_headers() -> None:
    size = read_j2k(siz(left=5, top=4))
    assert (size.rows, size.columns, size.samples, size.precision) == (16, 25, 1, 12)
    box = struct.pack(">L4s", 8, b"free") + struct.pack(">L4sQ", 1, b"jp2c", 200)
    wrapped = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + box + siz()
    assert read_j2k(wrapped) == read_j2k(siz())
    for bad in (
        siz(samples=5), siz(step=2), siz(tile_width=0), siz(left=30), siz(tile_top=3),
        siz(right=2**31, tile_width=1), b"\xff\x4f\xff\x90" + b"\0" * 60,
        b"\x00\x00\x00\x0cjP  \r\n\x87\n" + struct.pack(">L4s", 0, b"free"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"pic|colour|pixels|tiles"):
            read_j2k(bad)


def test_the_end_of_a_picture() -> None:
    assert is_whole(b"..\xff\xd9") and is_whole(b"..\xff\xd9\0") and is_whole(b"..\xff\xd9\xff\xff")
    assert not is_whole(b"") and not is_whole(b"\xff\xd9..") and not is_whole(b"..\xff\xd8")
