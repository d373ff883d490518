"""What a measure may rely on: its named inputs, results that hold, clips in order from any number of processes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import FRAMES, WINDOW

from sfvd_pl.datasets.joined import Joined
from sfvd_pl.datasets.sets import MeasuredClip, WindowClips
from sfvd_pl.metrics.calibration import gate_section
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.segmentation import SegmentationModule
from sfvd_pl.pipeline.evaluation.cache import Cache
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs, NotMeasuredError
from sfvd_pl.pipeline.evaluation.parallel import over_clips
from sfvd_pl.pipeline.evaluation.run import measured
from sfvd_pl.pipeline.evaluation.sections import SectionMeasure
from sfvd_pl.pipeline.inference import predict_clips

GATE = gate_section(np.array([True, False]), ["", "x"], {"attenuation_cnr": 0.3})


def windows(source: Path, split: str = "test", **changes: Any) -> WindowClips:
    return WindowClips(source, split, window=WINDOW, frames=FRAMES, seed=0, **changes)


def total(offset: int, clip: MeasuredClip) -> int:
    return offset + int(clip.image.sum())


def context(folder: Path, identity: str = "one", code: str = "code") -> EvaluationContext:
    return EvaluationContext(Inputs(identities={"synthetic": identity}), cache=Cache(folder, code))


@pytest.fixture
def counted() -> tuple[SectionMeasure, list[int]]:
    calls: list[int] = []

    def measure(_: EvaluationContext) -> dict[str, Any]:
        calls.append(1)
        return dict(GATE)

    return SectionMeasure("gate", measure, ("synthetic",)), calls


def test_an_unchanged_section_comes_from_the_cache(
    counted: tuple[SectionMeasure, list[int]], tmp_path: Path
) -> None:
    section, calls = counted
    assert measured(section, context(tmp_path)) == (GATE, False)
    assert measured(section, context(tmp_path)) == (GATE, True)
    assert len(calls) == 1
    for changed in (context(tmp_path, identity="two"), context(tmp_path, code="other")):
        assert measured(section, changed) == (GATE, False)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.json"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"accepted": 1', '"accepted": 2'),
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "section": {}}),
    ],
    ids=["cut off", "changed", "a list", "another section"],
)
def test_a_harmed_result_is_measured_anew(
    counted: tuple[SectionMeasure, list[int]], tmp_path: Path, harm: Callable[[str], str]
) -> None:
    section, calls = counted
    measured(section, context(tmp_path))
    path = tmp_path / "gate.json"
    path.write_text(harm(path.read_text()))
    assert measured(section, context(tmp_path)) == (GATE, False)
    assert len(calls) == 2


def test_stored_arrays_are_made_once_and_replaced_when_something_changed(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> np.ndarray:
        made.append(1)
        return np.arange(3.0)

    for depends in (["a"], ["a"], ["b"]):
        assert np.array_equal(context(tmp_path).stored("some features", depends, make), np.arange(3.0))
    assert len(made) == 2 and len(list(tmp_path.glob("*.npy"))) == 1


def test_an_input_that_was_not_named_is_refused_and_one_that_is_missing_says_why(source: Path) -> None:
    given = Inputs(source=source, missing={"evaluator": "none was given"})
    narrow = EvaluationContext(given).restricted(["evaluator"])
    with pytest.raises(LookupError, match="doesn't name 'source'"):
        _ = narrow.source
    with pytest.raises(NotMeasuredError, match="none was given"):
        _ = narrow.evaluator


def test_clips_come_in_order_from_any_number_of_processes(source: Path) -> None:
    clips, function = windows(source), partial(total, 7)
    expected = [7 + int(clip.image.sum()) for clip in clips]
    assert list(over_clips(function, clips, processes=1)) == expected
    assert list(over_clips(function, clips, processes=2, worth=0.0)) == expected


def test_predictions_do_not_depend_on_the_batch(
    source: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, clips = load_for_inference(SegmentationModule, models["guide"]), windows(source)
    whole = [found for _, found in predict_clips(module, clips)]
    assert [found.shape for found in whole] == [clip.image.shape for clip in clips]
    for size in (1, 3):
        pixels = size * clips[0].image[0].size
        monkeypatch.setattr("sfvd_pl.pipeline.inference.BATCH_PIXELS", pixels)
        for (clip, found), same, one in zip(predict_clips(module, clips), whole, clips, strict=True):
            assert np.array_equal(clip.image, one.image)
            assert np.allclose(found, same, atol=1e-5)


def test_joined_sets_are_walked_one_after_the_other(source: Path) -> None:
    parts = (windows(source), windows(source, "train", windows_per_clip=1))
    joined = Joined(parts, title="both")
    assert len(joined) == sum(map(len, parts)) and joined.patients == parts[0].patients + parts[1].patients
    names = [clip.name for part in parts for clip in part]
    assert [clip.name for clip in joined] == names
    assert joined.identity != Joined(parts[::-1], title="both").identity
    with pytest.raises(IndexError):
        joined[len(joined)]
