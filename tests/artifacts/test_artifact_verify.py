"""Verification: every damage is found, every rule has a case that breaks it."""

import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from artifact_samples import columns_of, forge, provenance, write_artifact

from sfvd_pl.artifacts import Artifact, Kind, content_hash, verify
from sfvd_pl.artifacts.contents import all_attributes
from sfvd_pl.errors import ArtifactError


def test_a_whole_artifact_holds(tmp_path: Path) -> None:
    for kind in Kind:
        path = write_artifact(tmp_path / f"{kind}.h5", kind, columns_of(kind))
        assert verify(path, deep=True) == []
        assert verify(path, deep=False) == []


def test_what_cannot_be_opened_is_a_problem_not_an_exception(source: Path, tmp_path: Path) -> None:
    (missing,) = verify(tmp_path / "none.h5")
    assert "no artifact of this name" in missing
    source.write_bytes(source.read_bytes()[:-7])
    (truncated,) = verify(source)
    assert "truncated" in truncated


def test_a_flipped_byte_of_a_picture_is_found(source: Path) -> None:
    chunk = h5py.File(source, "r")["frames/image"].id.get_chunk_info(6)
    data = bytearray(source.read_bytes())
    data[chunk.byte_offset + 17] ^= 4
    source.write_bytes(data)
    (problem,) = verify(source)
    assert problem.startswith("frames/image: the content was changed")
    assert verify(source, deep=False) == [], "a shallow check doesn't read the pictures"


def everything(path: Path) -> str:
    """All that an artifact says: every attribute of every object and every value."""
    with Artifact.open(path) as artifact, h5py.File(path) as file:
        attributes = sorted((name, sorted(carried.items())) for name, carried in all_attributes(file).items())
        return repr((attributes, [(key, artifact.column(key).tolist()) for key in artifact.keys]))


@pytest.mark.parametrize("kind", Kind)
def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path: Path, kind: Kind) -> None:
    """Bits all over the file: in pictures, texts, attributes and HDF5's own structure.

    One in a few hundred bytes, and each byte of some attributes; tests/fuzz/flip_bits.py tries them all.
    """
    whole = write_artifact(tmp_path / "whole.h5", kind, columns_of(kind, lengths=[1, 2]))
    data, expected, path = whole.read_bytes(), everything(whole), tmp_path / "flipped.h5"
    chance = random.Random(kind)
    places = [(first + chance.randrange(200)) % len(data) for first in range(0, len(data), 200)]
    artifact = Artifact.open(whole)
    for name in ("created", "patients", "content_hash"):
        text = str(artifact.attrs[name]).encode()
        places += range(data.find(text), data.find(text) + len(text), 3)
    found = 0
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        if verify(path):
            found += 1
        else:
            assert everything(path) == expected, place
    assert found > len(places) / 2


def test_an_edited_attribute_is_found(source: Path) -> None:
    with h5py.File(source, "r+") as file:
        file.attrs["patients"] = '["p0"]'
    (problem,) = verify(source, deep=False)
    assert "was changed after the artifact was written" in problem


GOOD = columns_of(Kind.SOURCE)


def changed(key: str, where: Any, value: Any) -> dict[str, Any]:
    """One column of the source with one value changed."""
    values = np.array(GOOD[key], dtype=object if isinstance(GOOD[key], list) else None)
    values[where] = value
    return {key: values}


RULES: list[tuple[dict[str, Any], str]] = [
    (changed("clips/start", 1, 4), "clips/start: expected clips that follow one another"),
    (changed("clips/start", 1, 2), "clips/start: expected clips that follow one another"),
    (changed("clips/start", 0, 1), "clips/start: expected clips that follow one another"),
    (changed("clips/length", 2, 5), "clips/length: expected lengths that add up to the 12 frames; found 13"),
    (changed("clips/length", 2, 3), "clips/length: expected lengths that add up to the 12 frames; found 11"),
    (changed("clips/name", 1, "p0/run"), "clips/name: expected no repeats; found p0/run 2 times"),
    (changed("clips/name", 1, ""), "clips/name: expected names; found an empty one"),
    (
        changed("clips/patient", 1, "p0"),
        "expected all clips of a patient in one part; found p0 in train and val",
    ),
    (changed("clips/patient", 1, ""), "clips/patient: expected a name for every clip"),
    (changed("clips/height", 1, 13), "clips/height: expected at most the frames' 12; found 13"),
    (changed("clips/width", 1, 11), "clips/width: expected at most the frames' 10; found 11"),
    (
        changed("frames/annotated", 4, False),
        "frames/wire_mask: expected an empty mask where annotated is false",
    ),
    (
        {"frames/ignore": GOOD["frames/wire_mask"] * (np.arange(12) == 7)[:, None, None]},
        "frames/ignore: expected 0 on the wire; found wire pixels that are ignored in row 7",
    ),
    (
        {
            "frames/annotated": np.arange(12) > 2,
            "frames/wire_mask": GOOD["frames/wire_mask"] * (np.arange(12) > 2)[:, None, None],
        },
        "clips/labelled: expected an annotated frame in every labelled clip; row 0 has none",
    ),
]


@pytest.mark.parametrize(("changes", "message"), RULES, ids=[message[:60] for _, message in RULES])
def test_a_rule_across_columns_is_kept_by_the_writer_and_found_by_verify(
    tmp_path: Path, source: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match="breaks its rules") as caught:
        write_artifact(tmp_path / "broken.h5", Kind.SOURCE, GOOD | changes)
    assert message in str(caught.value)
    assert not (tmp_path / "broken.h5").exists()
    numbers = {key: values for key, values in changes.items() if values.dtype != object}
    if numbers:
        forge(source, numbers)
        assert any(message in problem for problem in verify(source))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed("clips/fps", 0, -1), "clips/fps: expected 0.001 to inf; found -1.0 in row 0"),
        (
            changed("clips/affine", (2, 0, 0), np.nan),
            "clips/affine: expected a finite number; found nan in row 2",
        ),
        (changed("frames/visibility", 3, -np.inf), "frames/visibility: expected a finite number or NaN"),
    ],
)
def test_verify_looks_at_values_and_not_only_at_the_hash(
    source: Path, changes: dict[str, Any], message: str
) -> None:
    forge(source, changes)
    assert any(message in problem for problem in verify(source))


