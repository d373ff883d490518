"""How columns may lie in a file: nothing that makes a reader allocate, load or open what the file doesn't hold."""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from artifact_samples import SIZE, columns_of, provenance, write_artifact
from hypothesis import given
from hypothesis import strategies as st

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.artifacts.contents import all_attributes
from sfvd_pl.artifacts.hashing import ColumnFacts, combine, seal
from sfvd_pl.artifacts.layout import FrameMap, pack, read_attributes, set_attribute, unpack
from sfvd_pl.artifacts.schema import SCHEMAS
from sfvd_pl.errors import ArtifactError

MASK = SCHEMAS[Kind.SOURCE].by_key["frames/wire_mask"]
IMAGE = SCHEMAS[Kind.SOURCE].by_key["frames/image"]


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 33), st.integers(0, 2**32 - 1))
def test_masks_survive_packing(frames: int, height: int, width: int, seed: int) -> None:
    masks = np.random.default_rng(seed).integers(0, 2, (frames, height, width), dtype=np.uint8)
    stored = pack(MASK, masks)
    assert stored.shape == (frames, height, -(-width // 8))
    np.testing.assert_array_equal(unpack(MASK, stored, width), masks)
    assert pack(IMAGE, masks) is masks


def replaced(path: Path, key: str, make: Callable[[Any], Any], shape: tuple[int, ...] | None = None) -> None:
    """Put another dataset in the place of a column, with a content hash and a seal that fit: a hostile file."""
    artifact = Artifact.open(path)
    facts = dict(artifact.facts)
    with h5py.File(path, "r+", libver="v110") as file:
        attrs = read_attributes(file[key])
        del file[key]
        make(file)
        for name, value in attrs.items():
            set_attribute(file[key], name, value)
        old = facts[key]
        facts[key] = ColumnFacts(
            key, old.dtype, shape or old.shape, old.axes, old.unit, old.range, old.sha256
        )
        set_attribute(file, "content_hash", combine(read_attributes(file), facts.values()))
        set_attribute(file, "seal", seal(all_attributes(file)))


IMAGES = columns_of(Kind.SOURCE)["frames/image"]


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((12, *SIZE), np.uint8)
    layout[:] = h5py.VirtualSource("/etc/hostname", "frames/image", (12, *SIZE))
    file.create_virtual_dataset("frames/image", layout)


@pytest.mark.parametrize(
    ("key", "make", "found"),
    [
        ("frames/image", _virtual, "expected in this file"),
        (
            "frames/image",
            lambda f: f.create_dataset("frames/image", data=IMAGES, chunks=(1, *SIZE), compression="gzip"),
            "filters: expected none; found 1",
        ),
        (
            "frames/image",
            lambda f: f.create_dataset("frames/image", data=IMAGES, chunks=(2, *SIZE)),
            "chunks: expected (1, 12, 10); found (2, 12, 10)",
        ),
        ("frames/image", lambda f: f.create_dataset("frames/image", data=IMAGES), "chunks: expected"),
        (
            "frames/image",
            lambda f: f.create_dataset("frames/image", (12, *SIZE), np.uint8, chunks=(1, *SIZE)),
            "storage: expected 1440 bytes within the file; found 0",
        ),
        (
            "frames/visibility",
            lambda f: f.create_dataset("frames/visibility", data=np.zeros(12, ">f4")),
            "byte order",
        ),
        (
            "clips/name",
            lambda f: f.create_dataset("clips/name", data=["a", "b", "c"], dtype=h5py.string_dtype()),
            "expected values of a fixed length",
        ),
        (
            "frames/visibility",
            lambda f: f.create_dataset(
                "frames/visibility", (12,), np.float32, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
            ),
            "expected in this file",
        ),
    ],
    ids=["virtual", "filter", "chunks", "contiguous", "unallocated", "byte order", "variable text", "external"],
)
def test_another_layout_is_refused(source: Path, key: str, make: Callable[[Any], Any], found: str) -> None:
    replaced(source, key, make)
    with pytest.raises(ArtifactError, match="doesn't lie in the file as an artifact's does") as caught:
        Artifact.open(source)
    assert caught.value.key == key
    assert found in str(caught.value.found)
    assert "doesn't lie in the file" in verify(source)[0]


def test_an_absurd_shape_is_refused_without_memory_or_time(source: Path) -> None:
    """A small file that promises 2**50 frames: HDF5 would fill them in."""
    frames = 1 << 50
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    replaced(
        source,
        "frames/visibility",
        lambda f: f.create_dataset("frames/visibility", (frames,), np.float32, chunks=(1 << 20,)),
        (frames,),
    )
    (problem,) = verify(source)
    assert "wrong shape" in problem
    assert time.monotonic() - begun < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_mask_whose_width_contradicts_its_bytes_is_refused(source: Path) -> None:
    with h5py.File(source, "r+") as file:
        file["frames/wire_mask"].attrs["width"] = 17
    with pytest.raises(ArtifactError, match="its structure can't be read") as caught:
        Artifact.open(source)
    assert "width 17 doesn't fit 2 bytes a row" in str(caught.value.found)


def test_bytes_before_the_content_are_refused(source: Path) -> None:
    """HDF5 tolerates a user block; addresses would all be shifted."""
    source.write_bytes(bytes(512) + source.read_bytes())
    with pytest.raises(ArtifactError):
        Artifact.open(source)


def test_two_frames_in_one_place_are_found() -> None:
    class Chunk:
        filter_mask = 0

        def __init__(self, row: int, place: int, size: int = 120) -> None:
            self.chunk_offset, self.byte_offset, self.size = (row, 0, 0), place, size

    def index(*chunks: Chunk) -> FrameMap:
        class Dataset:
            shape, dtype = (3, 12, 10), np.dtype(np.uint8)

            class id:  # noqa: N801  # h5py's name
                chunk_iter = staticmethod(lambda note: [note(chunk) for chunk in chunks])

        return FrameMap(Path("x.h5"), "frames/image", Dataset())

    assert index(Chunk(0, 500), Chunk(1, 0), Chunk(2, 120)).places.tolist() == [500, 0, 120]
    for broken in (
        (Chunk(0, 500), Chunk(1, 0), Chunk(2, 119)),
        (Chunk(0, 500), Chunk(1, 0), Chunk(2, 500)),
        (Chunk(0, 500), Chunk(1, 0)),
        (Chunk(0, 500), Chunk(1, 0), Chunk(2, 620, 119)),
    ):
        with pytest.raises(ArtifactError, match="index of the frames is damaged"):
            index(*broken)


def test_every_attribute_is_sealed(source: Path) -> None:
    """Also those that the content hash leaves out: when it was written, and how columns are described."""
    whole = source.read_bytes()
    for change in (
        lambda f: f.attrs.modify("created", "2020-01-01T00:00:00+00:00"),
        lambda f: f["frames/image"].attrs.modify("doc", "Something else."),
        lambda f: f["frames"].attrs.create("note", 1),
        lambda f: f.create_group("frames/more"),
        lambda f: f.attrs.pop("seal"),
    ):
        source.write_bytes(whole)
        with h5py.File(source, "r+") as file:
            change(file)
        with pytest.raises(ArtifactError, match="an attribute was changed") as caught:
            Artifact.open(source)
        assert caught.value.file == str(source)


def test_pixels_beyond_the_last_column_are_found(source: Path) -> None:
    """Ten columns fill two bytes up to six bits, which must stay 0."""
    with h5py.File(source, "r+") as file:
        file["frames/wire_mask"][7, 3, 1] |= 1
    problems = verify(source)
    assert "frames/wire_mask: expected 10 columns; found pixels beyond them in row 7" in problems
    assert any("the content was changed" in problem for problem in problems)


@pytest.mark.parametrize("where", ["/", "frames", "frames/image"])
def test_attributes_that_hdf5_would_look_up_elsewhere_are_refused_unread(source: Path, where: str) -> None:
    """A text of variable length lies in a heap without checksums: one flipped bit there made HDF5 loop for ever."""
    with h5py.File(source, "r+") as file:
        file[where].attrs["doc"] = "variable"
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(source)
    assert "attribute 'doc': expected a number or a text of fixed length" in str(caught.value.found)


def test_settings_of_any_length_and_any_letters_come_back(tmp_path: Path) -> None:
    config = {"long": "ä" * 200_000, "": "", "quote": '"\\'}
    path = write_artifact(
        tmp_path / "a.h5", Kind.SCENES, columns_of(Kind.SCENES), provenance=provenance(config=config)
    )
    assert Artifact.open(path).config == config
    assert verify(path) == []
