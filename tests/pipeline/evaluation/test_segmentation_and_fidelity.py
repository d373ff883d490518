"""Predictions of artifacts scored: which pixels, which frames, which seeds; label fidelity of sets of clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.datasets.sets import ArtifactClips, ClipSet, MeasuredClip, Subset
from sfvd_pl.errors import ArtifactError, ConfigError
from sfvd_pl.metrics.scores import score_frame
from sfvd_pl.metrics.visibility import wire_visibility
from sfvd_pl.pipeline.evaluation.arms import CLIPS_TABLE, FRAMES_TABLE, score_segmentations
from sfvd_pl.pipeline.evaluation.cache import Cache
from sfvd_pl.pipeline.evaluation.context import EvaluationContext, Inputs
from sfvd_pl.pipeline.evaluation.label_fidelity import measure_label_fidelity
from sfvd_pl.pipeline.evaluation.segmentation import measure_segmentation, scores_of
from sfvd_pl.sources import Clip, SplitConfig, write_source

SIZES = ((40, 48), (32, 36))
FRAMES = 5


def clip(number: int) -> Clip:
    """A wire that leaves its frame below, which ends there for the smaller clips only."""
    height, width = SIZES[number % 2]
    rng = np.random.default_rng(number)
    masks = np.zeros((FRAMES, height, width), np.uint8)
    for t in range(FRAMES):
        masks[t, 8:, 12 + number + t : 14 + number + t] = 1
    image = rng.normal(120, 10, masks.shape) - 25.0 * masks
    masks[1] = 0
    return Clip(
        name=f"p{number}/run",
        patient=f"p{number}",
        image=image.clip(0, 255).astype(np.uint8),
        wire_mask=masks,
        annotated=np.arange(FRAMES) != 1,
        fps=15.0,
        spacing_mm=0.25 if number % 2 else float("nan"),
        intensity_max=255,
        origin="npy",
        intensity="linear",
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two sizes, one spacing known and one not; two test patients."""
    path = tmp_path_factory.mktemp("mixed") / "source.h5"
    write_source(
        path,
        [clip(number) for number in range(6)],
        split=SplitConfig(val_fraction=0.2, test_fraction=0.4, labelled_fraction=1.0),
        seed=0,
        config={},
        progress=False,
    )
    return path


def write_predictions(path: Path, source: Path, *, arms: Sequence[str] = ("real", "mixed"), seed: int = 0) -> Path:
    """Masks of the first arm as they are, of the others with noise; below and right of the picture all wire."""
    whole = Artifact.open(source, Kind.SOURCE)
    rows, clips, start, length = [], [], [], []
    for row in np.flatnonzero(whole.column("clips/split") == "test"):
        first = int(whole.column("clips/start")[row])
        known = first + np.flatnonzero(whole.clip_rows("frames/annotated", int(row)))
        start.append(len(rows))
        length.append(len(known))
        clips.append(row)
        rows += known.tolist()
    masks = np.stack([whole.rows("frames/wire_mask", row, row + 1)[0] for row in rows]).astype(np.float16)
    for row, first, count in zip(clips, start, length, strict=True):
        height, width = (int(whole.column(f"clips/{key}")[row]) for key in ("height", "width"))
        masks[first : first + count, height:] = masks[first : first + count, :, width:] = 1
    noise = np.random.default_rng(seed).random(masks.shape) > 0.98
    predictions = [masks if arm == "real" else np.maximum(masks, noise) for arm in arms]
    origin = Provenance(seed=seed, config={}, parents={"source": whole.content_hash}, patients=("p0",))
    with ArtifactWriter(path, Kind.SEGMENTATION, origin) as writer:
        writer.write("arms/name", list(arms))
        writer.write("frames/probability", np.stack(predictions).astype(np.float16))
        writer.write("frames/source_frame", np.array(rows, np.int64))
        writer.write("clips/source_clip", np.array(clips, np.int64))
        writer.write("clips/name", [str(whole.column("clips/name")[row]) for row in clips])
        writer.write("clips/patient", [str(whole.column("clips/patient")[row]) for row in clips])
        writer.write("clips/start", np.array(start, np.int64))
        writer.write("clips/length", np.array(length, np.int64))
    return path


def test_only_the_picture_is_scored_in_its_own_pixels_and_mm(mixed: Path, tmp_path: Path) -> None:
    found = score_segmentations(
        [write_predictions(tmp_path / "s.h5", mixed)], Artifact.open(mixed, Kind.SOURCE), seeds=[4]
    )
    # What lies beyond a smaller picture is no false wire, and the wire leaves the picture at its own rim.
    assert (found.arms["real"][0]["dice"] == 1).all() and (found.arms["real"][0]["false_components"] == 0).all()
    assert (found.arms["mixed"][0]["dice"] < 1).all()
    assert found.frames.frame.tolist() == [0, 2, 3, 4] * len(found.frames.names)
    for row in range(len(found.frames)):
        number = int(found.frames.names[found.frames.clip[row]][1])
        made, frame = clip(number), int(found.frames.frame[row])
        np.testing.assert_allclose(found.frames.spacing_mm[row], made.spacing_mm)
        expected = wire_visibility(made.image[frame], made.wire_mask[frame])
        assert found.frames.visibility[row] == pytest.approx(expected)
        perfect = score_frame(made.wire_mask[frame], made.wire_mask[frame], spacing_mm=made.spacing_mm)
        np.testing.assert_allclose(found.arms["real"][0].values[row], list(perfect.values()))
    spacing = {round(float(value), 2) for value in found.frames.spacing_mm[np.isfinite(found.frames.spacing_mm)]}
    assert spacing <= {0.25}


