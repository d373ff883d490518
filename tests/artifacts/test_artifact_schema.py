"""The schema, its hash and the page made from it."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from artifact_samples import columns_of, write_artifact

from sfvd_pl.artifacts import AXES, SCHEMA_VERSION, SCHEMAS, Artifact, Column, Kind, content_hash
from sfvd_pl.artifacts.columns import DTYPES
from sfvd_pl.artifacts.docs import BEGIN, END, main, renewed, schema_markdown
from sfvd_pl.artifacts.schema import GENERATED_KINDS
from sfvd_pl.errors import ArtifactError

PAGE = Path(__file__).parents[2] / "docs" / "artifacts.md"
COLUMNS = [(kind, column) for kind, schema in SCHEMAS.items() for column in schema.columns]


def test_every_kind_has_a_schema_without_repeats() -> None:
    assert set(SCHEMAS) == set(Kind)
    for kind, schema in SCHEMAS.items():
        assert schema.kind == kind
        assert len(schema.by_key) == len(schema.columns), kind
        assert list(schema.keys) == sorted(schema.keys)
    assert {Kind.SCENES, Kind.MOTIONS, Kind.SYNTHETIC} == GENERATED_KINDS


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=[f"{k}:{c.key}" for k, c in COLUMNS])
def test_every_column_is_well_formed(kind: Kind, column: Column) -> None:
    assert column.dtype in DTYPES
    assert all(axis in AXES or axis.isdigit() for axis in column.axes)
    table = column.key.split("/")[0]
    assert {"frames": "N", "clips": "M", "arms": "A"}[table] in column.axes
    assert column.doc.endswith(".")
    assert column.unit
    assert not (column.nan_ok and not column.dtype.startswith("float"))
    assert column.choices is None or column.dtype == "str"


def test_the_page_holds_the_generated_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run: python -m sfvd_pl.artifacts.docs docs/artifacts.md"
    for kind, schema in SCHEMAS.items():
        assert f"### {kind.value}\n" in page
        assert all(f"| `{key}` |" in page for key in schema.keys)
    assert f"Schema version {SCHEMA_VERSION}." in page


def test_no_cell_breaks_a_table() -> None:
    rows = [line for line in schema_markdown().splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {3, 7}
    assert not re.search(r"\|[ ]+\|", schema_markdown())


def test_the_command_renews_a_page_and_refuses_one_without_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main([str(page)])
    assert page.read_text() == f"before\n{BEGIN}\n{schema_markdown()}{END}\nafter\n"
    for text in ("nothing", BEGIN, END):
        page.write_text(text)
        with pytest.raises(ArtifactError, match="markers"):
            main([str(page)])


def test_the_content_hash_against_a_second_implementation(tmp_path: Path) -> None:
    """Computed from the columns that were written, without the package's own hashing."""
    columns = columns_of(Kind.SEGMENTATION)
    path = write_artifact(tmp_path / "a.h5", Kind.SEGMENTATION, columns)
    dtypes = {"frames/probability": "<f2", "arms/name": "str", "clips/name": "str", "clips/patient": "str"}
    listed = []
    for key in sorted(columns):
        column = SCHEMAS[Kind.SEGMENTATION].by_key[key]
        dtype = dtypes.get(key, "<i8")
        if dtype == "str":
            data = b"".join(len(t.encode()).to_bytes(8, "little") + t.encode() for t in columns[key])
            name, shape = "str", [len(columns[key])]
        else:
            data = np.asarray(columns[key]).astype(dtype).tobytes()
            name, shape = np.dtype(dtype).name, list(np.shape(columns[key]))
        span = {"frames/probability": "0..1", "clips/length": "1..inf"}
        text = "" if column.range is None else span.get(key, "0..inf")
        axes = " ".join(column.axes)
        listed.append([key, name, shape, axes, column.unit, text, hashlib.sha256(data).hexdigest()])
    attrs = {k: v for k, v in Artifact.open(path).attrs.items() if k not in ("created", "content_hash", "seal")}
    text = json.dumps({"attributes": attrs, "columns": listed}, sort_keys=True, separators=(",", ":"))
    assert content_hash(path) == hashlib.sha256(text.encode()).hexdigest()


def test_equal_content_has_equal_hashes_and_any_difference_another(tmp_path: Path) -> None:
    columns = columns_of(Kind.SCENES)
    first = content_hash(write_artifact(tmp_path / "a.h5", Kind.SCENES, columns))
    assert content_hash(write_artifact(tmp_path / "b.h5", Kind.SCENES, columns)) == first
    columns["clips/scene"] = columns["clips/scene"].copy()
    columns["clips/scene"][0, 0, 0] ^= 1
    assert content_hash(write_artifact(tmp_path / "c.h5", Kind.SCENES, columns)) != first
    # two texts must not be confused with one that joins them
    joined = columns_of(Kind.SCENES) | {"clips/mask_source": ["ab", "c", ""]}
    other = columns_of(Kind.SCENES) | {"clips/mask_source": ["a", "bc", ""]}
    hashes = [
        content_hash(write_artifact(tmp_path / f"{i}.h5", Kind.SCENES, c))
        for i, c in enumerate((joined, other))
    ]
    assert hashes[0] != hashes[1]
