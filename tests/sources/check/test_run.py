import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from faults import EDITS, checked, clean_clips, split_of, with_image, with_masks, write_clips
from sfvd_pl.errors import ConfigError, SourceError
from sfvd_pl.metrics.quality.check import Check, CheckConfig
from sfvd_pl.metrics.quality.facts import CopyFacts, Limits
from sfvd_pl.metrics.quality.findings import CODES, Finding
from sfvd_pl.sources import Clip, SplitConfig
from sfvd_pl.sources.check.copies import spanning
from sfvd_pl.sources.check.run import check_source, refuse

COPIES = ("copy-across-splits", "copy-across-patients", "copy-within-patient")


def of(check: Check, *codes: str) -> list[Finding]:
    return [finding for finding in check.findings if finding.code in codes]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """24 runs of 12 patients, each from an angle of its own."""
    clips = clean_clips(patients=12, runs=2, frames=6, side=72)
    return checked(tmp_path_factory.mktemp("clean") / "source.h5", clips, CheckConfig(window=64, frames=6))


def test_clean_clips_give_no_finding(clean: Check) -> None:
    assert [finding.line() for finding in clean.findings] == []
    assert clean.notes == ()
    assert clean.counts() == "nothing found"
    assert len(clean.clips) == 24 and sum(clip.frames for clip in clean.clips) == 144


def test_pixels_to_ignore_are_no_fault(clean: Check, tmp_path: Path) -> None:
    clips = clean_clips(patients=12, runs=2, frames=6, side=72)
    ignoring = [replace(clip, ignore=(1 - clip.wire_mask) * (clip.image < 90).astype(np.uint8)) for clip in clips]
    assert any(clip.ignore.any() for clip in ignoring)
    check = checked(tmp_path / "source.h5", ignoring, CheckConfig(window=64, frames=6))
    assert check.findings == clean.findings


def test_facts_are_those_of_the_clips(clean: Check) -> None:
    for facts, clip in zip(clean.clips, clean_clips(patients=12, runs=2, frames=6, side=72), strict=True):
        assert (facts.name, facts.patient, facts.frames) == (clip.name, clip.patient, len(clip))
        assert facts.exposure.mean == pytest.approx(clip.image.mean() / 255)
        assert facts.exposure.std == pytest.approx(clip.image.std() / 255)
        assert facts.exposure.levels == len(np.unique(clip.image))
        assert [m.pixels for m in facts.masks] == clip.wire_mask.sum(axis=(1, 2)).tolist()
        assert facts.placement is not None and facts.placement.offset_px == (0, 0)
        assert facts.visibility > 0.5


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Check, dict[str, str]]:
    """Eight runs, and under other patients' names a copy of one of them for each edit; and the splits."""
    clips, path = list(clean_clips()), tmp_path_factory.mktemp("copied") / "source.h5"
    for k, change in enumerate(EDITS.values()):
        original = clips[k % 8]
        copy = replace(original, patient=f"q{k:02d}", name=f"q{k:02d}/a")
        clips.append(with_image(copy, change(original.image.astype(float))))
    return checked(path, clips), split_of(path)


@pytest.mark.parametrize("edit", EDITS)
def test_a_copy_under_another_patient_is_found(edit: str, copied: tuple[Check, dict[str, str]]) -> None:
    check, splits = copied
    k = list(EDITS).index(edit)
    original = check.clips[k % 8].name
    pairs = {(pair.first, pair.second): pair for pair in check.copies}
    pair = pairs[k % 8, 8 + k]
    offset = {"a few frames": 2, "one frame": 4}.get(edit, 0)
    assert all(a - b == offset for a, b in pair.frames)
    assert len(pair.frames) >= 0.75 * check.clips[8 + k].frames
    # Two copies of one run are a group: two findings for its three clips, the gravest of the three pairs.
    group = [check.clips[i].name for i in range(len(check.clips)) if i % 8 == k % 8]
    found = [f for f in of(check, *COPIES) if original in (f.clip, f.other) or f"q{k:02d}/a" in (f.clip, f.other)]
    assert len(found) >= 1 and all(f.clip in group and f.other in group for f in found)
    for finding in found:
        across = splits[finding.clip] != splits[finding.other]
        assert finding.code == ("copy-across-splits" if across else "copy-across-patients")
        assert finding.severity == ("error" if across else "warning")


