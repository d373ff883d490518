from pathlib import Path

import numpy as np
import pytest
import torch
from toy import WINDOW, patients_of, write_synthetic

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.segmentation import (
    AnnotatedFrames,
    ArtifactFrames,
    MixConfig,
    SegmentationDataset,
    SyntheticFrames,
)
from sfvd_pl.errors import ConfigError, LeakError


@pytest.fixture(scope="module")
def synthetic(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six synthetic clips of constant frames, 0.25 where accepted and 0.75 where not."""
    return write_synthetic(tmp_path_factory.mktemp("made") / "synthetic.h5", source)


def _dataset(
    source: Path, arm: str, synthetic: Path | None = None, labels: str = "labelled", **mix: float
) -> SegmentationDataset:
    return SegmentationDataset(
        source,
        seed=4,
        window=WINDOW,
        labels=labels,
        mix=MixConfig(arm=arm, **mix),  # type: ignore[arg-type]
        synthetic=synthetic,
        total_samples=100,
        unseen=tuple(patients_of(source, "val") | patients_of(source, "test")),
    )


def _is_synthetic(dataset: SegmentationDataset, sample_id: int) -> bool:
    image = dataset[sample_id].image
    flat = bool((image == image[0, 0, 0, 0]).all())
    if flat:
        assert image[0, 0, 0, 0].item() == pytest.approx(64 / 255)  # never a rejected clip
    return flat


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_share_of_synthetic_samples_in_the_mixed_arm(source: Path, synthetic: Path, share: float) -> None:
    dataset = _dataset(source, "synthetic", synthetic, synthetic_share=share)
    drawn = [_is_synthetic(dataset, i) for i in range(300)]
    assert np.mean(drawn) == pytest.approx(share, abs=0.08)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_pretraining_switches_at_its_share_of_the_samples(source: Path, synthetic: Path, share: float) -> None:
    dataset = _dataset(source, "pretrain", synthetic, pretrain_share=share)
    switch = round(100 * share)
    assert [_is_synthetic(dataset, i) for i in range(100)] == [i < switch for i in range(100)]


def test_real_arms_never_draw_synthetic_samples(source: Path, synthetic: Path) -> None:
    for arm in ("real", "classical"):
        dataset = _dataset(source, arm, synthetic)
        assert not any(_is_synthetic(dataset, i) for i in range(30))


def test_real_draws_are_the_same_windows_in_every_arm(
    source: Path, synthetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, mixed = _dataset(source, "real"), _dataset(source, "synthetic", synthetic)
    classical = _dataset(source, "classical")
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def spy(composition: object, seed: int, image: np.ndarray, wire_mask: np.ndarray) -> tuple[np.ndarray, ...]:
        seen.append((image, wire_mask))
        return image, wire_mask

    monkeypatch.setattr("sfvd_pl.datasets.segmentation.apply_classical", spy)
    compared = 0
    for sample_id in range(20):
        expected = real[sample_id]
        assert expected.row.tolist() == [sample_id]
        classical[sample_id]
        assert np.array_equal(seen[-1][0], expected.image[0, 0].numpy())
        assert np.array_equal(seen[-1][1], expected.wire_mask[0, 0].numpy())
        if not _is_synthetic(mixed, sample_id):
            compared += 1
            assert torch.equal(mixed[sample_id].image, expected.image)
            assert torch.equal(mixed[sample_id].wire_mask, expected.wire_mask)
    assert compared > 3


def test_windows_are_true_to_their_mask(source: Path) -> None:
    """The wire is dark: under the mask of a real window the signal lies below its surroundings."""
    dataset = _dataset(source, "real")
    darker = 0
    for sample_id in range(20):
        batch = dataset[sample_id]
        wire = batch.wire_mask > 0
        if wire.any():
            near = torch.nn.functional.max_pool2d(batch.wire_mask, 9, 1, 4) > 0
            darker += int(batch.image[wire].mean() < batch.image[near & ~wire].mean())
        else:
            darker += 1
    assert darker >= 18


def test_labels_decide_which_clips_are_read(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    clip_of_row = np.repeat(np.arange(artifact.n_clips), artifact.column("clips/length"))
    labelled, split = artifact.column("clips/labelled"), artifact.column("clips/split")
    train = split == "train"
    few = {int(c) for c in clip_of_row[_dataset(source, "real").rows]}
    assert few == {int(c) for c in np.flatnonzero(train & labelled)}
    more = {int(c) for c in clip_of_row[_dataset(source, "real", labels="annotated").rows]}
    assert more == {int(c) for c in np.flatnonzero(train)}
    assert few < more


def test_samples_depend_on_the_id_alone(source: Path, synthetic: Path) -> None:
    first, again = (_dataset(source, "classical") for _ in range(2))
    again[3], again[11]
    assert torch.equal(first[7].image, again[7].image)
    assert not torch.equal(first[7].image, first[8].image)


@pytest.mark.parametrize("arm", ["synthetic", "pretrain"])
def test_arms_that_need_synthetic_clips_say_so(source: Path, arm: str) -> None:
    with pytest.raises(ConfigError, match="this arm needs synthetic clips"):
        _dataset(source, arm)


@pytest.mark.parametrize("of", ["val", "test"])
def test_synthetic_clips_that_saw_an_unseen_patient_are_refused(source: Path, tmp_path: Path, of: str) -> None:
    leaked = sorted(patients_of(source, of))[0]
    trained_on = [*sorted(patients_of(source, "train")), leaked]
    made = write_synthetic(tmp_path / "leak.h5", source, patients=trained_on)
    with pytest.raises(LeakError, match=leaked):
        _dataset(source, "synthetic", made)


def test_a_gate_that_accepted_nothing_is_refused(source: Path, tmp_path: Path) -> None:
    made = write_synthetic(tmp_path / "none.h5", source, accepted=[False] * 6)
    with pytest.raises(ConfigError, match="0 of 6"):
        _dataset(source, "pretrain", made)


def test_only_accepted_clips_are_used(synthetic: Path) -> None:
    frames = SyntheticFrames(synthetic, ())
    accepted = Artifact.open(synthetic, Kind.SYNTHETIC).column("clips/accepted")
    assert frames.rows.tolist() == [4 * clip + t for clip in np.flatnonzero(accepted) for t in range(4)]
    image, wire_mask = frames.frame(int(frames.rows[0]))
    assert image.max() == pytest.approx(64 / 255)
    assert wire_mask.any()


@pytest.mark.parametrize("key", ["synthetic_share", "pretrain_share"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 1.5])
def test_shares_lie_strictly_between_0_and_1(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        MixConfig(**{key: value})  # type: ignore[arg-type]


def test_annotated_frames_are_whole_and_of_their_split(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    for split in ("val", "test"):
        frames = AnnotatedFrames(source, split)
        rows = np.flatnonzero(np.repeat(artifact.column("clips/split") == split, 6))
        assert frames.rows.tolist() == rows.tolist()
        batch = frames[3]
        assert batch.row.tolist() == [rows[3]]
        pixels = artifact.rows("frames/image", int(rows[3]), int(rows[3]) + 1)[0]
        assert np.allclose(batch.image[0, 0].numpy(), pixels / 255.0)
        mask = artifact.rows("frames/wire_mask", int(rows[3]), int(rows[3]) + 1)[0]
        assert np.array_equal(batch.wire_mask[0, 0].numpy(), mask)


def test_a_limit_spreads_the_frames_over_the_split(source: Path) -> None:
    frames = AnnotatedFrames(source, "test", limit=4)
    everything = AnnotatedFrames(source, "test").rows
    assert len(frames) == 4
    assert frames.rows[0] == everything[0]
    assert frames.rows[-1] == everything[-1]
    assert len(AnnotatedFrames(source, "test", limit=99)) == len(everything)


def test_artifact_frames_are_all_frames_in_order(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    frames = ArtifactFrames(artifact)
    assert len(frames) == artifact.n_frames == 60
    batch = frames[17]
    assert batch.row.tolist() == [17]
    assert np.allclose(batch.image[0, 0].numpy(), artifact.rows("frames/image", 17, 18)[0] / 255.0)
