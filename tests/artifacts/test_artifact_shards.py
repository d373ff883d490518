"""Making an artifact in shards: resume, set aside, merge."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from artifact_samples import columns_of, generated, provenance, wire_masks, write_artifact

from sfvd_pl.artifacts import Artifact, Kind, ShardSet, content_hash, verify, verify_shards
from sfvd_pl.errors import ArtifactError

GATE = ("clips/accepted", "clips/reject_reason", "clips/gate_dice")


def sample(sample_id: int) -> dict[str, Any]:
    """All columns of one synthetic clip of 2 to 4 frames, from its id alone."""
    length = 2 + sample_id % 3
    columns = columns_of(Kind.SYNTHETIC, seed=sample_id, lengths=[length])
    return columns | generated([sample_id]) | {"clips/name": [f"clip {sample_id}"]}


def batch(
    ids: list[int], *, leave_out: tuple[str, ...] = ("clips/start", "clips/sample_id")
) -> dict[str, Any]:
    """The columns of several clips, one after the other."""
    samples = [sample(sample_id) for sample_id in ids]
    return {key: np.concatenate([s[key] for s in samples]) for key in samples[0] if key not in leave_out}


def shard_set(folder: Path, **changes: Any) -> ShardSet:
    return ShardSet(folder / "shards", Kind.SYNTHETIC, provenance(**changes), intensity_max=255)


def whole(folder: Path, ids: list[int]) -> str:
    """Content hash of the artifact written at once."""
    columns = batch(ids, leave_out=())
    columns["clips/start"] = np.cumsum([0, *columns["clips/length"][:-1]])
    return content_hash(
        write_artifact(folder / f"whole{len(list(folder.iterdir()))}.h5", Kind.SYNTHETIC, columns)
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "shards").iterdir())


@pytest.mark.parametrize(
    ("batches", "order"),
    [
        ([[0, 1, 2, 3, 4, 5]], [0, 1, 2, 3, 4, 5]),
        ([[0, 1], [2, 3, 4], [5]], [0, 1, 2, 3, 4, 5]),
        ([[4, 5], [0, 2], [1, 3]], [0, 1, 2, 3, 4, 5]),
        ([[0, 1, 2], [3, 4, 5]], [5, 0, 4, 1, 3, 2]),
        ([[0, 1, 2], [3, 4, 5]], [4, 1]),
    ],
)
def test_the_merged_artifact_equals_one_written_at_once(
    tmp_path: Path, batches: list[list[int]], order: list[int]
) -> None:
    shards = shard_set(tmp_path)
    for ids in batches:
        shards.write(ids, batch(ids))
    out = shards.merge(tmp_path / "out.h5", order)
    assert verify(out) == []
    assert content_hash(out) == whole(tmp_path, order)
    assert Artifact.open(out, Kind.SYNTHETIC).column("clips/sample_id").tolist() == order


def test_the_merge_reads_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfvd_pl.artifacts.merging.BLOCK_BYTES", 2 * 120)
    shards = shard_set(tmp_path)
    shards.write([0, 1, 2], batch([0, 1, 2]))
    assert content_hash(shards.merge(tmp_path / "out.h5", [0, 1, 2])) == whole(tmp_path, [0, 1, 2])


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    assert shard_set(tmp_path).done() == set()
    shard_set(tmp_path).write([0, 1], batch([0, 1]))
    with pytest.raises(ArtifactError):
        shard_set(tmp_path).write([2, 3], batch([2, 3]) | {"clips/mask_origin": ["made up"] * 2})
    resumed = shard_set(tmp_path)
    assert resumed.done() == {0, 1}
    assert names(tmp_path) == ["shard-00000000-00000001.h5"]
    missing = sorted({0, 1, 2, 3} - resumed.done())
    resumed.write(missing, batch(missing))
    assert resumed.done() == {0, 1, 2, 3}
    assert content_hash(resumed.merge(tmp_path / "out.h5", range(4))) == whole(tmp_path, [0, 1, 2, 3])


def test_scenes_are_merged_with_their_pictures(tmp_path: Path) -> None:
    columns = columns_of(Kind.SCENES)
    expected = content_hash(write_artifact(tmp_path / "whole.h5", Kind.SCENES, columns))
    shards = ShardSet(tmp_path / "s", Kind.SCENES, provenance(), intensity_max=255)
    for row in (2, 0, 1):
        frames = slice(
            columns["clips/start"][row], columns["clips/start"][row] + columns["clips/length"][row]
        )
        one = {k: v[frames] if k.startswith("frames/") else v[row : row + 1] for k, v in columns.items()}
        del one["clips/start"]
        shards.write([20 + row], one)
    assert content_hash(shards.merge(tmp_path / "out.h5", [20, 21, 22])) == expected


def test_columns_known_only_later_come_with_the_merge(tmp_path: Path) -> None:
    shards, ids = shard_set(tmp_path), [0, 1, 2]
    full = batch(ids)
    for i in ids:
        shards.write([i], {key: values for key, values in batch([i]).items() if key not in GATE})
    with pytest.raises(ArtifactError, match="a column is missing") as caught:
        shards.merge(tmp_path / "out.h5", ids)
    assert caught.value.key == "clips/accepted"
    assert not (tmp_path / "out.h5").exists()
    extra = {key: full[key] for key in GATE}
    assert content_hash(shards.merge(tmp_path / "out.h5", ids, extra=extra)) == whole(tmp_path, ids)
    replaced = extra | {"clips/contrast": np.array([2.0, 3.0, 4.0], dtype=np.float32)}
    out = shards.merge(tmp_path / "out.h5", ids, extra=replaced, overwrite=True)
    assert Artifact.open(out).column("clips/contrast").tolist() == [2, 3, 4]


@pytest.mark.parametrize("key", ["clips/start", "clips/sample_id", "frames/visibility", "clips/other"])
def test_extra_columns_must_be_of_the_clips_table(tmp_path: Path, key: str) -> None:
    shards = shard_set(tmp_path)
    shards.write([0], batch([0]))
    with pytest.raises(ArtifactError, match="can't be added"):
        shards.merge(tmp_path / "out.h5", [0], extra={key: np.zeros(1)})
    with pytest.raises(ArtifactError, match="can't be added"):
        shards.merge(tmp_path / "out.h5", [0], extra={"clips/gate_dice": np.zeros(2)})


def test_missing_samples_are_named(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    shards.write([0, 1], batch([0, 1]))
    with pytest.raises(ArtifactError, match="samples are missing") as caught:
        shards.merge(tmp_path / "out.h5", range(4))
    assert caught.value.found == "2 missing: 2, 3"
    with pytest.raises(ArtifactError, match=r"28 missing: 2, 3, .*21, ..."):
        shards.merge(tmp_path / "out.h5", range(30))
    assert not (tmp_path / "out.h5").exists()


def test_a_sample_in_two_shards_and_ids_given_twice_are_refused(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    shards.write([0, 1], batch([0, 1]))
    shards.write([1, 2], batch([1, 2]))
    with pytest.raises(ArtifactError, match="in two shards") as caught:
        shards.merge(tmp_path / "out.h5", [0, 1, 2])
    assert caught.value.key == "sample_id 1"
    for ids in ([0, 0], []):
        with pytest.raises(ArtifactError, match="once each"):
            shards.merge(tmp_path / "out.h5", ids)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"config": {"steps": 4}}, "config_hash"),
        ({"seed": 8}, "seed"),
        ({"parents": {"source": "b" * 64}}, "parents"),
        ({"patients": ("p0",)}, "patients"),
    ],
)
def test_a_foreign_shard_is_set_aside(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    path = shard_set(tmp_path, **changes).write([0, 1], batch([0, 1]))
    ours = shard_set(tmp_path)
    ours.write([2], batch([2]))
    with pytest.warns(UserWarning, match=f"was set aside.*{word}"):
        assert ours.done() == {2}
    assert names(tmp_path) == [f"{path.name}.rejected", "shard-00000002-00000002.h5"]
    assert ours.done() == {2}, "without a further warning"


def test_the_commit_of_the_code_does_not_make_a_shard_foreign(tmp_path: Path) -> None:
    shard_set(tmp_path, git_commit="1" * 40).write([0], batch([0]))
    assert shard_set(tmp_path, git_commit="2" * 40).done() == {0}


def test_a_shard_of_another_kind_or_intensity_and_a_whole_artifact_are_set_aside(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    ShardSet(tmp_path / "shards", Kind.SYNTHETIC, provenance(), intensity_max=300).write([0], batch([0]))
    columns = columns_of(Kind.SCENES, lengths=[3])
    ShardSet(tmp_path / "shards", Kind.SCENES, provenance(), intensity_max=255).write([20], columns)
    write_artifact(tmp_path / "shards" / "shard-x.h5", Kind.SYNTHETIC, columns_of(Kind.SYNTHETIC))
    with pytest.warns(UserWarning, match="was set aside") as caught:
        assert shards.done() == set()
    assert len(caught) == 3
    assert all(name.endswith(".rejected") for name in names(tmp_path))


def test_a_truncated_shard_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards = shard_set(tmp_path)
    for _ in range(2):
        path = shards.write([0, 1], batch([0, 1]))
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.warns(UserWarning, match="truncated"):
            assert shards.done() == set()
    assert names(tmp_path) == [f"{path.name}.rejected", f"{path.name}.rejected2"]
    assert "was set aside" in caplog.text


def test_a_shard_with_a_changed_pixel_is_found_by_the_merge(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    shards.write([0], batch([0]))
    path = shards.write([1], batch([1]))
    data = bytearray(path.read_bytes())
    place = data.index(batch([1])["frames/image"][0].tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert shards.done() == {0, 1}
    with (
        pytest.warns(UserWarning, match="content was changed"),
        pytest.raises(ArtifactError, match="1 missing: 1"),
    ):
        shards.merge(tmp_path / "out.h5", [0, 1])
    assert shards.done() == {0}


def test_a_shard_is_not_an_artifact(tmp_path: Path) -> None:
    path = shard_set(tmp_path).write([0], batch([0]))
    with pytest.raises(ArtifactError, match="one shard of an unfinished artifact") as caught:
        Artifact.open(path)
    assert "run the stage again" in str(caught.value.remedy)


def test_equal_lengths_need_not_be_given(tmp_path: Path) -> None:
    columns = columns_of(Kind.SYNTHETIC, lengths=[3, 3])
    for key in ("clips/start", "clips/length", "clips/sample_id"):
        del columns[key]
    path = shard_set(tmp_path).write([4, 9], columns)
    shard = Artifact.open_shard(path)
    assert shard.column("clips/length").tolist() == [3, 3]
    assert shard.column("clips/start").tolist() == [0, 3]
    assert shard.column("clips/sample_id").tolist() == [4, 9]
    with pytest.raises(ArtifactError, match="lengths can't be told"):
        shard_set(tmp_path).write([4, 9, 10, 11], columns)


def test_columns_of_other_samples_are_refused(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    with pytest.raises(ArtifactError, match="other samples"):
        shards.write([0, 1], batch([0, 1], leave_out=("clips/start",)) | {"clips/sample_id": [1, 0]})
    for ids in ([], [-1]):
        with pytest.raises(ArtifactError, match="needs sample ids"):
            shards.write(ids, batch([0]))
    assert not (tmp_path / "shards").exists()


def test_lists_of_ids_that_share_their_ends_do_not_overwrite_each_other(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    paths = {shards.write(ids, batch(ids)) for ids in ([0, 1, 2], [0, 2], [0, 1, 2])}
    assert len(paths) == 2


def test_a_source_is_not_made_in_shards(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="isn't made in shards"):
        ShardSet(tmp_path, Kind.SOURCE, provenance(), intensity_max=255)


def test_remove_takes_shards_only(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    shards.remove()
    path = shards.write([0], batch([0]))
    (path.parent / f"{path.name}.rejected").touch()
    (path.parent / f".{path.name}.partial-{os.getpid()}").touch()
    (path.parent / "notes.txt").touch()
    shards.remove()
    assert names(tmp_path) == ["notes.txt"]
    (path.parent / "notes.txt").unlink()
    shards.remove()
    assert not path.parent.exists()


def test_masks_follow_their_clips_when_the_order_changes(tmp_path: Path) -> None:
    shards = shard_set(tmp_path)
    ids = [0, 1, 2]
    columns = batch(ids)
    masks = wire_masks(np.random.default_rng(5), int(columns["clips/length"].sum()))
    shards.write(ids, columns | {"frames/wire_mask": masks, "frames/ignore": 1 - masks})
    merged = Artifact.open(shards.merge(tmp_path / "out.h5", [2, 0, 1]))
    edges = np.cumsum([0, *columns["clips/length"]])
    for row, sample_id in enumerate((2, 0, 1)):
        expected = masks[edges[sample_id] : edges[sample_id + 1]]
        np.testing.assert_array_equal(merged.clip_rows("frames/wire_mask", row), expected)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A folder that holds every shard it is to hold: samples 0 to 6 in three shards."""
    shards = shard_set(tmp_path)
    shards.expect(range(7))
    for ids in ([0, 1, 2], [3, 4], [5, 6]):
        shards.write(ids, batch(ids))
    return tmp_path / "shards"