def test_nothing_but_copies_is_taken_for_one(copied: tuple[Check, dict[str, str]]) -> None:
    check, _ = copied
    assert all(pair.first % 8 == pair.second % 8 for pair in check.copies)
    assert len(of(check, *COPIES)) == len(EDITS), "each copy is joined to its group once"


@pytest.mark.parametrize("same_split", [True, False])
def test_a_copy_is_an_error_only_across_splits(same_split: bool, tmp_path: Path) -> None:
    clips = list(clean_clips())
    splits = split_of(write_clips(tmp_path / "plain.h5", clips))
    train = [k for k, clip in enumerate(clips) if splits[clip.name] == "train"]
    test = [k for k, clip in enumerate(clips) if splits[clip.name] == "test"]
    one, two = train[0], train[1] if same_split else test[0]
    clips[two] = with_image(clips[two], clips[one].image, clips[one].wire_mask)
    (finding,) = of(checked(tmp_path / "source.h5", clips), *COPIES)
    assert finding.severity == ("warning" if same_split else "error")
    assert finding.code == ("copy-across-patients" if same_split else "copy-across-splits")
    assert "identical pixels" in finding.measured


def test_a_copy_within_a_patient_with_another_wire_is_a_warning(tmp_path: Path) -> None:
    """One run used twice, with a different wire drawn into it."""
    clips = list(clean_clips(patients=12, runs=2, frames=6, side=72))
    image = clips[0].image.astype(float)
    drawn = with_masks(clips[1], clips[1].wire_mask)
    clips[1] = with_image(drawn, image - 40 * ndimage.gaussian_filter(drawn.wire_mask.astype(float), (0, 0.6, 0.6)))
    (finding,) = of(checked(tmp_path / "source.h5", clips), *COPIES)
    assert (finding.code, finding.severity) == ("copy-within-patient", "warning")


def test_copied_frames_among_others_are_named(tmp_path: Path) -> None:
    clips = list(clean_clips())
    image = clips[6].image.copy()
    image[4:7] = clips[1].image[2:5]
    clips[6] = with_image(clips[6], image)
    (finding,) = of(checked(tmp_path / "source.h5", clips), *COPIES)
    assert (finding.frames, finding.other_frames) == ((2, 3, 4), (4, 5, 6))


def test_a_group_of_copies_gives_as_many_findings_as_there_are_copies() -> None:
    pairs = [CopyFacts(i, j, ((0, 0),), True) for i in range(4) for j in range(i + 1, 4)]
    ranks = [0 if 3 in (pair.first, pair.second) else 2 for pair in pairs]
    kept = spanning(pairs, ranks)
    assert len(kept) == 3
    assert Counter(3 in (pair.first, pair.second) for pair in kept) == {True: 3}, "the gravest pairs are kept"


# -- faults of single clips: what is planted, where, and what must be said of it --------------------------------


def _beside(clip: Clip) -> Clip:
    return with_masks(clip, np.roll(clip.wire_mask, (4, -3), axis=(1, 2)))


def _late(clip: Clip) -> Clip:
    """A wire that moves two pixels a frame, with the mask of the frame before."""
    base = clip.image.astype(float).mean(axis=(1, 2), keepdims=True) + np.random.default_rng(2).normal(
        0, 6, clip.image.shape
    )
    mask = np.zeros_like(clip.wire_mask)
    for t in range(len(mask)):
        mask[t, 10:70, 20 + 2 * t] = 1
    return with_image(clip, base - 40 * ndimage.gaussian_filter(mask.astype(float), (0, 0.7, 0.7)), np.roll(mask, 1, 0))


def _frozen(clip: Clip) -> Clip:
    image = clip.image.copy()
    image[3:6] = image[2]
    return with_image(clip, image)


def _nearly_frozen(clip: Clip) -> Clip:
    """As a codec skips a block: the same picture but for single grey values."""
    image = clip.image.copy()
    for t in (3, 4, 5):
        image[t] = image[2]
        image[t, t::9, ::7] += 1
    return with_image(clip, image)


def _bordered(clip: Clip) -> Clip:
    image, mask = clip.image.copy(), clip.wire_mask.copy()
    image[:, :8], mask[:, :8] = 0, 0
    return with_image(clip, image, mask)


def _gap(clip: Clip) -> Clip:
    mask = clip.wire_mask.copy()
    mask[3] = 0
    return replace(clip, wire_mask=mask)


def _speck(clip: Clip) -> Clip:
    mask = clip.wire_mask.copy()
    mask[2] = 0
    mask[2, 40, 40:42] = 1
    return with_masks(clip, mask)


