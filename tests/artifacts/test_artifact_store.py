"""Reading: what comes back, what is refused, and that no handle crosses a process."""

import multiprocessing
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from artifact_samples import FrameDataset, columns_of, provenance, write_artifact
from torch.utils.data import DataLoader

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, content_hash
from sfvd_pl.errors import ArtifactError


@pytest.mark.parametrize("kind", Kind)
def test_every_column_comes_back_as_it_was_written(tmp_path: Path, kind: Kind) -> None:
    columns = columns_of(kind)
    artifact = Artifact.open(write_artifact(tmp_path / "a.h5", kind, columns), kind)
    assert set(artifact.keys) == set(columns)
    for key, values in columns.items():
        found = artifact.column(key)
        np.testing.assert_array_equal(found, np.asarray(values))
        assert found.dtype == object if isinstance(values, list) else found.dtype == np.asarray(values).dtype


def test_what_it_says_of_itself(source: Path) -> None:
    artifact = Artifact.open(source)
    assert (artifact.kind, artifact.schema_version, artifact.seed) == (Kind.SOURCE, 3, 7)
    assert (artifact.n_clips, artifact.n_frames, artifact.frame_shape) == (3, 12, (12, 10))
    assert artifact.config == {"steps": 3, "scale": 0.5}
    assert artifact.parents == {"source": "a" * 64}
    assert artifact.patients == ("p0", "p1")
    assert artifact.intensity_max == 255
    assert artifact.content_hash == content_hash(source)
    assert len(artifact.content_hash) == 64
    assert "source" in repr(artifact)


def test_rows_and_clip_rows(source: Path) -> None:
    artifact, columns = Artifact.open(source), columns_of(Kind.SOURCE)
    images, names = columns["frames/image"], columns["clips/name"]
    np.testing.assert_array_equal(artifact.rows("frames/image", 2, 9), images[2:9])
    assert artifact.rows("clips/name", 1, 3).tolist() == names[1:3]
    assert artifact.rows("frames/image", 4, 4).shape == (0, 12, 10)
    np.testing.assert_array_equal(artifact.clip_rows("frames/image", 1), images[3:8])
    np.testing.assert_array_equal(artifact.clip_rows("frames/image", 1, 2), images[5:8])
    np.testing.assert_array_equal(artifact.clip_rows("frames/image", 2, 1, 2), images[9:11])
    np.testing.assert_array_equal(
        artifact.clip_rows("frames/visibility", 0), columns["frames/visibility"][:3]
    )
    fresh = artifact.rows("frames/image", 0, 1)
    fresh[:] = 0
    np.testing.assert_array_equal(artifact.rows("frames/image", 0, 1), images[:1])


def test_clip_rows_follow_the_frame_axis_where_it_is_the_second(tmp_path: Path) -> None:
    columns = columns_of(Kind.SEGMENTATION)
    artifact = Artifact.open(write_artifact(tmp_path / "a.h5", Kind.SEGMENTATION, columns))
    found = artifact.clip_rows("frames/probability", 1, 1, 3)
    np.testing.assert_array_equal(found, columns["frames/probability"][:, 4:7])


def test_small_columns_are_cached_and_read_only(source: Path) -> None:
    artifact = Artifact.open(source)
    assert artifact.column("clips/start") is artifact.column("clips/start")
    with pytest.raises(ValueError, match="read-only"):
        artifact.column("clips/start")[0] = 5


@pytest.mark.parametrize(
    "read",
    [
        lambda a: a.rows("frames/image", -1, 2),
        lambda a: a.rows("frames/image", 3, 2),
        lambda a: a.rows("frames/image", 0, 13),
        lambda a: a.clip_rows("frames/image", 3),
        lambda a: a.clip_rows("frames/image", -1),
        lambda a: a.clip_rows("frames/image", 0, 0, 4),
        lambda a: a.clip_rows("frames/image", 0, 4),
        lambda a: a.clip_rows("clips/name", 0),
        lambda a: a.column("frames/nothing"),
    ],
)
def test_rows_that_do_not_exist_are_refused(source: Path, read: Any) -> None:
    with pytest.raises(ArtifactError) as caught:
        read(Artifact.open(source))
    assert caught.value.file == str(source)
    assert caught.value.remedy


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(ArtifactError, match="no artifact of this name") as caught:
            Artifact.open(path)
        assert caught.value.remedy


