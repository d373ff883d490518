"""The import: whole, in parallel, after a kill, and with what is bad left out."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_dicom
from pictures import write_pictures
from PIL import Image
from strange_recordings import Strange

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.errors import ArtifactError, SourceError
from sfvd_pl.sources import SplitConfig
from sfvd_pl.sources.importing import jobs as import_jobs
from sfvd_pl.sources.importing import parts as import_parts
from sfvd_pl.sources.importing import run as module
from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.parts import Part, load_part, part_key, save_part
from sfvd_pl.sources.importing.run import Skipped, import_source

SPLIT = SplitConfig(val_fraction=0.2, test_fraction=0.2)
ONE = ImportConfig(workers=1)


def run(source: Path, out: Path, config: ImportConfig = ONE, **settings: Any) -> Any:
    return import_source(source, out, config, split=SPLIT, seed=1, progress=False, **settings)


@pytest.fixture
def tree(tmp_path: Path, make_clip) -> Path:
    """Three patients: pictures with masks, a 16-bit stack with points, DICOM and a stack without labels."""
    root = tmp_path / "data"
    for patient in ("p1", "p2"):
        write_pictures(root, make_clip(patient, "r1"), frames=3)
    clip = make_clip("p3", "s", top=60000)
    (root / "p3").mkdir()
    np.save(root / "p3" / "s.npy", clip.image)
    entries = [{"frame": k, "curves": [{"points": [[12.5, 8], [12.5, 23]]}]} for k in (0, 2)]
    (root / "p3" / "s.labels.json").write_text(json.dumps({"width": 1.0, "frames": entries}))
    np.save(root / "p3" / "bare.npy", np.random.default_rng(0).normal(0, 1, (4, 20, 44)).astype(np.float32))
    write_dicom(root / "scan" / "IM1", make_clip("x", "y").image, bits=8)
    return root


@pytest.fixture(autouse=True)
def _salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFVD_SALT", "pepper")


def test_a_mixed_tree(tree: Path, tmp_path: Path, make_clip) -> None:
    summary = run(tree, tmp_path / "s.h5")
    artifact = Artifact.open(tmp_path / "s.h5", Kind.SOURCE)
    assert verify(tmp_path / "s.h5") == []
    names = [str(name) for name in artifact.column("clips/name")]
    assert names[:2] == ["p1/r1", "p2/r1"] and names[2:4] == ["p3/bare", "p3/s"] and names[4].startswith("p-")
    assert artifact.frame_shape == (32, 44) and artifact.intensity_max == 65535
    for row, name in enumerate(names[:2]):
        original = make_clip(name[:2], "r1")
        scale, offset = (artifact.column(f"clips/source_{key}")[row] for key in ("scale", "offset"))
        pixels = artifact.clip_rows("frames/image", row)[:, :32, :40]
        assert np.array_equal(np.rint(scale * pixels + offset), original.image), "every value can be had back"
        assert np.array_equal(artifact.clip_rows("frames/wire_mask", row)[:, :32, :40], original.wire_mask)
    assert artifact.clip_rows("frames/annotated", 3).tolist() == [True, False, True]
    assert [str(o) for o in artifact.column("clips/origin")] == ["frames", "frames", "npy", "npy", "dicom"]
    assert artifact.config["import"]["recordings"] == {"frames": 2, "npy": 2, "dicom": 1}
    assert artifact.config["import"]["skipped"] == []
    assert (summary.clips, summary.annotated, summary.skipped) == (5, 3, ())
    assert any("2 clips (p3/bare, " in warning and "dark" in warning for warning in summary.warnings)
    assert not list(tmp_path.glob(".*")), "the parts are gone"


def test_any_number_of_processes_gives_the_same(tree: Path, tmp_path: Path) -> None:
    hashes = set()
    for workers in (1, 2):
        run(tree, tmp_path / f"{workers}.h5", ImportConfig(workers=workers))
        hashes.add(Artifact.open(tmp_path / f"{workers}.h5").content_hash)
    assert len(hashes) == 1


@pytest.mark.parametrize("file", ["importing/parts.py", "labels/shapes.py", "stacks.py"])
def test_parts_of_other_code_are_not_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(Path(import_parts.__file__).parents[1], sources, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(import_parts, "__file__", str(sources / "importing" / "parts.py"))
    before = import_parts._code.__wrapped__()
    (sources / file).write_text((sources / file).read_text() + "\n")
    assert import_parts._code.__wrapped__() != before


def count_saved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    saved: list[str] = []

    def counted(path: Path, clip: Any) -> None:
        saved.append(clip.name)
        save_part(path, clip)

    monkeypatch.setattr(import_jobs, "save_part", counted)
    return saved


KILLED = """
import os, signal, sys
from pathlib import Path
from sfvd_pl.sources import SplitConfig
from sfvd_pl.sources.importing import jobs as import_jobs, run as module
from sfvd_pl.sources.importing.parts import save_part
count = 0
def deadly(path, clip):
    global count
    if count == 3:
        path.with_name(f".{path.name}.partial-{os.getpid()}").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
    save_part(path, clip)
