"""Writing: whole or not there, and nothing that breaks the schema."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from artifact_samples import SIZE, columns_of, provenance, write_artifact

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, content_hash, verify
from sfvd_pl.artifacts.partial import partial_path
from sfvd_pl.errors import ArtifactError


def test_appending_row_by_row_equals_one_write(tmp_path: Path) -> None:
    for kind in Kind:
        columns = columns_of(kind)
        whole = write_artifact(tmp_path / f"{kind}-whole.h5", kind, columns)
        with ArtifactWriter(tmp_path / f"{kind}.h5", kind, provenance()) as writer:
            for key, values in columns.items():
                for row in range(len(values)):
                    writer.append(key, values[row : row + 1])
        assert content_hash(tmp_path / f"{kind}.h5") == content_hash(whole), kind
        assert verify(tmp_path / f"{kind}.h5") == []


def test_pictures_lie_frame_by_frame_and_are_streamed(tmp_path: Path) -> None:
    path = write_artifact(tmp_path / "a.h5", Kind.SEGMENTATION, columns_of(Kind.SEGMENTATION))
    with h5py.File(path) as file:
        assert file["frames/probability"].chunks == (1, 1, *SIZE)
        assert file["frames/probability"].attrs["axes"] == b"A N H W"
    path = write_artifact(tmp_path / "b.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
    with h5py.File(path) as file:
        assert file["frames/image"].chunks == (1, *SIZE)
        masks = file["frames/wire_mask"]
        assert (masks.chunks, masks.attrs["width"]) == ((1, 12, 2), 10)
        plain = np.unpackbits(masks[...], axis=-1, count=10)  # what anybody with h5py can do
        np.testing.assert_array_equal(plain, columns_of(Kind.SOURCE)["frames/wire_mask"])
        for key in ("frames/image", "frames/wire_mask"):
            assert file[key].id.get_create_plist().get_nfilters() == 0
        for key in columns_of(Kind.SOURCE):
            assert {"axes", "unit", "range", "doc", "sha256"} <= set(file[key].attrs)


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    columns = columns_of(Kind.SOURCE)
    columns["frames/image"] = columns["frames/image"].astype(np.uint16) * 16
    path = write_artifact(tmp_path / "a.h5", Kind.SOURCE, columns, intensity_max=4095)
    assert Artifact.open(path).intensity_max == 4095
    np.testing.assert_array_equal(Artifact.open(path).column("frames/image"), columns["frames/image"])


def test_numbers_are_converted_only_where_they_keep_their_value(tmp_path: Path) -> None:
    columns = columns_of(Kind.SOURCE)
    columns["frames/wire_mask"] = columns["frames/wire_mask"].astype(bool)
    columns["frames/visibility"] = columns["frames/visibility"].astype(np.float64)
    columns["clips/start"] = columns["clips/start"].astype(np.int32)
    columns["clips/length"] = columns["clips/length"].tolist()
    columns["clips/name"] = np.array(columns["clips/name"])
    path = write_artifact(tmp_path / "a.h5", Kind.SOURCE, columns)
    assert content_hash(path) == content_hash(
        write_artifact(tmp_path / "b.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
    )


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        ArtifactWriter(tmp_path / "new" / "a.h5", Kind.SOURCE, provenance()) as writer,
    ):
        writer.write("frames/image", columns_of(Kind.SOURCE)["frames/image"])
        assert listing(tmp_path / "new") == [partial_path(Path("a.h5")).name]
        raise ZeroDivisionError
    assert listing(tmp_path / "new") == []


def test_a_failed_overwrite_leaves_the_old_artifact(source: Path) -> None:
    before = source.read_bytes()
    with (
        pytest.raises(ArtifactError, match="columns are missing") as caught,
        ArtifactWriter(source, Kind.SOURCE, provenance(), overwrite=True) as writer,
    ):
        writer.write("frames/image", columns_of(Kind.SOURCE)["frames/image"])
    assert "clips/fps" in str(caught.value.key)
    assert source.read_bytes() == before
    assert listing(source.parent) == [source.name]


def test_a_kill_in_the_middle_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    script = (
        "import os, sys, signal; import numpy as np\n"
        "from artifact_samples import columns_of, provenance\n"
        "from sfvd_pl.artifacts import ArtifactWriter, Kind\n"
        "with ArtifactWriter(sys.argv[1], Kind.SOURCE, provenance()) as writer:\n"
        "    for key, values in columns_of(Kind.SOURCE).items():\n"
        "        writer.write(key, values)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.h5")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    (left,) = listing(tmp_path)
    assert left.startswith(".a.h5.partial-")
    # a later process that happens to have the same number isn't stopped by what the first one left
    (tmp_path / left).rename(tmp_path / partial_path(Path("a.h5")).name)
    write_artifact(tmp_path / "a.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
    assert listing(tmp_path) == ["a.h5"]


def test_two_writers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError, match="somebody else is writing"),
        ArtifactWriter(tmp_path / "a.h5", Kind.SOURCE, provenance()),
        ArtifactWriter(tmp_path / "a.h5", Kind.SOURCE, provenance()),
    ):
        raise AssertionError("the second writer was let in")
    assert listing(tmp_path) == []


def test_a_name_taken_before_or_meanwhile_is_refused(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    with pytest.raises(ArtifactError, match="name is taken"):
        write_artifact(source, Kind.SOURCE, columns_of(Kind.SOURCE))
    late = tmp_path / "late.h5"
    with (
        pytest.raises(ArtifactError, match="name is taken"),
        ArtifactWriter(late, Kind.SOURCE, provenance()) as writer,
    ):
        for key, values in columns_of(Kind.SOURCE).items():
            writer.write(key, values)
        late.write_bytes(before)
    assert late.read_bytes() == source.read_bytes() == before
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match="name is taken"):
        write_artifact(tmp_path / "folder", Kind.SOURCE, columns_of(Kind.SOURCE), overwrite=True)


def test_a_forked_child_that_leaves_the_block_does_no_harm(tmp_path: Path) -> None:
    columns = columns_of(Kind.SOURCE)
    with ArtifactWriter(tmp_path / "a.h5", Kind.SOURCE, provenance()) as writer:
        writer.write("frames/image", columns.pop("frames/image"))
        child = os.fork()
        if child == 0:
            writer.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        for key, values in columns.items():
            writer.write(key, values)
    assert verify(tmp_path / "a.h5") == []


GOOD = columns_of(Kind.SOURCE)


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("frames/image", GOOD["frames/image"].astype(np.int64), "wrong dtype"),
        ("frames/image", GOOD["frames/image"].astype(np.float32), "wrong dtype"),
        ("frames/image", GOOD["frames/image"].astype(np.uint16) * 256, "0 to 255"),
        ("frames/image", GOOD["frames/image"][0], "wrong shape"),
        ("frames/image", GOOD["frames/image"][:, :0], "without pixels"),
        ("frames/wire_mask", GOOD["frames/wire_mask"] * 255, "0 to 1"),
        ("frames/wire_mask", GOOD["frames/wire_mask"].astype(np.int64) * 256, "wrong dtype"),
        ("frames/wire_mask", GOOD["frames/wire_mask"].astype(np.float32), "wrong dtype"),
        ("frames/annotated", np.full(12, 2), "wrong dtype"),
        ("frames/visibility", np.full(12, np.inf), "finite number or NaN"),
        ("frames/visibility", np.full(12, 1e300), "finite number or NaN"),
        ("frames/visibility", ["1"] * 12, "wrong dtype"),
        ("frames/visibility", np.float32(1), "wrong shape"),
        ("clips/affine", np.full((3, 2, 3), np.nan), "a finite number"),
        ("clips/affine", np.zeros((3, 2, 2)), "wrong shape"),
        ("clips/fps", np.full(3, -1.0), "0.001 to inf"),
        ("clips/length", np.array([3, 0, 9]), "1 to inf"),
        ("clips/start", np.array([0.0, 3.0, 8.0]), "wrong dtype"),
        ("clips/split", ["train", "valid", "test"], "expected one of train, val, test; found 'valid'"),
        ("clips/name", "abc", "expected texts"),
        ("clips/name", [b"a", b"b", b"c"], "expected texts"),
        ("clips/name", ["a", "b\0", "c"], "expected texts"),
        ("clips/name", ["a", "b", "\ud800"], "UTF-8"),
        ("clips/nmae", ["a", "b", "c"], "unknown column"),
    ],
)
def test_values_that_break_the_schema_are_refused_at_once(
    tmp_path: Path, key: str, values: Any, message: str
) -> None:
    with (
        ArtifactWriterThatMustFail(tmp_path / "a.h5") as writer,
        pytest.raises(ArtifactError, match=message) as caught,
    ):
        writer.write(key, values)
    assert caught.value.key == key
    assert caught.value.file == str(tmp_path / "a.h5")


class ArtifactWriterThatMustFail:
    """A writer that is left with an exception of the test's own, so that nothing is finished."""

    def __init__(self, path: Path) -> None:
        self.writer = ArtifactWriter(path, Kind.SOURCE, provenance())

    def __enter__(self) -> ArtifactWriter:
        return self.writer.__enter__()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.writer.__exit__(kind or KeyboardInterrupt, error or KeyboardInterrupt(), trace)


