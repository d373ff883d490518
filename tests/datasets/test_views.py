from pathlib import Path

import numpy as np
import torch
from toy import WINDOW, patients_of, rewritten

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.modules.features import FeaturesDataModule
from sfvd_pl.datasets.views import ViewConfig, ViewDataset

SAME = ViewConfig(shift=0.0, brightness=0.0, contrast=0.0, noise=0.0)


def dataset(source: Path, **changes: object) -> ViewDataset:
    settings: dict[str, object] = {"seed": 1, "window": WINDOW, "frames": 3, "views": ViewConfig()}
    return ViewDataset(source, "train", **(settings | changes))  # type: ignore[arg-type]


def test_a_sample_depends_on_its_id_and_the_seed_alone(source: Path) -> None:
    first, again = dataset(source), dataset(source)
    again[7]
    assert torch.equal(first[5].views, again[5].views)
    assert first[5].views.shape == (1, 2, 3, WINDOW, WINDOW)
    assert not torch.equal(first[5].views, first[6].views)
    assert not torch.equal(first[5].views, dataset(source, seed=2)[5].views)


def test_views_are_windows_of_the_training_clips_up_to_a_flip(source: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    split = artifact.column("clips/split")
    clips = [artifact.clip_rows("frames/image", c) for c in range(artifact.n_clips) if split[c] == "train"]
    same = dataset(source, views=SAME)
    for number in range(4):
        for view in same[number].views[0].numpy():
            pixels = (view * 255).round().astype(np.uint8)
            flips = [pixels, pixels[..., ::-1], pixels[..., ::-1, :], pixels[..., ::-1, ::-1]]
            windows = [np.lib.stride_tricks.sliding_window_view(c, pixels.shape)[..., 0, :, :] for c in clips]
            assert any((w == flip[0]).all((-1, -2)).any() for w in windows for flip in flips)


def test_views_differ_by_no_more_than_they_may(source: Path) -> None:
    limits = ViewConfig(shift=0.0, brightness=0.1, contrast=0.2, noise=0.01)
    altered, same = dataset(source, views=limits), dataset(source, views=SAME)
    for number in range(20):
        changed, plain = altered[number].views, same[number].views
        for view, other in zip(changed[0], plain[0], strict=True):
            assert abs(view.mean() - other.mean()) < 0.11
            assert 0.75 < view.std() / other.std() < 1.25


def test_clips_without_labels_are_learned_from(source: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    bare = rewritten(
        source,
        tmp_path / "bare.h5",
        clips__labelled=np.zeros(artifact.n_clips, bool),
        frames__annotated=np.zeros(artifact.n_frames, bool),
        frames__wire_mask=np.zeros_like(artifact.column("frames/wire_mask")),
    )
    assert torch.equal(dataset(bare)[3].views, dataset(source)[3].views)


def test_a_clip_shorter_than_the_window_stands_still(source: Path) -> None:
    views = dataset(source, frames=9, views=SAME)[0].views
    assert views.shape[2] == 9
    assert torch.equal(views[:, :, 5], views[:, :, 8])


def test_the_module_hands_out_training_and_validation_pairs(source: Path) -> None:
    data = FeaturesDataModule(source, window=WINDOW, frames=2, batch_size=3, val_samples=4, num_workers=0)
    assert set(data.patients) == patients_of(source, "train")
    assert next(iter(data.train_dataloader())).views.shape == (3, 2, 2, WINDOW, WINDOW)
    batches = [list(data.val_dataloader()) for _ in range(2)]
    assert [len(batch.sample_id) for batch in batches[0]] == [3, 1]
    assert torch.equal(batches[0][0].views, batches[1][0].views)


def test_without_validation_patients_there_is_nothing_to_validate_on(source: Path, tmp_path: Path) -> None:
    split = Artifact.open(source, Kind.SOURCE).column("clips/split")
    changed = np.array(["train" if s == "val" else str(s) for s in split], object)
    bare = rewritten(source, tmp_path / "noval.h5", clips__split=changed)
    assert FeaturesDataModule(bare, window=WINDOW).val_dataloader() == []