import_jobs.save_part = deadly
module.import_source(Path(sys.argv[1]), Path(sys.argv[2]), module.ImportConfig(workers=1),
    split=SplitConfig(val_fraction=0.2, test_fraction=0.2), seed=1, progress=False)
"""


def test_a_killed_import_goes_on(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out" / "s.h5"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tree), str(out)], check=False, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL
    assert not out.exists() and len(list(out.parent.glob(".s.h5.import/*.npz"))) == 3
    saved = count_saved(monkeypatch)
    run(tree, out)
    assert len(saved) == 2 and [p.name for p in out.parent.iterdir()] == ["s.h5"]
    run(tree, tmp_path / "whole.h5")
    assert Artifact.open(out).content_hash == Artifact.open(tmp_path / "whole.h5").content_hash


def test_names_of_files_stay_outside(tree: Path, tmp_path: Path) -> None:
    root = tree.rename(tmp_path / "Doe^Jane")
    labels = tmp_path / "Doe^Jane.csv"
    labels.write_text("clip,frame,x,y,width\nbare,1,3,3,2\nbare,1,30,30,2\n")
    (root / "scan").rename(root / "Doe^Jane's scan")
    run(root, tmp_path / "s.h5", ImportConfig(workers=1, labels=labels))
    assert b"Doe" not in (tmp_path / "s.h5").read_bytes()


def test_what_changed_is_read_anew(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = count_saved(monkeypatch)

    def again(config: ImportConfig = ONE) -> list[str]:
        saved.clear()
        with pytest.raises(RuntimeError), monkeypatch.context() as patch:
            patch.setattr(module, "write_source", lambda *_, **__: (_ for _ in ()).throw(RuntimeError))
            run(tree, tmp_path / "s.h5", config)
        return sorted(saved)

    assert len(again()) == 5 and again() == []
    np.save(tree / "p3" / "bare.npy", np.ones((4, 20, 44), np.float32))
    assert again() == ["p3/bare"]
    (tree / "p3" / "s.json").write_text('{"fps": 3}')
    assert again() == ["p3/s"]
    labels = json.loads((tree / "p3" / "s.labels.json").read_text())
    labels["frames"].pop()
    (tree / "p3" / "s.labels.json").write_text(json.dumps(labels))
    assert again() == ["p3/s"]
    (tree / "p1" / "r1" / "masks" / "shot-7.png").unlink()
    assert again() == ["p1/r1"]
    assert len(again(ImportConfig(workers=1, polarity="keep"))) == 5
    monkeypatch.setenv("SFVD_SALT", "salt")
    assert len(again(ImportConfig(workers=1, polarity="keep"))) == 5
    assert len(list(tmp_path.glob(".s.h5.import/*.npz"))) == 5, "parts of other settings are removed"
    damaged = next(tmp_path.glob(".s.h5.import/*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:500])
    monkeypatch.setenv("SFVD_SALT", "salt")
    assert len(again(ImportConfig(workers=1, polarity="keep"))) == 1


def test_a_full_disk_is_no_recordings_fault(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, clip: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_jobs, "save_part", full)
    with pytest.raises(ArtifactError, match="No space left"):
        run(tree, tmp_path / "s.h5", ImportConfig(workers=1, keep_going=True))
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="can't be written"):
        run(tree, tmp_path / "file" / "s.h5")


def test_two_imports_of_one_name(tree: Path, tmp_path: Path) -> None:
    with module._claimed(tmp_path / ".s.h5.import"), pytest.raises(SourceError, match="another import"):
        run(tree, tmp_path / "s.h5")
    run(tree, tmp_path / "s.h5")
    before = (tmp_path / "s.h5").read_bytes()
    with pytest.raises(ArtifactError, match="exists already"):
        run(tree, tmp_path / "s.h5")
    assert (tmp_path / "s.h5").read_bytes() == before
    run(tree, tmp_path / "s.h5", overwrite=True)


# -- what is bad -------------------------------------------------------------------------------------------------


def spoil(tree: Path) -> None:
    """One recording bad to the walk, one to its labels, one to the reader, one DICOM file."""
    (tree / "p1" / "walk.npy").write_bytes(b"?")
    np.save(tree / "p2" / "labels.npy", np.zeros((2, 8, 8), np.uint8))
    (tree / "p2" / "labels.npy").rename(tree / "p2" / "marks.npy")
    (tree / "p2" / "marks.labels.csv").write_text("frame,x,y\n1,1\n")
    write = tree / "p2" / "torn" / "images"
    write.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 40), dtype=np.uint8)).save(write / "0.png")
    (write / "0.png").write_bytes((write / "0.png").read_bytes()[:300])
    (tree / "scan" / "Doe^John.dcm").write_bytes(b"?")


def test_the_first_bad_recording_stops_the_import(tree: Path, tmp_path: Path) -> None:
    spoil(tree)
    with pytest.raises(SourceError, match=r"walk\.npy"):
        run(tree, tmp_path / "s.h5")
    assert not (tmp_path / "s.h5").exists()
    (tree / "p1" / "walk.npy").unlink()
    (tree / "p2" / "marks.npy").unlink()
    (tree / "p2" / "marks.labels.csv").unlink()
    (tree / "scan" / "Doe^John.dcm").unlink()
    messages = set()
    for workers in (1, 2):
        with pytest.raises(SourceError, match=r"can't be read") as caught:
            run(tree, tmp_path / "s.h5", ImportConfig(workers=workers))
        messages.add(str(caught.value))
    assert len(messages) == 1 and "torn" in messages.pop()


def test_bad_recordings_are_left_out_and_named(tree: Path, tmp_path: Path) -> None:
    run(tree, tmp_path / "good.h5")
    spoil(tree)
    (tree / "odd.xyz").write_text("?")
    hashes = set()
    for workers in (1, 2):
        out = tmp_path / f"{workers}.h5"
        summary = run(tree, out, ImportConfig(workers=workers, keep_going=True))
        hashes.add(Artifact.open(out).content_hash)
        text = str(summary)
        assert [line.split(":")[0] for line in summary.skipped] == [
            "p1/walk", f"DICOM {Path('scan') / 'Doe^John.dcm'}", "p2/marks", "p2/torn",
        ]  # fmt: skip
        assert all(f"skipped {name}" in text for name in ("p1/walk", "p2/marks", "p2/torn"))
        assert "odd.xyz" in text
    assert len(hashes) == 1
    artifact = Artifact.open(tmp_path / "1.h5")
    skipped = artifact.config["import"]["skipped"]
    assert [entry["name"] for entry in skipped] == ["p1/walk", "a DICOM file", "p2/marks", "p2/torn"]
    assert "Doe" not in json.dumps(artifact.config) and all(entry["reason"] for entry in skipped)
    good = Artifact.open(tmp_path / "good.h5")
    assert np.array_equal(artifact.column("frames/wire_mask"), good.column("frames/wire_mask"))


def test_nothing_good_is_left(tmp_path: Path) -> None:
    (tmp_path / "data" / "p1").mkdir(parents=True)
    (tmp_path / "data" / "p1" / "a.npy").write_bytes(b"?")
    (tmp_path / "data" / "p1" / "b.npy").write_bytes(b"?")
    with pytest.raises(SourceError, match="no recording could be imported") as caught:
        run(tmp_path / "data", tmp_path / "s.h5", ImportConfig(workers=1, keep_going=True))
    assert "left out p1/a: " in str(caught.value) and "left out p1/b: " in str(caught.value)


def test_what_was_left_out_is_named_where_the_rest_will_not_do(tree: Path, tmp_path: Path) -> None:
    shutil.rmtree(tree / "scan")
    (tree / "p1" / "r1" / "images" / "00000.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"too few patients[\s\S]*left out p1/r1: .*empty"):
        run(tree, tmp_path / "s.h5", ImportConfig(workers=1, keep_going=True))


def test_a_second_recording_of_a_name_is_left_out(tree: Path, tmp_path: Path) -> None:
    np.save(tree / "p1" / "r1.npy", np.zeros((3, 8, 8), np.uint8))
    summary = run(tree, tmp_path / "s.h5", ImportConfig(workers=1, keep_going=True))
    assert summary.clips == 5 and summary.skipped[0].startswith("p1/r1: two recordings of one name")


def test_labels_go_with_a_recording_that_is_left_out(tree: Path, tmp_path: Path) -> None:
    (tree / "p1" / "torn.npy").write_bytes(b"?")
    (tree / "p1" / "torn.labels.json").write_text("{}")
    summary = run(tree, tmp_path / "s.h5", ImportConfig(workers=1, keep_going=True))
    assert summary.clips == 5 and len(summary.skipped) == 1
    (tree / "p1" / "other.labels.json").write_text("{}")
    with pytest.raises(SourceError, match="labels that belong to no recording"):
        run(tree, tmp_path / "t.h5", ImportConfig(workers=1, keep_going=True))


def test_names_of_folders_and_labels_beside_dicom_are_not_recorded(tree: Path, tmp_path: Path, make_clip) -> None:
    shutil.copytree(tree / "scan", tree / "scan2")
    (tree / "Doe^Jane").mkdir()
    values = make_clip("x", "z").image
    write_dicom(tree / "scan" / "Doe^Jane", values, bits=8, elements={"SOPInstanceUID": "1.2.3"})
    (tree / "scan" / "Doe^Jane.labels.json").write_text("{")
    out = tmp_path / "s.h5"
    summary = run(tree, out, ImportConfig(workers=1, keep_going=True))
    assert len(summary.skipped) == 2 and all("Doe^Jane" in line for line in summary.skipped)
    assert len(Artifact.open(out).config["import"]["skipped"]) == 2
    assert b"Doe" not in out.read_bytes()


def strange(folder: Path, *deeds: str, victim: int = 0) -> list[Strange]:
    folder.mkdir(parents=True, exist_ok=True)
    recordings = []
    for number, deed in enumerate(deeds):
        file = folder / f"{number}.log"
        file.touch()
        os.utime(file, ns=(0, 0))
        recordings.append(Strange(f"p{number}/r", file, deed, victim))
    return recordings


@pytest.mark.parametrize("workers", [1, 2])
def test_a_decoders_own_failure_is_a_named_error(tmp_path: Path, workers: int) -> None:
    recordings = strange(tmp_path / "logs", "", "bug", "refuse")
    bad: list[Skipped] = []
    (tmp_path / "parts").mkdir()
    config = ImportConfig(workers=workers, keep_going=True)
    read = module._read_all(recordings, tmp_path / "parts", config, bad, progress=False)
    assert [recording for recording, _ in read] == recordings[:1]
    assert [skipped.name for skipped in bad] == ["p1/r", "p2/r"]
    assert "ZeroDivisionError" in str(bad[0]) and "it won't do" in str(bad[1])


def test_a_crash_takes_only_its_own_recording_along(tmp_path: Path) -> None:
    recordings = strange(tmp_path / "logs", "", "crash", "", "", "crash", "")
    bad: list[Skipped] = []
    (tmp_path / "parts").mkdir()
    config = ImportConfig(workers=2, keep_going=True)
    read = module._read_all(recordings, tmp_path / "parts", config, bad, progress=False)
    assert [load_part(part.path).name for _, part in read] == ["p0/r", "p2/r", "p3/r", "p5/r"]
    assert [skipped.name for skipped in bad] == ["p1/r", "p4/r"] and "died" in str(bad[0])


ORPHANS = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from strange_recordings import Strange
from sfvd_pl.sources.importing import jobs as import_jobs
from sfvd_pl.sources.importing import run as module
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    kinds = ["", "", "kill", "", "", ""]
    recordings = [Strange(f"p{k}/r", folder / f"{k}.log", deed, os.getpid()) for k, deed in enumerate(kinds)]
    module._read_all(recordings, folder, module.ImportConfig(workers=2), [], progress=False)
"""


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def waited(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_workers_end_with_a_killed_import(tmp_path: Path) -> None:
    strange(tmp_path, "", "", "kill", "", "", "")
    script = tmp_path / "script.py"
    script.write_text(ORPHANS)
    support = str(Path(__file__).parents[2] / "support")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), support], check=False, env=dict(os.environ)
    )
    assert done.returncode == -signal.SIGKILL
    pids = {int(line) for log in tmp_path.glob("*.log") for line in log.read_text().split()}
    assert pids and waited(lambda: not any(alive(pid) for pid in pids)), "a worker outlived the import"
    assert len(list(tmp_path.glob("*.npz"))) >= 1