def test_a_row_number_counts_from_the_start_of_the_column(tmp_path: Path) -> None:
    with ArtifactWriterThatMustFail(tmp_path / "a.h5") as writer:
        writer.append("clips/fps", np.ones(4))
        with pytest.raises(ArtifactError, match=r"found -1.0 in row 5"):
            writer.append("clips/fps", np.array([1, -1.0]))
        writer.append("frames/wire_mask", np.zeros((4, *SIZE), np.uint8))
        with pytest.raises(ArtifactError, match="found 3 in row 4"):
            writer.append("frames/wire_mask", np.full((1, *SIZE), 3, np.uint8))


def test_a_column_is_written_once(tmp_path: Path) -> None:
    with ArtifactWriterThatMustFail(tmp_path / "a.h5") as writer:
        for key in ("frames/image", "clips/name"):
            writer.write(key, GOOD[key])
            with pytest.raises(ArtifactError, match="written already"):
                writer.write(key, GOOD[key])
            with pytest.raises(ArtifactError, match="written already"):
                writer.append(key, GOOD[key])
        writer.append("clips/fps", GOOD["clips/fps"])
        with pytest.raises(ArtifactError, match="written already"):
            writer.write("clips/fps", GOOD["clips/fps"])


def test_frames_of_another_size_or_pixel_type_are_refused(tmp_path: Path) -> None:
    with ArtifactWriterThatMustFail(tmp_path / "a.h5") as writer:
        writer.append("frames/image", np.zeros((2, 8, 6), np.uint8))
        with pytest.raises(ArtifactError, match="wrong shape") as caught:
            writer.append("frames/image", np.zeros((2, 8, 7), np.uint8))
        assert caught.value.expected == "(N=2, H=8, W=6)"
        with pytest.raises(ArtifactError, match="wrong shape"):
            writer.append("frames/wire_mask", np.zeros((2, 6, 8), np.uint8))
        with pytest.raises(ArtifactError, match="pixel type changed"):
            writer.append("frames/image", np.zeros((2, 8, 6), np.uint16))