def test_a_whole_folder_of_shards_holds(full: Path) -> None:
    assert verify_shards(full) == []


def test_a_missing_shard_is_named(full: Path) -> None:
    next(full.glob("shard-00000003*")).unlink()
    assert verify_shards(full) == ["samples: expected 7; missing 2: 3 to 4"]
    next(full.glob("shard-00000005*")).unlink()
    assert verify_shards(full) == ["samples: expected 7; missing 4: 3 to 6"], "also at the end"


def test_swapped_shards_are_named(full: Path) -> None:
    """Two shards under each other's names; one shard in the place of another."""
    first, second, third = sorted(full.glob("shard-*.h5"))
    content = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(content)
    found = verify_shards(full)
    assert [problem.split(":")[0] for problem in found] == [second.name, third.name]
    assert "found those of shard-00000005-00000006.h5" in found[0]
    second.write_bytes(first.read_bytes())
    found = verify_shards(full)
    assert f"{second.name}: sample 0: lies in {first.name} as well" in found
    assert found[-1] == "samples: expected 7; missing 2: 5 to 6"


@pytest.mark.parametrize("changes", [{"seed": 8}, {"parents": {"source": "b" * 64}}, {"patients": ("p9",)}])
def test_a_shard_of_another_run_is_named(full: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    ShardSet(full, Kind.SYNTHETIC, provenance(**changes), intensity_max=255).write([3, 4], batch([3, 4]))
    (problem,) = verify_shards(full)
    assert problem.startswith(f"shard-00000003-00000004.h5: {next(iter(changes))}: this run has")


def test_a_flipped_bit_or_a_cut_in_a_shard_is_named(full: Path) -> None:
    path = sorted(full.glob("shard-*.h5"))[1]
    whole = path.read_bytes()
    place = h5py.File(path)["frames/image"].id.get_chunk_info(0).byte_offset
    path.write_bytes(whole[: place + 3] + bytes([whole[place + 3] ^ 1]) + whole[place + 4 :])
    (problem,) = verify_shards(full)
    assert problem.startswith(f"{path.name}: frames/image: the content was changed")
    path.write_bytes(whole[:-100])
    found = verify_shards(full)
    assert found[0].startswith(f"{path.name}: the file is truncated")
    assert found[1] == "samples: expected 7; missing 2: 3 to 4"


def test_an_edited_or_missing_manifest_is_named(full: Path) -> None:
    manifest = full / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace("[0, 1, 2, 3, 4, 5, 6]", "[0, 1, 2, 3, 4]"))
    (problem,) = verify_shards(full)
    assert "content that doesn't fit its digest" in problem
    for content in ("", "[]", "{}", '{"sha256": 3}', "[" * 100_000):
        manifest.write_text(content)
        (problem,) = verify_shards(full)
        assert "doesn't say which shards it is to hold" in problem
    manifest.unlink()
    assert len(verify_shards(full)) == 1


def test_removing_the_shards_removes_the_manifest(full: Path, tmp_path: Path) -> None:
    shard_set(tmp_path).remove()
    assert not full.exists()