def test_a_truncated_file_is_refused_wherever_it_was_cut(source: Path) -> None:
    whole = source.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        source.write_bytes(whole[:size])
        with pytest.raises(ArtifactError, match=r"truncated|isn't an HDF5") as caught:
            Artifact.open(source)
        assert caught.value.remedy


def test_a_foreign_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ArtifactError, match="isn't an artifact of this package"):
        Artifact.open(tmp_path / "f.h5")


def test_another_kind_is_refused(source: Path) -> None:
    with pytest.raises(ArtifactError, match="another kind") as caught:
        Artifact.open(source, Kind.SCENES)
    assert (caught.value.expected, caught.value.found) == ("scenes", "source")


def edit(path: Path, change: Any) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace(file: Any, key: str, values: np.ndarray) -> None:
    attrs = dict(file[key].attrs)
    del file[key]
    file[key] = values
    file[key].attrs.update(attrs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.modify("schema_version", 1), "another schema version"),
        (lambda f: f.attrs.pop("schema_version"), "another schema version"),
        (lambda f: f.pop("clips/fps"), "a column is missing"),
        (lambda f: f.create_dataset("clips/fsp", data=[1]), "unknown column"),
        (lambda f: replace(f, "clips/fps", np.zeros(3)), "wrong dtype"),
        (lambda f: replace(f, "clips/fps", np.zeros(4, np.float32)), "wrong shape"),
        (lambda f: replace(f, "clips/fps", np.zeros((3, 1), np.float32)), "wrong shape"),
        (lambda f: replace(f, "clips/affine", np.zeros((3, 3, 3))), "wrong shape"),
        (lambda f: f["clips/fps"].attrs.modify("unit", "s"), "axes, unit or range differ"),
        (lambda f: f["frames/image"].attrs.modify("axes", "N W H"), "axes, unit or range differ"),
        (lambda f: f.attrs.modify("seed", 8), "was changed after"),
        (lambda f: f.attrs.modify("patients", '["p0"]'), "was changed after"),
        (lambda f: f.attrs.modify("git_commit", "0" * 40), "was changed after"),
        (lambda f: f.attrs.create("note", "added"), "was changed after"),
        (lambda f: f["clips/fps"].attrs.modify("sha256", "0" * 64), "was changed after"),
        (lambda f: f.attrs.pop("content_hash"), "was changed after"),
    ],
)
def test_opening_finds_what_differs_from_the_schema_and_the_hash(
    source: Path, change: Any, message: str
) -> None:
    edit(source, change)
    with pytest.raises(ArtifactError, match=message) as caught:
        Artifact.open(source)
    assert caught.value.file == str(source)
    assert caught.value.remedy


def test_damage_found_while_reading_is_an_artifact_error(source: Path) -> None:
    artifact = Artifact.open(source)
    artifact.rows("frames/image", 0, 1)
    last = h5py.File(source, "r")["frames/image"].id.get_chunk_info(11).byte_offset
    os.truncate(source, last + 5)
    with pytest.raises(ArtifactError, match="damaged") as caught:
        artifact.column("frames/image")
    assert "the file ends" in str(caught.value.found)
    assert caught.value.remedy


def test_a_damaged_index_of_the_frames_is_an_artifact_error(source: Path) -> None:
    artifact, data = Artifact.open(source), bytearray(source.read_bytes())
    places = [data.find(mark) for mark in (b"EAHD", b"EAIB", b"FAHD")]  # HDF5's signatures of chunk indices
    for place in [place for place in places if place >= 0]:
        data[place + 6] ^= 1
    source.write_bytes(data)
    with pytest.raises(ArtifactError, match="damaged") as caught:
        artifact.column("frames/image")
    assert caught.value.file == str(source)