def test_columns_of_a_table_have_equally_many_rows(tmp_path: Path) -> None:
    columns = columns_of(Kind.SOURCE)
    columns["frames/visibility"] = columns["frames/visibility"][:-1]
    with pytest.raises(ArtifactError, match="wrong shape") as caught:
        write_artifact(tmp_path / "a.h5", Kind.SOURCE, columns)
    assert caught.value.key == "frames/visibility"
    assert caught.value.file == str(tmp_path / "a.h5")
    assert caught.value.expected == "(N=12)"
    assert listing(tmp_path) == []


def test_a_writer_is_used_inside_its_block(tmp_path: Path) -> None:
    writer = ArtifactWriter(tmp_path / "a.h5", Kind.SOURCE, provenance())
    with pytest.raises(ArtifactError, match="isn't open"):
        writer.write("clips/name", ["a"])


@pytest.mark.parametrize("intensity_max", [0, -1, 65536])
def test_an_impossible_intensity_is_refused(tmp_path: Path, intensity_max: int) -> None:
    with pytest.raises(ArtifactError, match="intensity_max"):
        ArtifactWriter(tmp_path / "a.h5", Kind.SOURCE, provenance(), intensity_max=intensity_max)


def test_content_changed_on_its_way_to_the_disk_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verification before the rename reads the file, and doesn't trust what was hashed while writing."""
    original = ArtifactWriter._verify

    def damage(self: ArtifactWriter) -> None:
        chunk = h5py.File(self._partial, "r")["frames/image"].id.get_chunk_info(0)
        with self._partial.open("r+b") as file:
            file.seek(chunk.byte_offset)
            byte = file.read(1)[0]
            file.seek(chunk.byte_offset)
            file.write(bytes([byte ^ 1]))
        original(self)

    monkeypatch.setattr(ArtifactWriter, "_verify", damage)
    with pytest.raises(ArtifactError, match="content was changed"):
        write_artifact(tmp_path / "a.h5", Kind.SOURCE, columns_of(Kind.SOURCE))
    assert listing(tmp_path) == []