# -- before any reading ------------------------------------------------------------------------------------------


def test_too_few_patients_or_no_labels_fail_before_reading(tree: Path, tmp_path: Path, monkeypatch) -> None:
    saved = count_saved(monkeypatch)
    with pytest.raises(SourceError, match="too few patients"):
        run(tree / "p3", tmp_path / "s.h5", ImportConfig(workers=1, patient_pattern="(?P<patient>.+)"))
    for masks in list(tree.rglob("masks")):
        masks.rename(masks.with_name("unused"))
    (tree / "p3" / "s.labels.json").unlink()
    with pytest.raises(SourceError, match="no frame of any clip has a mask"):
        run(tree, tmp_path / "s.h5")
    assert saved == [] and not list(tmp_path.glob(".*"))


def test_a_dicom_files_patient_and_a_folders(tree: Path, tmp_path: Path, make_clip) -> None:
    write_dicom(tree / "p3" / "IM2", make_clip("x", "z").image, elements={"SOPInstanceUID": "1.2.3"})
    with pytest.raises(SourceError, match="only the former say whose they are"):
        run(tree, tmp_path / "s.h5")
    (tmp_path / "who.csv").write_text("path,patient\np3/IM2,eve\np3/s,eve\nscan/IM1,eve\n")
    run(tree, tmp_path / "t.h5", ImportConfig(workers=1, patients=tmp_path / "who.csv"))  # what it was told
    (tmp_path / "who.csv").write_text("path,patient\np3/s,eve\n")
    with pytest.raises(SourceError, match=r"bare\.npy in p3"):
        run(tree, tmp_path / "s.h5", ImportConfig(workers=1, patients=tmp_path / "who.csv"))
    (tmp_path / "who.csv").write_text("path,patient\np3,eve\nscan/IM1,eve\n")
    run(tree, tmp_path / "s.h5", ImportConfig(workers=1, patients=tmp_path / "who.csv"))
    artifact = Artifact.open(tmp_path / "s.h5")
    assert [str(who) for who in artifact.column("clips/patient")] == ["eve", "eve", "eve", "eve", "p1", "p2"]