def test_a_picture_is_read_from_where_it_lies_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    """Columns that were written by turns: frames of one column don't lie side by side."""
    columns = columns_of(Kind.SOURCE, lengths=[20, 17, 30])
    small = {key: values for key, values in columns.items() if key not in ("frames/image", "frames/wire_mask")}
    with ArtifactWriter(tmp_path / "a.h5", Kind.SOURCE, provenance()) as writer:
        for row in range(67):
            writer.append("frames/wire_mask", columns["frames/wire_mask"][row : row + 1])
            writer.append("frames/image", columns["frames/image"][row : row + 1])
        for key, values in small.items():
            writer.write(key, values)
    artifact = Artifact.open(tmp_path / "a.h5")
    for key in ("frames/image", "frames/wire_mask"):
        np.testing.assert_array_equal(artifact.column(key), columns[key])
        np.testing.assert_array_equal(artifact.rows(key, 33, 52), columns[key][33:52])
        with h5py.File(tmp_path / "a.h5") as file:
            stored = file[key][...]
        np.testing.assert_array_equal(np.concatenate([b for _, b in artifact.stored_blocks(key)]), stored)


def test_a_pickled_artifact_reads_the_same_and_carries_no_handle(source: Path) -> None:
    artifact = Artifact.open(source)
    artifact.rows("frames/image", 0, 1)
    copy = pickle.loads(pickle.dumps(artifact))
    assert copy._file is None
    assert (copy.path, copy.content_hash) == (artifact.path, artifact.content_hash)
    np.testing.assert_array_equal(copy.column("frames/image"), artifact.column("frames/image"))


def test_a_file_replaced_while_in_use_is_refused(source: Path) -> None:
    artifact = Artifact.open(source)
    columns = columns_of(Kind.SOURCE, seed=1)
    write_artifact(source, Kind.SOURCE, columns, overwrite=True)
    with pytest.raises(ArtifactError, match="replaced by another") as caught:
        artifact.rows("frames/image", 0, 1)
    assert caught.value.expected == artifact.content_hash
    np.testing.assert_array_equal(Artifact.open(source).column("frames/image"), columns["frames/image"])


def open_files(path: Path) -> int:
    """How many descriptors of this process point at the file."""
    targets = []
    for number in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return targets.count(str(path.resolve()))


def test_a_forked_child_inherits_no_handle_and_reads_for_itself(source: Path) -> None:
    artifact = Artifact.open(source)
    expected = artifact.rows("frames/image", 0, 12)
    assert open_files(source) == 2  # HDF5's, and the one that pictures are read through
    child = os.fork()
    if child == 0:
        inherited = open_files(source)
        same = np.array_equal(artifact.rows("frames/image", 0, 12), expected)
        os._exit(0 if inherited == 0 and same and open_files(source) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(artifact.rows("frames/image", 0, 12), expected)


def test_threads_may_share_an_artifact_while_the_process_forks(source: Path) -> None:
    artifact, expected = Artifact.open(source), columns_of(Kind.SOURCE)["frames/image"]
    wrong: list[object] = []

    def read() -> None:
        for _ in range(200):
            try:
                if not np.array_equal(artifact.rows("frames/image", 3, 8), expected[3:8]):
                    wrong.append("other pixels")
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(artifact.rows("frames/image", 0, 12), expected) else 1)
        assert os.waitpid(child, 0)[1] == 0
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_with_forked_workers_reads_every_frame(source: Path, workers: int) -> None:
    dataset = FrameDataset(Artifact.open(source))
    dataset[0]  # the parent's handle is open when the workers are forked
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=3, num_workers=workers, multiprocessing_context="fork" if workers else None
    )
    for _ in range(2):
        found = np.concatenate([batch.numpy() for batch in loader])
        np.testing.assert_array_equal(found, columns_of(Kind.SOURCE)["frames/image"])


def test_a_data_loader_with_a_spawned_worker_reads_every_frame(source: Path) -> None:
    loader: DataLoader[Any] = DataLoader(
        FrameDataset(Artifact.open(source)), batch_size=4, num_workers=1, multiprocessing_context="spawn"
    )
    found = np.concatenate([batch.numpy() for batch in loader])
    np.testing.assert_array_equal(found, columns_of(Kind.SOURCE)["frames/image"])


def test_an_error_crosses_from_a_worker_with_its_facts(source: Path) -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(ArtifactError) as caught:
        pool.apply(Artifact.open(source).rows, ("frames/image", 5, 99))
    assert caught.value.file == str(source)


def test_closing_is_not_the_end(source: Path) -> None:
    with Artifact.open(source) as artifact:
        first = artifact.rows("frames/image", 0, 1)
        assert open_files(source) == 2
    assert open_files(source) == 0
    np.testing.assert_array_equal(artifact.rows("frames/image", 0, 1), first)
    artifact.close()
    artifact.close()
    assert open_files(source) == 0
