"""What is found in a tree, under which name, and whose it is."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_dicom
from PIL import Image

from sfvd_pl.errors import SfvdError, SourceError
from sfvd_pl.sources import Patients, scan_source
from sfvd_pl.sources.patients import read_patients


def stack(path: Path, value: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full((2, 4, 6), value, np.uint8))
    return path


def pictures(run: Path, suffix: str = ".png") -> Path:
    (run / "images").mkdir(parents=True)
    for k in range(2):
        Image.fromarray(np.full((4, 6), k, np.uint8)).save(run / "images" / f"{k}{suffix}")
    return run


def names(root: Path, patients: Patients | None = None) -> list[str]:
    return [recording.name for recording in scan_source(root, patients=patients).recordings]


def test_a_mixed_tree_in_natural_order(tmp_path: Path) -> None:
    stack(tmp_path / "p10" / "b.npy")
    stack(tmp_path / "p2" / "day 1" / "run10.npy")
    stack(tmp_path / "p2" / "day 1" / "run9.npy")
    pictures(tmp_path / "p2" / "a.b")
    (tmp_path / "p2" / "notes.txt").write_text("nothing")
    (tmp_path / ".cache" / "p9").mkdir(parents=True)
    scan = scan_source(tmp_path)
    assert [r.name for r in scan.recordings] == ["p2/a.b", "p2/day 1/run9", "p2/day 1/run10", "p10/b"]
    assert [r.patient for r in scan.recordings] == ["p2", "p2", "p2", "p10"]
    assert [path.name for path in scan.ignored] == ["notes.txt"]
    assert [clip.name for clip in scan] == [r.name for r in scan.recordings]
    assert len(scan) == 4 and scan.frame_shape == (4, 6) and scan.intensity_max == 255


def test_a_link_into_itself_ends(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    (tmp_path / "p1" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "p2").symlink_to(stack(tmp_path.parent / f"{tmp_path.name}-beside" / "c.npy").parent)
    assert names(tmp_path) == ["p1/a", "p2/c"], "links are followed, but not in circles"


@pytest.mark.parametrize("kind", ["file", "run", "single file", "run alone"])
def test_a_recording_of_nobody_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "data"
    path = pictures(root / "r1") if "run" in kind else stack(root / "r1.npy")
    stack(root / "p1" / "a.npy")
    root = path if kind in ("single file", "run alone") else root
    with pytest.raises(SourceError, match="whose recording") as caught:
        scan_source(root)
    assert "--patients" in str(caught.value) and str(path) in str(caught.value)
    assert "r1/r1" in names(root, Patients(anyone=True)), "a prediction needn't know"


def test_a_list_says_whose_recordings_are(tmp_path: Path) -> None:
    stack(tmp_path / "data" / "one.npy")
    stack(tmp_path / "data" / "two.npy")
    stack(tmp_path / "data" / "day 1" / "a.npy")
    pictures(tmp_path / "data" / "day 1" / "b")
    pictures(tmp_path / "data" / "p3" / "c")
    path = tmp_path / "who.csv"
    path.write_text("path,patient\none.npy,ann\ntwo,bob\nday 1,ann\nday 1/b,bob\n")
    patients = Patients(read_patients(path))
    assert names(tmp_path / "data", patients) == ["ann/day 1/a", "ann/one", "bob/day 1/b", "bob/two", "p3/c"]
    assert {c.patient for c in scan_source(tmp_path / "data", patients=patients)} == {"ann", "bob", "p3"}


def test_a_list_that_names_what_is_not_there(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "one.npy")
    with pytest.raises(SourceError, match="tow"):
        names(tmp_path, Patients({"p1/tow": "x"}))


@pytest.mark.parametrize(
    "text",
    ["", "file,patient\na,b\n", "path,patient\na,\n", "path,patient\na,b/c\n", "path,patient\na,..\n",
     "path,patient\na,b\na,c\n"],
)  # fmt: skip
def test_bad_lists_of_patients(tmp_path: Path, text: str) -> None:
    path = tmp_path / "who.csv"
    path.write_text(text)
    if not text:
        assert read_patients(path) == {}
        return
    with pytest.raises(SourceError, match="line"):
        read_patients(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="CSV"):
        read_patients(path)


def test_a_pattern_says_whose_recordings_are(tmp_path: Path) -> None:
    stack(tmp_path / "p01_c1.npy")
    stack(tmp_path / "p01_c2.npy")
    stack(tmp_path / "p02_c1.npy")
    patients = Patients(pattern=r"(?P<patient>[^_/]+)_")
    assert names(tmp_path, patients) == ["p01/p01_c1", "p01/p01_c2", "p02/p02_c1"]
    stack(tmp_path / "stray.npy")
    with pytest.raises(SourceError, match="stray"):
        names(tmp_path, patients)


@pytest.mark.parametrize("pattern", ["(", "p[0-9]+"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(SourceError) as caught:
        Patients(pattern=pattern)
    assert caught.value.key == "patient_pattern"


def test_two_recordings_of_one_name(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    pictures(tmp_path / "p1" / "a")
    with pytest.raises(SourceError, match="one name"):
        scan_source(tmp_path)


def test_pictures_outside_a_run(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    run = tmp_path / "p1" / "r1"
    run.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(run / "0.png")
    with pytest.raises(SourceError, match="belong to no run"):
        scan_source(tmp_path)


def test_a_patient_without_anything_that_is_understood(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    (tmp_path / "p2").mkdir()
    (tmp_path / "p2" / "a.xyz").write_text("?")
    with pytest.raises(SourceError, match=r"1 x \.xyz"):
        scan_source(tmp_path)
    with pytest.raises(SourceError, match="isn't a recording"):
        scan_source(tmp_path / "p2" / "a.xyz")
    with pytest.raises(SourceError, match="no recordings"):
        scan_source(tmp_path / "p2")


def test_a_bad_recording_can_be_passed_over(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    (tmp_path / "p1" / "b.npy").write_bytes(b"no array")
    told: list[tuple[str, SfvdError]] = []
    scan = scan_source(tmp_path, problem=lambda name, error: told.append((name, error)))
    assert [r.name for r in scan.recordings] == ["p1/a"] and [name for name, _ in told] == ["p1/b"]
    with pytest.raises(SourceError, match="can't be read"):
        scan_source(tmp_path)


def test_what_holds_no_recordings_can_be_passed_over_too(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    stack(tmp_path / "loose.npy")
    (tmp_path / "p2").mkdir()
    (tmp_path / "p3" / "r1").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "p3" / "r1" / "0.png")
    told: list[tuple[str, str]] = []
    scan = scan_source(tmp_path, problem=lambda name, error: told.append((name, error.message)))
    assert [r.name for r in scan.recordings] == ["p1/a"]
    assert [name for name, _ in told] == ["p3/r1", "p2", "loose"]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy").rename(tmp_path / "p1" / os.fsdecode(b"\xff.npy"))
    with pytest.raises(SourceError, match="isn't text") as caught:
        scan_source(tmp_path)
    str(caught.value).encode()
    told: list[str] = []
    stack(tmp_path / "p1" / "b.npy")
    assert len(scan_source(tmp_path, problem=lambda name, _: told.append(name))) == 1
    "".join(told).encode()


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "p1" / "a.npy")
    stack(tmp_path / "p2" / "b.npy")
    real = Path.iterdir

    def guarded(self: Path) -> object:
        if self.name == "p1":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "iterdir", guarded)
    with pytest.raises(SourceError, match="Permission denied"):
        scan_source(tmp_path)


def test_a_list_with_some_of_a_dicom_patients_files(tmp_path: Path) -> None:
    for number in (1, 2):
        elements = {"SOPInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.3.{number}"}
        write_dicom(tmp_path / f"day{number}" / "IM1", np.full((2, 4, 6), number), elements=elements)
    with pytest.raises(SourceError, match=r"some DICOM files of a patient and not all[\s\S]*day2"):
        scan_source(tmp_path, patients=Patients({"day1": "P"}), salt="s")
    both = scan_source(tmp_path, patients=Patients({"day1": "P", "day2": "P"}), salt="s")
    assert {recording.patient for recording in both.recordings} == {"P"}


def test_pipes_are_not_waited_for_and_dead_links_are_named(tmp_path: Path) -> None:
    stack(tmp_path / "p1" / "a.npy")
    for name in ("pipe", "pipe.npy"):
        os.mkfifo(tmp_path / "p1" / name)
    scan = scan_source(tmp_path)
    assert len(scan) == 1 and [path.name for path in scan.ignored] == ["pipe", "pipe.npy"]
    (tmp_path / "p1" / "dead.npy").symlink_to("nowhere.npy")
    with pytest.raises(SourceError, match=r"dead\.npy"):
        scan_source(tmp_path)


def test_a_folder_that_may_be_listed_but_not_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack(tmp_path / "p1" / "a.npy")
    stack(tmp_path / "p2" / "a.npy")
    is_dir = Path.is_dir

    def shut(path: Path) -> bool:
        if path.parent.name == "p2":
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", shut)
    with pytest.raises(SourceError, match="it can't be read"):
        scan_source(tmp_path)
    told: list[str] = []
    scan = scan_source(tmp_path, problem=lambda name, error: told.append(name))
    assert told == ["p2"] and [recording.name for recording in scan.recordings] == ["p1/a"]


def test_a_run_within_a_run_is_not_passed_over(tmp_path: Path) -> None:
    run = pictures(tmp_path / "p1" / "r1")
    (run / ".old" / "images").mkdir(parents=True)
    assert len(scan_source(tmp_path)) == 1
    shutil.copytree(run / "images", run / "again" / "images")
    with pytest.raises(SourceError, match=r"a run within a run[\s\S]*again"):
        scan_source(tmp_path)
