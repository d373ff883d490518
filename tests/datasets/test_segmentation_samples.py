from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from generation import write_toy_scenes
from toy import WINDOW, patients_of, rewritten, write_synthetic
from training import segmentation_data

from sfvd_pl.artifacts import Artifact, ArtifactWriter, Kind, Provenance
from sfvd_pl.datasets.segmentation import AnnotatedFrames, Frames, MadeFrames, MixConfig, SegmentationDataset
from sfvd_pl.datasets.suspicion import Suspicion, suspected
from sfvd_pl.errors import ArtifactError, ConfigError, LeakError


@pytest.fixture(scope="module")
def synthetic(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six synthetic clips of constant frames."""
    return write_synthetic(tmp_path_factory.mktemp("made") / "synthetic.h5", source)


@pytest.fixture(scope="module")
def suspects(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A guide that sees one wire in each training frame: probability 0.9 in row 5, 0.3 in row 6."""
    return write_suspects(tmp_path_factory.mktemp("suspects") / "suspects.h5", source)


def write_suspects(path: Path, source: Path, patients: set[str] | None = None, parent: str | None = None) -> Path:
    artifact = Artifact.open(source, Kind.SOURCE)
    clips = np.flatnonzero(artifact.column("clips/split") == "train")
    length = artifact.column("clips/length")
    rows = np.flatnonzero(np.isin(np.repeat(np.arange(artifact.n_clips), length), clips))
    probability = np.zeros((1, len(rows), *artifact.frame_shape), np.float16)
    probability[:, :, 5], probability[:, :, 6] = 0.9, 0.3
    columns: dict[str, Any] = {
        "arms/name": ["guide"],
        "frames/probability": probability,
        "frames/source_frame": rows,
        "clips/source_clip": clips,
        "clips/name": [str(artifact.column("clips/name")[c]) for c in clips],
        "clips/patient": [str(artifact.column("clips/patient")[c]) for c in clips],
        "clips/start": np.cumsum(length[clips]) - length[clips],
        "clips/length": length[clips],
    }
    known = tuple(sorted(patients or patients_of(source, "train")))
    origin = Provenance(seed=0, config={}, parents={"source": parent or artifact.content_hash}, patients=known)
    with ArtifactWriter(path, Kind.SEGMENTATION, origin) as writer:
        for key, values in columns.items():
            writer.write(key, values)
    return path


def _dataset(
    source: Path,
    arm: str,
    synthetic: Path | None = None,
    labels: str = "labelled",
    window: int = WINDOW,
    total_samples: int = 100,
    frames: int = 1,
    suspects: Path | None = None,
    scenes: Path | None = None,
    **mix: float,
) -> SegmentationDataset:
    return SegmentationDataset(
        source,
        seed=4,
        window=window,
        labels=labels,
        mix=MixConfig(arm=arm, **mix),  # type: ignore[arg-type]
        synthetic=synthetic,
        suspects=suspects,
        scenes=scenes,
        frames=frames,
        total_samples=total_samples,
        unseen=tuple(patients_of(source, "val") | patients_of(source, "test")),
    )


def _is_synthetic(dataset: SegmentationDataset, sample_id: int) -> bool:
    return bool(dataset[sample_id].image.std() < 0.3)  # the made frames are constant, real ones have 1


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


def test_real_draws_are_the_same_windows_in_every_arm(source: Path, synthetic: Path) -> None:
    real, mixed = _dataset(source, "real"), _dataset(source, "synthetic", synthetic)
    compared = 0
    for sample_id in range(20):
        expected = real[sample_id]
        assert expected.row.tolist() == [sample_id]
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


@pytest.mark.parametrize(
    ("arm", "needed"),
    [("synthetic", "synthetic"), ("pretrain", "synthetic"), ("scene", "scenes"), ("paste", "suspects"),
     ("pseudo", "suspects"), ("all", "synthetic")],
)  # fmt: skip
def test_arms_that_need_another_artifact_say_so(source: Path, arm: str, needed: str) -> None:
    with pytest.raises(ConfigError, match=f"data.{needed}"):
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
    frames = MadeFrames(synthetic, Kind.SYNTHETIC, ("nobody",))
    made = Artifact.open(synthetic, Kind.SYNTHETIC)
    kept = np.repeat(made.column("clips/accepted"), made.column("clips/length"))
    assert frames.rows.tolist() == np.flatnonzero(kept).tolist()
    _, wire_mask, ignore = frames.sample(int(frames.rows[0]))
    assert wire_mask.any()
    assert not ignore.any()


def test_pseudo_labels_are_the_guide_s(source: Path, suspects: Path) -> None:
    """Sure pixels are wire, unsure ones and a rim of 2 px are ignored; labelled frames keep their labels."""
    dataset, real = _dataset(source, "pseudo", suspects=suspects, window=200), _dataset(source, "real", window=200)
    pseudo = 0
    for sample_id in range(20):
        batch, plain = dataset[sample_id], real[sample_id]
        if torch.equal(batch.wire_mask, plain.wire_mask):
            continue
        pseudo += 1
        height, width = (int(side) for side in dataset.frames.size[0])
        assert batch.wire_mask.sum() in (height, width)  # one straight line, turned
        assert (batch.ignore.sum() - (200**2 - height * width)) in (5 * height, 5 * width)  # rows 3 and 4, 6 to 8
        assert not (batch.ignore * batch.wire_mask).any()
    assert pseudo == pytest.approx(12, abs=4)


def test_pasted_wires_are_dark_labelled_and_leave_suspected_ones_out(source: Path, suspects: Path) -> None:
    dataset, darker, ignored = _dataset(source, "paste", suspects=suspects, synthetic_share=0.99), 0, 0
    for sample_id in range(40):
        batch = dataset[sample_id]
        wire = batch.wire_mask > 0
        near = (torch.nn.functional.max_pool2d(batch.wire_mask, 9, 1, 4) > 0) & ~wire
        darker += int(not wire.any() or batch.image[wire].mean() < batch.image[near].mean())
        ignored += int(batch.ignore.any())
        assert not (batch.ignore * batch.wire_mask).any()
    assert darker >= 36
    assert 5 < ignored < 40  # those of the labelled frames hold nothing unknown


def test_arm_all_takes_clips_and_pseudo_labels_in_equal_parts(source: Path, synthetic: Path, suspects: Path) -> None:
    dataset = _dataset(source, "all", synthetic, suspects=suspects)
    kinds = [dataset.kind_of(0, float(u)) for u in np.linspace(0, 1, 100, endpoint=False)]
    assert [kinds.count(kind) for kind in ("made", "pseudo", "labelled")] == [30, 30, 40]


def test_scenes_are_first_frames(source: Path, tmp_path: Path) -> None:
    scenes = write_toy_scenes(tmp_path / "scenes.h5", source)
    made = MadeFrames(scenes, Kind.SCENES, tuple(patients_of(source, "test")), count=3)
    artifact = Artifact.open(scenes, Kind.SCENES)
    assert made.rows.tolist() == artifact.column("clips/start").tolist()
    image, wire_mask, _ = made.sample(int(made.rows[1]))
    assert image.shape == (3, *artifact.frame_shape)
    assert np.array_equal(wire_mask, artifact.clip_rows("frames/wire_mask", 1)[0] > 0)
    assert any(_dataset(source, "scene", scenes=scenes).kind_of(i, 0.1) == "made" for i in range(3))


def test_suspicions_of_another_source_or_of_a_guide_that_saw_too_much_are_refused(source: Path, tmp_path: Path) -> None:
    other = write_suspects(tmp_path / "other.h5", source, parent="0" * 64)
    with pytest.raises(ArtifactError, match="another source"):
        _dataset(source, "pseudo", suspects=other)
    leaked = write_suspects(tmp_path / "leak.h5", source, patients=patients_of(source, "test"))
    with pytest.raises(LeakError):
        _dataset(source, "pseudo", suspects=leaked)


def test_suspicion_is_looked_up_by_the_source_s_row(source: Path, suspects: Path) -> None:
    suspicion = Suspicion(suspects, Artifact.open(source, Kind.SOURCE))
    rows = Artifact.open(suspects).column("frames/source_frame")
    probability = suspicion.probability(int(rows[-1]))
    assert probability[5].min() == pytest.approx(0.9, abs=1e-3)
    assert np.flatnonzero(suspected(probability).any(1)).tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(("limits", "steps"), [({"max_epochs": 4}, 16), ({"max_steps": 10, "max_epochs": -1}, 10)])
def test_pretraining_takes_its_share_of_the_whole_training(
    source: Path, synthetic: Path, limits: dict[str, int], steps: int
) -> None:
    """Also where a training counts epochs: one of them would be 0.125 of four, instead of a half."""
    data = segmentation_data(source, synthetic=synthetic, mix=MixConfig("pretrain"))
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, **limits)  # type: ignore[arg-type]
    dataset = data.train_dataloader().dataset
    made = [dataset.kind_of(i, 0.9) == "made" for i in range(steps * data.batch_size)]
    assert made == [i < steps * data.batch_size // 2 for i in range(len(made))]


def test_an_even_number_of_frames_has_no_middle(source: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.frames"):
        segmentation_data(source, frames=4)


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
        pixels = artifact.rows("frames/image", int(rows[3]), int(rows[3]) + 1)[0].astype(float)
        assert np.allclose(batch.image[0, 0].numpy(), (pixels - pixels.mean()) / pixels.std(), atol=1e-3)
        mask = artifact.rows("frames/wire_mask", int(rows[3]), int(rows[3]) + 1)[0]
        assert np.array_equal(batch.wire_mask[0, 0].numpy(), mask)
        assert not batch.ignore.any()


@pytest.fixture(scope="module")
def uneven(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every other clip is 10 rows and 4 columns smaller than its array, and its wire runs into the border."""
    artifact = Artifact.open(source, Kind.SOURCE)
    height, width = artifact.column("clips/height").copy(), artifact.column("clips/width").copy()
    height[::2] -= 10
    width[::2] -= 4
    mask, image = artifact.column("frames/wire_mask").copy(), artifact.column("frames/image").copy()
    for clip, start in enumerate(artifact.column("clips/start")):
        rows, (h, w) = slice(start, start + artifact.column("clips/length")[clip]), (height[clip], width[clip])
        mask[rows, 8:, 20:22] = 1
        mask[rows, h:], mask[rows, :, w:] = 0, 0
        image[rows, h:] = image[rows, h - 1 : h]
        image[rows, :, w:] = image[rows, :, w - 1 : w]
    out = tmp_path_factory.mktemp("uneven") / "uneven.h5"
    columns = {"clips__height": height, "clips__width": width, "frames__wire_mask": mask, "frames__image": image}
    return rewritten(source, out, **columns)


def test_padding_is_no_picture(uneven: Path) -> None:
    """Frames have their own size in validation and test, and batches hold frames of one size."""
    artifact = Artifact.open(uneven, Kind.SOURCE)
    size = set(zip(*(artifact.column(f"clips/{side}").tolist() for side in ("height", "width")), strict=True))
    data = segmentation_data(uneven, eval_batch_size=4, val_frames=48)
    loaders = data.val_dataloader(), data.test_dataloader()
    assert {tuple(batch.image.shape[-2:]) for loader in loaders for batch in loader} == size
    counted = sum(len(batch.row) for batch in data.test_dataloader())
    assert counted == len(AnnotatedFrames(uneven, "test"))


def test_windows_beyond_a_frame_are_ignored_there(uneven: Path) -> None:
    dataset = _dataset(uneven, "real", window=200)
    for sample_id in range(8):
        batch = dataset[sample_id]
        known = batch.ignore[0, 0] == 0
        rows, columns = int(known.any(1).sum()), int(known.any(0).sum())
        assert known.sum() == rows * columns
        assert sorted((rows, columns)) in [sorted(size) for size in dataset.frames.size.tolist()]
        assert not (batch.wire_mask * batch.ignore).any()  # a repeated edge is no wire


@pytest.mark.parametrize("count", [3, 5])
def test_neighbouring_frames_are_channels(source: Path, synthetic: Path, count: int) -> None:
    """The first frame of a clip stands for those before it; the label is that of the middle one."""
    artifact = Artifact.open(source, Kind.SOURCE)
    frames, single = AnnotatedFrames(source, "test", frames=count), AnnotatedFrames(source, "test")
    first = frames[0]
    assert first.image.shape[1] == count
    at = [max(0, k) for k in range(-(count // 2), count // 2 + 1)]
    assert torch.equal(first.image[0], torch.cat([single[k].image[0] for k in at]))
    assert torch.equal(first.wire_mask, single[0].wire_mask)
    last = Frames(artifact, count).image(artifact.n_frames - 1)
    assert np.array_equal(last[-1], last[count // 2])
    assert _dataset(source, "synthetic", synthetic, frames=count)[0].image.shape == (1, count, WINDOW, WINDOW)


def test_a_limit_spreads_the_frames_over_the_split(source: Path) -> None:
    frames = AnnotatedFrames(source, "test", limit=4)
    everything = AnnotatedFrames(source, "test").rows
    assert len(frames) == 4
    assert frames.rows[0] == everything[0]
    assert frames.rows[-1] == everything[-1]
    assert len(AnnotatedFrames(source, "test", limit=99)) == len(everything)