def test_a_large_clip_among_small_ones_is_named(tree: Path, tmp_path: Path) -> None:
    assert not any("padded" in warning for warning in run(tree, tmp_path / "s.h5").warnings)
    np.save(tree / "p3" / "large.npy", np.ones((2, 200, 200), np.uint8))
    summary = run(tree, tmp_path / "t.h5")
    assert summary.frame_shape == (200, 200)
    assert any("'p3/large'" in warning and "padded" in warning for warning in summary.warnings)


@pytest.mark.parametrize(
    "settings", [{"polarity": "upside down"}, {"workers": 0}, {"workers": "many"}, {"wire_width": 0}]
)
def test_settings_that_are_none(settings: dict[str, Any]) -> None:
    with pytest.raises(SourceError) as caught:
        ImportConfig(**settings)
    assert caught.value.key == next(iter(settings))


@pytest.mark.skipif("SFVD_SHARED_DATA" not in os.environ, reason="real recordings, where they are at hand")
def test_real_recordings(tmp_path: Path) -> None:
    shared = Path(os.environ["SFVD_SHARED_DATA"])
    tree = tmp_path / "data"
    tree.mkdir()
    for patient in sorted((shared / "wires").iterdir()):
        (tree / patient.name).symlink_to(patient)
    (tree / "cine").symlink_to(shared / "cine_unlabelled")
    (tree / "phantom").symlink_to(shared / "xa_dicom")
    summary = run(tree, tmp_path / "s.h5", ImportConfig(workers=2))
    artifact = Artifact.open(tmp_path / "s.h5")
    names = [str(name) for name in artifact.column("clips/name")]
    assert summary.skipped == () and summary.clips == 24 + 2 + 3 and verify(tmp_path / "s.h5") == []
    for name in names:
        folder, row = tree / name, names.index(name)
        height, width = (int(artifact.column(f"clips/{side}")[row]) for side in ("height", "width"))
        for kind, key in (("images", "image"), ("masks", "wire_mask")):
            for k, path in enumerate(sorted((folder / kind).glob("*"))):
                written = artifact.clip_rows(f"frames/{key}", row)[k, :height, :width]
                original = np.asarray(Image.open(path).convert("L"))
                assert np.array_equal(written, original if key == "image" else original > 0), path


