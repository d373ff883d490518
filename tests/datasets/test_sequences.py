from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from toy import FRAMES, WINDOW, patients_of, rewritten

from sfvd_pl.artifacts import Artifact, Kind
from sfvd_pl.datasets.batch import GenerationBatch
from sfvd_pl.datasets.courses import course_width
from sfvd_pl.datasets.sequences import MIN_WIRE_PIXELS, SequenceBank, SequenceConfig, SequenceDataset
from sfvd_pl.datasets.windows import centreline_nearness
from sfvd_pl.errors import ConfigError
from sfvd_pl.sources.phantom.simulate import simulate_wire_masks


def _bank(source: Path, seed: int = 0, **config: object) -> SequenceBank:
    settings: dict[str, object] = {"frames": FRAMES, "window": WINDOW, "simulated_share": 0.5}
    return SequenceBank(source, SequenceConfig(**(settings | config)), seed)  # type: ignore[arg-type]


def test_the_same_id_gives_the_same_sequence_whatever_was_asked_before(source: Path) -> None:
    bank, again = _bank(source), _bank(source)
    for sample_id in (8, 3):
        again.sequence(sample_id)
    for sample_id in range(6):
        a, b = bank.sequence(sample_id), again.sequence(sample_id)
        assert np.array_equal(a.wire_mask, b.wire_mask)
        assert (a.origin, a.mask_source) == (b.origin, b.mask_source)
    other = _bank(source, seed=1)
    assert [other.sequence(i).mask_source for i in range(6)] != [bank.sequence(i).mask_source for i in range(6)]


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 9, 23), (1.0, 32, 32)])
def test_simulated_share(source: Path, share: float, low: int, high: int) -> None:
    bank = _bank(source, simulated_share=share)
    origins = [bank.sequence(i).origin for i in range(32)]
    assert low <= origins.count("simulated") <= high
    assert set(origins) <= {"simulated", "labelled"}


def test_every_frame_of_every_sequence_shows_enough_wire(source: Path) -> None:
    bank = _bank(source)
    for sample_id in range(32):
        wire_mask = bank.sequence(sample_id).wire_mask
        assert wire_mask.shape == (FRAMES, WINDOW, WINDOW)
        assert set(np.unique(wire_mask)) == {0, 1}
        assert wire_mask.reshape(FRAMES, -1).sum(1).min() >= 16


def test_a_window_that_loses_the_wire_is_not_taken(source: Path) -> None:
    """In windows this small most places show too little of it."""
    bank = _bank(source, window=16, simulated_share=0.0)
    areas = np.array([bank.sequence(i).wire_mask.reshape(FRAMES, -1).sum(1) for i in range(24)])
    assert areas.min() >= MIN_WIRE_PIXELS
    assert areas.min() < MIN_WIRE_PIXELS + 4


def test_masks_come_from_labelled_training_clips_only(source: Path) -> None:
    """Each labelled sequence is found in the clip it names, which is labelled and of a training patient."""
    artifact = Artifact.open(source, Kind.SOURCE)
    names = [str(name) for name in artifact.column("clips/name")]
    bank = _bank(source, simulated_share=0.0)
    seen = set()
    for sample_id in range(24):
        sequence = bank.sequence(sample_id)
        clip = names.index(sequence.mask_source)
        seen.add(clip)
        masks = artifact.clip_rows("frames/wire_mask", clip)
        turned = [
            np.rot90(sequence.wire_mask[..., ::-1] if mirrored else sequence.wire_mask, -turns, axes=(1, 2))
            for turns in range(4)
            for mirrored in (False, True)
        ]
        views = sliding_window_view(masks, (FRAMES, WINDOW, WINDOW))
        assert any((views.reshape(-1, FRAMES, WINDOW, WINDOW) == t).all((1, 2, 3)).any() for t in turned)
    labelled, patient = artifact.column("clips/labelled"), artifact.column("clips/patient")
    assert all(labelled[clip] for clip in seen)
    assert {str(patient[clip]) for clip in seen} <= patients_of(source, "train")
    assert len(seen) == 4  # every labelled training clip of the toy source


def test_a_simulated_sequence_can_be_made_again_from_its_source(source: Path) -> None:
    bank = _bank(source, simulated_share=1.0)
    sequence = bank.sequence(5)
    again = simulate_wire_masks(
        int(sequence.mask_source), FRAMES, WINDOW, WINDOW, width_px=bank.wire_width_px
    )
    assert np.array_equal(sequence.wire_mask, again)


def test_wire_width_is_that_of_a_typical_labelled_frame(source: Path) -> None:
    bank = _bank(source)
    masks = [bank.index.wire_mask(int(clip), np.arange(6)) for clip in bank.index.clips]
    widths = [course_width(mask[None]) for frames in masks for mask in frames if mask.any()]
    assert bank.wire_width_px == pytest.approx(float(np.median(widths)), abs=0.05)
    assert 1.0 < bank.wire_width_px < 3.0


def test_clips_that_are_too_short_leave_the_simulator(source: Path) -> None:
    bank = _bank(source, frames=7, simulated_share=0.0)  # the toy clips have six
    assert bank.runs == []
    assert bank.sequence(0).origin == "simulated"


def test_a_wire_too_short_for_a_label_is_not_repaired(source: Path, tmp_path: Path) -> None:
    artifact = Artifact.open(source, Kind.SOURCE)
    masks = artifact.column("frames/wire_mask").copy()
    for row in (2, 8, 14, 20, 26, 32, 38, 44):  # the third frame of each clip keeps a few pixels only
        keep = np.argwhere(masks[row])[: MIN_WIRE_PIXELS - 1]
        masks[row] = 0
        masks[row][tuple(keep.T)] = 1
    thin = rewritten(source, tmp_path / "thin.h5", frames__wire_mask=masks)
    bank = _bank(thin, frames=3, simulated_share=0.0)
    assert {first for _, first in bank.runs} == {3}


@pytest.mark.parametrize("share", [1.5, -0.1])
def test_a_share_is_checked(share: float) -> None:
    with pytest.raises(ConfigError, match="simulated_share"):
        SequenceConfig(frames=4, window=32, simulated_share=share)


def test_samples_carry_their_sequence(source: Path) -> None:
    bank = _bank(source)
    dataset = SequenceDataset(bank, [7, 2])
    assert len(dataset) == 2
    batch = GenerationBatch.collate([dataset[0], dataset[1]])
    assert batch.sample_id.tolist() == [7, 2]
    assert batch.scene is None
    for row, sample_id in enumerate((7, 2)):
        sequence = bank.sequence(sample_id)
        assert np.array_equal(batch.wire_mask[row, 0].numpy(), sequence.wire_mask)
        assert np.allclose(batch.nearness[row, 0].numpy(), centreline_nearness(sequence.wire_mask))
        assert (batch.origin[row], batch.mask_source[row]) == (sequence.origin, sequence.mask_source)
