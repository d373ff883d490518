"""Parents: found where a run keeps them, and a swapped one is named."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from artifact_samples import columns_of, provenance, write_artifact

from sfvd_pl.artifacts import Artifact, Kind, content_hash, file_hash, find_parents, verify


def write(folder: Path, kind: Kind, *, name: str | None = None, seed: int = 0, **origin: Any) -> Path:
    facts = {"parents": {}, "patients": ("p0", "p1")} | origin
    columns = columns_of(kind, seed=seed)
    return write_artifact(folder / (name or f"{kind}.h5"), kind, columns, provenance=provenance(**facts))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: source, scene model, scenes, and synthetic clips made from all of them."""
    source = write(tmp_path, Kind.SOURCE)
    for stage in ("scene", "guide"):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "model.ckpt").write_bytes(stage.encode())
    scene = hashlib.sha256(b"scene").hexdigest()
    scenes = write(tmp_path, Kind.SCENES, parents={"source": content_hash(source), "scene.ckpt": scene})
    parents = {
        "source": content_hash(source),
        "scenes": content_hash(scenes),
        "scene_ckpt": scene,
        "guide_ckpt": hashlib.sha256(b"guide").hexdigest(),
        "gate_ckpt": "0" * 64,
    }
    write(tmp_path, Kind.SYNTHETIC, parents=parents)
    return tmp_path


def problems(path: Path) -> list[str]:
    return verify(path, parents=find_parents(Artifact.open(path)))


def test_parents_are_found_where_a_run_keeps_them(run: Path) -> None:
    found = find_parents(Artifact.open(run / "synthetic.h5"))
    assert found == {
        "source": run / "source.h5",
        "scenes": run / "scenes.h5",
        "scene_ckpt": run / "scene" / "model.ckpt",
        "guide_ckpt": run / "guide" / "model.ckpt",
    }
    assert problems(run / "synthetic.h5") == []
    assert problems(run / "scenes.h5") == []


@pytest.mark.parametrize("name", ["source", "scenes"])
def test_a_swapped_artifact_is_named(run: Path, name: str) -> None:
    (run / f"{name}.h5").unlink()
    write(run, Kind(name), seed=1)
    (problem, *_) = problems(run / "synthetic.h5")
    assert problem.startswith(f"parents['{name}']: made from ")
    assert str(run / f"{name}.h5") in problem


def test_a_swapped_model_is_named(run: Path) -> None:
    (run / "guide" / "model.ckpt").write_bytes(b"another guide")
    (problem,) = problems(run / "synthetic.h5")
    assert problem.startswith("parents['guide_ckpt']")


def test_parents_that_do_not_belong_together_are_found(tmp_path: Path) -> None:
    """Scenes of one source, synthetic clips that claim another."""
    scenes = write(tmp_path, Kind.SCENES, parents={"source": "a" * 64})
    write(tmp_path, Kind.SYNTHETIC, parents={"source": "b" * 64, "scenes": content_hash(scenes)})
    (problem,) = problems(tmp_path / "synthetic.h5")
    assert "was made from the source aaaa" in problem
    assert "this artifact from bbbb" in problem


def test_patients_that_a_parent_was_learned_from_cannot_be_forgotten(tmp_path: Path) -> None:
    scenes = write(tmp_path, Kind.SCENES, patients=("p0", "p1", "p7"))
    write(tmp_path, Kind.SYNTHETIC, parents={"scenes": content_hash(scenes)})
    (problem,) = problems(tmp_path / "synthetic.h5")
    assert "was learned from p7; this artifact doesn't say so" in problem


def test_a_damaged_parent_is_a_problem(run: Path) -> None:
    (run / "source.h5").write_bytes(b"no artifact")
    (problem,) = problems(run / "synthetic.h5")
    assert problem.startswith("parents['source']")


def test_an_arm_may_be_called_as_an_artifact_is(run: Path) -> None:
    models = {"real": b"r", "synthetic": b"s"}
    for seed in ("", "-seed3"):
        for arm, data in models.items():
            folder = run / "segment" / f"{arm}{seed}"
            folder.mkdir(parents=True)
            (folder / "model.ckpt").write_bytes(data + seed.encode())
        parents = {a: hashlib.sha256(d + seed.encode()).hexdigest() for a, d in models.items()}
        columns = columns_of(Kind.SEGMENTATION) | {"arms/name": list(models)}
        path = run / f"segmentation{seed}.h5"
        write_artifact(path, Kind.SEGMENTATION, columns, provenance=provenance(parents=parents))
        assert set(find_parents(Artifact.open(path))) == {"real", "synthetic"}
        assert problems(path) == []


def test_a_parent_s_name_never_leads_out_of_the_folder(run: Path, tmp_path: Path) -> None:
    (run / "inner").mkdir()
    path = write(run / "inner", Kind.SCENES, parents={"../source": "0" * 64, "/etc/passwd": "0" * 64, "..": "0" * 64})
    assert find_parents(Artifact.open(path)) == {}


def test_the_hash_of_a_file_is_of_its_bytes_and_of_an_artifact_of_its_content(run: Path) -> None:
    assert file_hash(run / "scene" / "model.ckpt") == hashlib.sha256(b"scene").hexdigest()
    assert file_hash(run / "source.h5") == content_hash(run / "source.h5")
