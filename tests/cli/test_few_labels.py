"""Two labelled clips of one patient among unlabelled ones, and nobody to test on, through the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pictures import write_pictures
from toy import STAGES, patients_of, toy_clips, write_synthetic

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.metrics.schema import validate_metrics

Sfvd = Callable[..., Any]


class Few(NamedTuple):
    run: Path
    data: Path
    out: str
    arguments: list[object]


@pytest.fixture(scope="module")
def few(sfvd: Sfvd, tmp_path_factory: pytest.TempPathFactory) -> Few:
    """Both generators and the segmenters that augment needs, of ten clips of which two have masks."""
    root = tmp_path_factory.mktemp("few")
    for number, clip in enumerate(toy_clips()):
        write_pictures(root / "clips", clip, masks=number < 2, frames=len(clip))
    arguments: list[object] = ["--run", "few", "--root", root, "--preset", "toy", "--stages", STAGES, "--seed", 3]
    arguments += ["--data", root / "clips", "--test", "none"]
    done = sfvd("run", "stage1", "stage2", "guides", *arguments)
    assert done.status == 0, done.err
    return Few(root / "few", root / "clips", done.out, arguments)


def test_every_clip_trains_and_both_labels_are_used(few: Few) -> None:
    source = Artifact.open(few.run / "source.h5", Kind.SOURCE)
    assert set(source.column("clips/split")) == {"train"} and source.n_clips == 10
    names = [clip.name for clip in toy_clips()[:2]]
    assert [str(n) for n in source.column("clips/name")[source.column("clips/labelled")]] == names
    findings = json.loads((few.run / "check" / "findings.json").read_text())
    assert findings["counts"]["error"] == 0


def test_the_report_says_what_cannot_be_known(few: Few, sfvd: Sfvd) -> None:
    write_synthetic(few.run / "synthetic.h5", few.run / "source.h5")
    done = sfvd("run", "segment", *few.arguments)
    assert done.status == 0, done.err
    for arm in ("real", "synthetic", "pretrain"):
        assert (few.run / "segment" / arm / "model.ckpt").is_file()
    assert not (few.run / "segmentation.h5").exists()
    metrics = json.loads((few.run / "report" / "metrics.json").read_text())
    validate_metrics(metrics)
    left_out = metrics["not_measured"]
    for section in ("image", "video", "noise", "motion", "wire", "label_fidelity", "segmentation"):
        assert left_out[section].startswith("there are no test patients, so ") and "known" in left_out[section]
    assert metrics["gate"]["n"] == 6
    page = (few.run / "report" / "index.html").read_text()
    assert "It cannot be known: there are no test patients" in page and "segmentation-frames" not in page
    assert "segmentation: not measured, there are no test patients" in done.out
    assert "segment/real: nothing to do" in sfvd("run", "segment", *few.arguments).out


def _source(few: Few, sfvd: Sfvd, name: str, *arguments: object) -> Any:
    where = ["--run", name, *few.arguments[2:-4], "--data", few.data]
    return sfvd("run", "source", *where, *arguments)


def test_a_split_and_labels_from_files(few: Few, sfvd: Sfvd, tmp_path: Path) -> None:
    patients = sorted({clip.patient for clip in toy_clips()})
    parts = dict(zip(patients, ["train", "train", "val", "test", "test"], strict=True))
    split, names = tmp_path / "split.csv", tmp_path / "names.txt"
    split.write_text("patient,part\n" + "".join(f"{who},{part}\n" for who, part in parts.items()))
    names.write_text(f"{toy_clips()[1].name}\n\n")
    asked = ["--split", split, "--labelled", names]
    done = _source(few, sfvd, "split", *asked)
    assert done.status == 0, done.err
    path = few.run.parent / "split" / "source.h5"
    source = Artifact.open(path, Kind.SOURCE)
    for part in ("train", "val", "test"):
        assert patients_of(path, part) == {who for who in patients if parts[who] == part}
    assert [str(n) for n in source.column("clips/name")[source.column("clips/labelled")]] == [toy_clips()[1].name]
    assert done.out.count("no annotated clip in val and test") == 1
    assert "nothing to do" in _source(few, sfvd, "split", *asked).out
    names.write_text(f"{toy_clips()[0].name}\n")
    assert "starting" in _source(few, sfvd, "split", *asked).out


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("who,part\np,train\n", "patient,part"),
        ("patient,part\n", "no line"),
        ("patient,part\n{0},train\n{0},test\n", "line 3"),
        ("patient,part\n{0},learn\n", "train, val or test"),
        ("patient,part\n{0},train\nnobody,test\n", "unknown: nobody"),
        ("patient,part\n{0},train\n", "not listed: {1}"),
    ],
)
def test_a_split_that_does_not_fit(few: Few, sfvd: Sfvd, tmp_path: Path, lines: str, says: str) -> None:
    patients = sorted({clip.patient for clip in toy_clips()})
    split = tmp_path / "split.csv"
    split.write_text(lines.format(*patients))
    done = _source(few, sfvd, "refused", "--split", split)
    assert done.status == 1 and says.format(*patients) in done.err and done.err.count("sfvd: ") == 1


def test_labels_named_one_by_one(few: Few, sfvd: Sfvd) -> None:
    first, second = (clip.name for clip in toy_clips()[:2])
    done = _source(few, sfvd, "named", "--labelled", f"{first}, {second}", "--test", "none")
    assert done.status == 0 and "annotated clips: 2, labelled: 2" in done.out
    done = _source(few, sfvd, "refused", "--labelled", first.replace("/", "-"))
    assert done.status == 1 and "no such clip" in done.err and first in done.err