def test_seeds_and_tables(mixed: Path, tmp_path: Path) -> None:
    paths = [write_predictions(tmp_path / f"s{seed}.h5", mixed, seed=seed) for seed in (0, 1)]
    found = score_segmentations(paths, Artifact.open(mixed, Kind.SOURCE), seeds=[0, 1])
    assert not np.array_equal(found.arms["mixed"][0].values, found.arms["mixed"][1].values)
    section = found.section()
    assert section["seeds"] == [0, 1] and section["n_frames"] == len(found.frames)
    tables = found.write_tables(tmp_path)
    assert [path.name for path in tables] == [FRAMES_TABLE, CLIPS_TABLE]
    assert len(tables[0].read_text().splitlines()) == 1 + 2 * 2 * len(found.frames)
    assert len(tables[1].read_text().splitlines()) == 1 + 2 * 2 * len(found.frames.names)


def test_seeds_of_other_arms_are_refused(mixed: Path, tmp_path: Path) -> None:
    paths = [write_predictions(tmp_path / "a.h5", mixed), write_predictions(tmp_path / "b.h5", mixed, arms=["real"])]
    source = Artifact.open(mixed, Kind.SOURCE)
    with pytest.raises(ArtifactError) as caught:
        score_segmentations(paths, source, seeds=[0, 1])
    assert caught.value.key == "arms/name" and caught.value.file == str(paths[1])
    for seeds in ([], [0]):
        with pytest.raises(ConfigError):
            score_segmentations(paths[: len(seeds) * 2], source, seeds=seeds)


def test_scores_are_kept_and_found_again(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = tuple(write_predictions(tmp_path / f"s{seed}.h5", mixed, seed=seed) for seed in (0, 1))
    inputs = Inputs(source=mixed, segmentation=paths, seeds=(0, 1), identities={"source": "a", "segmentation": "b"})
    context = EvaluationContext(inputs, cache=Cache(tmp_path / "cache", "code"))
    fresh = score_segmentations(paths, Artifact.open(mixed, Kind.SOURCE), seeds=(0, 1))
    first = scores_of(context)
    monkeypatch.delattr("sfvd_pl.pipeline.evaluation.segmentation.score_segmentations")
    kept = scores_of(context)
    for found in (first, kept):
        assert found.frames.names == fresh.frames.names and found.frames.patients == fresh.frames.patients
        for key in ("clip", "frame", "visibility", "spacing_mm"):
            np.testing.assert_array_equal(getattr(found.frames, key), getattr(fresh.frames, key))
        for arm, tables in fresh.arms.items():
            for one, other in zip(tables, found.arms[arm], strict=True):
                np.testing.assert_array_equal(one.values, other.values)
    assert str(measure_segmentation(context)) == str(fresh.section())


@dataclass(frozen=True)
class Finding(EvaluationContext):
    """An evaluator that finds the wire of some frames and nothing in others."""

    finds: tuple[bool, ...] = (True,) * FRAMES

    def predictions(self, clips: ClipSet, title: str) -> Iterator[tuple[MeasuredClip, np.ndarray]]:
        for seen in clips:
            yield seen, (seen.wire_mask * np.array(self.finds)[:, None, None]).astype(np.float32)


def test_label_fidelity_of_sets_with_all_controls(mixed: Path) -> None:
    clips = ArtifactClips(mixed)
    whole = Subset(clips, tuple(k for k, seen in enumerate(clips) if seen.image.shape[1:] == SIZES[0]))
    context = Finding(Inputs(synthetic=whole, reference=whole), finds=(True, True, False, True, True))
    section = measure_label_fidelity(context)
    rows = {row["name"]: row for row in section["rows"]}
    assert list(rows) == ["real", "synthetic", "shuffled", "blur", "noise", "wrong masks"]
    # Frame 1 has no label, frame 2 is missed.
    means = [entry["dice"]["mean"] for entry in rows["real"]["by_frame"]]
    assert means == pytest.approx([1, float("nan"), 0, 1, 1], nan_ok=True)
    assert rows["real"]["dice"]["mean"] == pytest.approx(0.75) and section["ratio"]["dice"] == 1.0
    assert rows["shuffled"]["dice"]["mean"] < 0.5 and rows["wrong masks"]["n"] == len(whole)
    assert [row["name"] for row in section["clips"]] == [clips[k].name for k in whole.numbers]
    assert rows["synthetic"]["n_groups"] == 3
    assert str(measure_label_fidelity(context)) == str(section)


def test_one_mask_for_all_leaves_no_control(mixed: Path) -> None:
    clips = Subset(ArtifactClips(mixed), (0,))
    section = measure_label_fidelity(Finding(Inputs(synthetic=clips, reference=clips)))
    assert "shuffled" not in [row["name"] for row in section["rows"]]