def test_a_picture_brighter_than_intensity_max_is_found(tmp_path: Path) -> None:
    columns = columns_of(Kind.SOURCE)
    columns["frames/image"] = columns["frames/image"] // 2
    path = write_artifact(tmp_path / "a.h5", Kind.SOURCE, columns, intensity_max=127)
    assert verify(path) == []
    columns["frames/image"][9, 1, 2] = 128
    forge(path, {"frames/image": columns["frames/image"]})
    assert verify(path) == ["frames/image: expected 0 to 127; found 128 in row 9"]


@pytest.mark.parametrize("value", [np.nan, 1.001, -0.5, np.inf])
def test_a_probability_outside_0_to_1_is_found(tmp_path: Path, value: float) -> None:
    columns = columns_of(Kind.SEGMENTATION)
    columns["frames/probability"][:, 0] = np.float16(-0.0)
    path = write_artifact(tmp_path / "a.h5", Kind.SEGMENTATION, columns)
    assert verify(path) == []
    columns["frames/probability"][1, 2, 3, 4] = value
    forge(path, {"frames/probability": columns["frames/probability"]})
    assert any(problem.startswith("frames/probability: expected") for problem in verify(path))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            Kind.SYNTHETIC,
            {"clips/sample_id": [5, 6, 5]},
            "clips/sample_id: expected no repeats; found 5 2 times",
        ),
        (Kind.SYNTHETIC, {"clips/accepted": [True] * 3}, "clips/reject_reason: expected a reason exactly"),
        (Kind.SYNTHETIC, {"clips/reject_reason": [""] * 3}, "found otherwise in row 0"),
        (
            Kind.SYNTHETIC,
            {"clips/height": [12, 11, 12], "frames/wire_mask": np.zeros((12, 12, 10), np.uint8)},
            "frames/ignore: expected 1 beyond 11 rows and 10 columns in the clip of row 3",
        ),
        (Kind.SCENES, {"clips/width": [10, 11, 10]}, "clips/width: expected at most the frames' 10; found 11"),
        (Kind.SEGMENTATION, {"arms/name": ["a", "a"]}, "arms/name: expected no repeats"),
    ],
)
def test_rules_of_the_generated_kinds(
    tmp_path: Path, kind: Kind, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        write_artifact(tmp_path / "a.h5", kind, columns_of(kind) | changes)


def test_an_artifact_without_clips_or_without_arms_is_refused(tmp_path: Path) -> None:
    empty = {key: values[:0] for key, values in columns_of(Kind.SOURCE).items()}
    with pytest.raises(ArtifactError, match="expected at least one clip; found none"):
        write_artifact(tmp_path / "a.h5", Kind.SOURCE, empty)
    columns = columns_of(Kind.SEGMENTATION)
    columns |= {key: columns[key][:0] for key in ("arms/name", "frames/probability")}
    with pytest.raises(ArtifactError, match="expected at least one arm; found none"):
        write_artifact(tmp_path / "a.h5", Kind.SEGMENTATION, columns)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"config": '{"steps":4}'}, "config_hash: expected"),
        ({"config": "{"}, "attributes: expected"),
        ({"parents": "[1]"}, "attributes: expected"),
        ({"parents": '{"a":1}'}, "parents, patients: expected texts"),
        ({"patients": "[1]"}, "parents, patients: expected texts"),
        ({"intensity_max": 0}, "intensity_max: expected 1 to 65535; found 0"),
        ({"seed": "x"}, "attributes: expected"),
    ],
)
def test_attributes_must_be_readable_and_agree(
    source: Path, attributes: dict[str, Any], message: str
) -> None:
    forge(source, {}, attributes)
    problems = verify(source)
    assert any(message in problem for problem in problems), problems


def test_parents_are_compared_by_content(tmp_path: Path, source: Path) -> None:
    made = provenance(parents={"source": content_hash(source)})
    scenes = write_artifact(tmp_path / "scenes.h5", Kind.SCENES, columns_of(Kind.SCENES), provenance=made)
    assert verify(scenes, parents={"source": source}) == []
    other = write_artifact(tmp_path / "other.h5", Kind.SOURCE, columns_of(Kind.SOURCE, seed=1))
    (problem,) = verify(scenes, parents={"source": other})
    assert problem.startswith("parents['source']: made from")
    (problem,) = verify(scenes, parents={"motion": source})
    assert "no parent of this name" in problem
    (problem,) = verify(scenes, parents={"source": tmp_path / "none.h5"})
    assert "no artifact of this name" in problem


def test_blocks_smaller_than_the_column_give_the_same_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_artifact(tmp_path / "a.h5", Kind.SEGMENTATION, columns_of(Kind.SEGMENTATION))
    monkeypatch.setattr("sfvd_pl.artifacts.store.BLOCK_BYTES", 5 * 240)
    starts = [first for first, _ in Artifact.open(path).blocks("frames/probability")]
    assert starts == [0, 5, 10, 0, 5, 10]
    assert verify(path) == []


def test_progress_shows_a_bar(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(source, progress=True)
    assert "verify source.h5: 100%" in capsys.readouterr().err
    verify(source)
    assert capsys.readouterr().err == ""