def _pieces(clip: Clip) -> Clip:
    mask = np.zeros_like(clip.wire_mask)
    mask[:, 8:72:12, 8:72:12] = 1
    return with_masks(clip, mask)


def _thick(clip: Clip) -> Clip:
    mask = np.zeros_like(clip.wire_mask)
    mask[:, 36:45, 20:60] = 1
    return with_masks(clip, mask)


FAULTS: list[tuple[str, str, Callable[[Clip], Clip], str]] = [
    ("mask-beside", "error", _beside, "4 px higher and 3 px further right"),
    ("mask-late", "error", _late, "frame t-1"),
    ("wire-bright", "error", lambda clip: clip.inverted(), "CNR -"),
    ("wire-unseen", "warning", lambda c: with_image(c, noisy_ground(c), c.wire_mask), "under the masks"),
    ("frozen-frames", "warning", _frozen, "3 of 7, 3 of them identical"),
    ("frozen-frames", "warning", _nearly_frozen, "3 of 7, 0 of them identical"),
    ("frozen-clip", "error", lambda c: with_image(c, np.repeat(c.image[:1], len(c), 0), c.wire_mask), "7 of 7"),
    ("mask-thick", "warning", _thick, "9 px wide"),
    ("mask-area", "error", lambda clip: with_masks(clip, 1 - clip.wire_mask), "of the frame"),
    ("mask-pieces", "warning", _pieces, "36 pieces"),
    ("mask-tiny", "warning", _speck, "2 px"),
    ("mask-gap", "warning", _gap, "1 empty between"),
    ("clipped", "warning", lambda clip: with_image(clip, clip.image * 2.2), "at full scale"),
    ("constant-border", "warning", _bordered, "8, 0, 0, 0 px"),
    ("few-levels", "warning", lambda clip: with_image(clip, clip.image // 16 * 16.0), "different values"),
    ("exposure-outlier", "warning", lambda clip: with_image(clip, clip.image * 0.3), "mean 0.1"),
    ("noise-outlier", "warning", lambda c: with_image(c, ndimage.gaussian_filter(c.image * 1.0, 1.5)), "noise 0."),
    ("mixed-spacing", "warning", lambda clip: replace(clip, spacing_mm=0.5), "0.5 mm: 1 clips"),
    ("mixed-rate", "warning", lambda clip: replace(clip, fps=float("nan")), "unknown: 1 clips"),
]


def noisy_ground(clip: Clip) -> np.ndarray:
    return np.random.default_rng(3).normal(110, 8, clip.image.shape)


GROUP = 5
"""Faults in one source of twelve clips."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[Check]:
    """A few faults a source, each in a clip of its own."""
    checks = []
    for first in range(0, len(FAULTS), GROUP):
        clips = list(clean_clips(patients=12))
        for k, fault in enumerate(FAULTS[first : first + GROUP]):
            clips[k] = fault[2](clips[k])
        checks.append(checked(tmp_path_factory.mktemp("planted") / "source.h5", clips))
    return checks


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_found_and_named(number: int, planted: list[Check]) -> None:
    code, severity, _, said = FAULTS[number]
    check, clip = planted[number // GROUP], clean_clips(patients=12)[number % GROUP].name
    (finding,) = [f for f in of(check, code) if f.clip == clip]
    assert finding.severity == severity
    assert said in finding.measured
    assert finding.limit and finding.remedy and np.isfinite(finding.value)


def test_nobody_else_is_accused(planted: list[Check]) -> None:
    for group, check in enumerate(planted):
        faults = FAULTS[GROUP * group : GROUP * (group + 1)]
        accused = {f.clip for f in check.findings if f.code not in ("few-labels", "no-labels")}
        assert accused == {clip.name for clip in clean_clips(patients=12)[: len(faults)]}
        for code in set(CODES) - {"few-labels", "no-labels"}:
            extra = len(of(check, code)) - sum(fault[0] == code for fault in faults)
            assert extra == 0 or code in SIDE_EFFECTS, (code, [f.line() for f in of(check, code)])


SIDE_EFFECTS = {"wire-unseen", "noise-outlier", "few-levels", "clipped", "mask-beside", "exposure-outlier"}
"""What a coarse fault brings along: a picture of a few values has no noise, one that is dark has few levels."""


def test_frames_of_a_finding_are_those_concerned(tmp_path: Path) -> None:
    clips = list(clean_clips())
    for k, plant in ((2, _frozen), (3, _gap), (4, _speck)):
        clips[k] = plant(clips[k])
    check = checked(tmp_path / "source.h5", clips)
    frames = {finding.code: finding.frames for finding in check.findings}
    assert frames == {"frozen-frames": (3, 4, 5), "mask-gap": (3,), "mask-tiny": (2,)}
    assert check.notes == ("1 annotated frame holds no wire: an empty mask",)


def test_a_thick_mask_becomes_an_error_when_it_can_be_no_wire(tmp_path: Path) -> None:
    clips = list(clean_clips())
    mask = np.zeros_like(clips[2].wire_mask)
    mask[:, 20:34, 10:50] = 1
    clips[2] = with_masks(clips[2], mask)
    check = checked(tmp_path / "source.h5", clips, CheckConfig(limits=Limits(area_share=0.5)))
    (finding,) = of(check, "mask-thick")
    assert finding.severity == "error" and finding.value > 12


def test_short_clips_and_small_frames_are_held_against_what_training_needs(tmp_path: Path) -> None:
    check = checked(tmp_path / "source.h5", clean_clips(), CheckConfig(window=128, frames=9))
    assert Counter(f.code for f in check.findings) == {"short-clip": 8, "small-frame": 8}
    assert "8 frames" in of(check, "short-clip")[0].measured


def test_only_training_needs_labels(tmp_path: Path) -> None:
    """Without labels of others nothing can be measured; that is no reason not to train."""
    patients = sorted({clip.patient for clip in clean_clips()})
    bare = [
        clip if clip.patient == patients[0] else with_image(clip, clip.image, clip.wire_mask * 0)
        for clip in clean_clips()
    ]
    parts = dict.fromkeys(patients, "train") | {patients[1]: "val", patients[2]: "test"}
    found = of(check_source(write_clips(tmp_path / "a.h5", bare, split=SplitConfig(parts=parts))), "no-labels")
    assert {(f.measured, f.severity) for f in found} == {
        (f"{part}: no labelled frame", "warning") for part in ("val", "test")
    }
    everybody = check_source(write_clips(tmp_path / "b.h5", clean_clips(), split=SplitConfig(0.0, 0.0)))
    assert not of(everybody, "no-labels", "few-labels")


def test_splits_with_few_labels_or_none(tmp_path: Path) -> None:
    splits = split_of(write_clips(tmp_path / "plain.h5", clean_clips()))
    clips = [
        clip if splits[clip.name] == "train" else with_image(clip, clip.image, clip.wire_mask * 0)
        for clip in clean_clips()
    ]
    # The split prefers patients with labels for validation and test; keep it as it was.
    kept = next(k for k, clip in enumerate(clean_clips()) if splits[clip.name] == "val")
    clips[kept] = clean_clips()[kept]
    check = checked(tmp_path / "source.h5", clips)
    by_split = {row.name: row.labelled for row in check.splits()}
    for split, labelled in by_split.items():
        found = [f.code for f in of(check, "few-labels", "no-labels") if f.measured.startswith(f"{split}:")]
        assert found == (["no-labels"] if labelled == 0 else ["few-labels"] if labelled < 2 else [])
    assert any("whether their wire is dark can't be told" in note for note in check.notes)


def test_nothing_known_of_spacing_and_rate_is_a_note(tmp_path: Path) -> None:
    clips = [replace(clip, fps=float("nan"), spacing_mm=float("nan")) for clip in clean_clips()]
    check = checked(tmp_path / "source.h5", clips)
    assert check.findings == ()
    assert check.notes == ("pixel spacing is unknown for every clip", "frame rate is unknown for every clip")


def test_padding_is_not_measured(tmp_path: Path) -> None:
    """A smaller clip's padding repeats its edge: no border, no change of its mean."""
    clips = list(clean_clips())
    clips[2] = replace(
        clips[2], image=clips[2].image[:, :72, :64], wire_mask=clips[2].wire_mask[:, :72, :64], intensity_max=255
    )
    check = checked(tmp_path / "source.h5", clips)
    assert check.clips[2].exposure.mean == pytest.approx(clips[2].image.mean() / 255)
    assert (check.clips[2].height, check.clips[2].width) == (72, 64)
    assert check.clips[2].exposure.border_share == 0


def test_sixteen_bits_give_the_same_findings_as_eight(tmp_path: Path) -> None:
    clips = list(clean_clips())
    clips[2] = _beside(clips[2])
    clips[6] = with_image(clips[6], EDITS["mirrored"](clips[1].image.astype(float)))
    deep = [clip.rescaled(4095) for clip in clips]
    shallow = checked(tmp_path / "8.h5", clips)
    check = checked(tmp_path / "16.h5", deep)
    assert [(f.code, f.clip, f.other) for f in check.findings] == [(f.code, f.clip, f.other) for f in shallow.findings]
    assert len(check.findings) >= 2


def test_a_long_clip_is_measured_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = list(clean_clips(patients=4, frames=24, side=48))
    image = clips[1].image.copy()
    image[8] = image[7]  # across the border of two blocks
    clips[1] = with_image(clips[1], image)
    whole = checked(tmp_path / "source.h5", clips)
    monkeypatch.setattr("sfvd_pl.sources.check.run.BLOCK_PIXELS", 1)
    blocks = check_source(tmp_path / "source.h5")
    assert [f.line() for f in blocks.findings] == [f.line() for f in whole.findings]
    assert of(blocks, "frozen-frames")[0].frames == (8,)
    for one, two in zip(blocks.clips, whole.clips, strict=True):
        assert one.exposure == two.exposure and one.masks == two.masks
    # A smooth edge of the blocks may not be seen in the copies either.
    assert blocks.copies == whole.copies


# -- accepting, refusing, JSON ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clips = list(clean_clips())
    clips[2], clips[3] = _beside(clips[2]), clips[3].inverted()
    return write_clips(tmp_path_factory.mktemp("faulty") / "source.h5", clips)


def test_an_error_is_refused_until_it_is_accepted(faulty: Path) -> None:
    names = {f.code: f.clip for f in check_source(faulty).findings}
    assert set(names) == {"mask-beside", "wire-bright"}
    with pytest.raises(SourceError, match=r"(?s)mask-beside in .*index\.html.*knowingly") as refused:
        refuse(check_source(faulty), Path("x/index.html"), "--accept CODE")
    assert refused.value.key == "mask-beside, wire-bright"
    one = check_source(faulty, CheckConfig(accept=("mask-beside",)))
    assert [f.severity for f in one.findings] == ["error", "accepted"]
    with pytest.raises(SourceError, match="wire-bright"):
        refuse(one, Path("x"), "")
    both = check_source(faulty, CheckConfig(accept=("mask-beside", f"wire-bright:{names['wire-bright']}")))
    refuse(both, Path("x"), "")
    assert both.counts() == "2 accepted errors"
    other = check_source(faulty, CheckConfig(accept=("mask-beside", "wire-bright:p99/r01")))
    assert [f.code for f in other.of("error")] == ["wire-bright"]


def test_a_code_that_does_not_exist_is_refused_before_the_work(faulty: Path) -> None:
    with pytest.raises(ConfigError, match="no such finding to accept"):
        check_source(faulty, CheckConfig(accept=("mask-besides",)))


def test_json_says_everything(faulty: Path) -> None:
    check = check_source(faulty)
    data = json.loads(json.dumps(check.as_json(), allow_nan=False))
    assert data["counts"] == {"error": 2, "accepted": 0, "warning": 0}
    assert data["source"]["content_hash"] == check.content_hash
    (first, _) = data["findings"]
    assert first["code"] == "mask-beside" and first["frames"] == list(range(8)) and first["remedy"]
    assert first["title"] == CODES["mask-beside"].title
    assert data["clips"][2]["placement"]["offset_px"] != [0, 0]
    assert sum(row["clips"] for row in data["patients"]) == sum(row["clips"] for row in data["splits"]) == 8


def test_accepting_some_of_a_group_of_copies_does_not_hide_the_leak_between_the_others(tmp_path: Path) -> None:
    """Four clips of one recording in two splits, two of them accepted by name: the other two leak."""
    clips = list(clean_clips(patients=12, runs=1, frames=6, side=72))
    part = split_of(write_clips(tmp_path / "whole.h5", clips))
    by_part = [[c for c in clips if part[c.name] == split][:2] for split in ("train", "test")]
    chosen = [runs[k] for k in (0, 1) for runs in by_part]
    picture = chosen[0].image
    copied = [with_image(c, picture) if any(c is each for each in chosen) else c for c in clips]
    source = write_clips(tmp_path / "copied.h5", copied)
    known = tuple(f"copy-across-splits:{c.name}" for c in chosen[:2])
    found = [f for f in check_source(source, CheckConfig(accept=known)).findings if f.code == "copy-across-splits"]
    errors = [f for f in found if f.severity == "error"]
    assert [{f.clip, f.other} for f in errors] == [{c.name for c in chosen[2:]}]