# -- parts -------------------------------------------------------------------------------------------------------


def test_a_part_is_the_clip(tmp_path: Path, make_clip) -> None:
    clip = make_clip(top=4000).inverted()
    save_part(tmp_path / "a.npz", clip)
    back = load_part(tmp_path / "a.npz")
    for key in ("image", "wire_mask", "annotated"):
        assert (
            np.array_equal(getattr(back, key), getattr(clip, key))
            and getattr(back, key).dtype == getattr(clip, key).dtype
        )
    for key in (
        "name",
        "patient",
        "fps",
        "intensity_max",
        "source_scale",
        "source_offset",
        "affine",
        "origin",
    ):
        assert getattr(back, key) == getattr(clip, key)
    assert np.isnan(back.spacing_mm)
    assert Part.open(tmp_path / "a.npz") == Part(tmp_path / "a.npz", (32, 40), 4000, True, "frames")
    assert Part.open(tmp_path / "absent.npz") is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_damaged_part_is_found_and_removed(tmp_path: Path, make_clip) -> None:
    save_part(tmp_path / "a.npz", make_clip())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[2000] ^= 1  # within the pictures
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(SourceError, match="run the same command again"):
        load_part(tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_a_key_knows_what_decides_a_part(tmp_path: Path) -> None:
    first, second = strange(tmp_path, "", "")
    key = part_key(first, {"a": 1})
    assert key == part_key(first, {"a": 1})
    assert len({key, part_key(second, {"a": 1}), part_key(first, {"a": 2})}) == 3
    first.file.write_text("more")
    assert part_key(first, {"a": 1}) != key
    first.file.unlink()
    with pytest.raises(SourceError, match="has gone"):
        part_key(first, {"a": 1})
