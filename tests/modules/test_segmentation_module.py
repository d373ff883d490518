from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation, maximum_filter, minimum_filter
from toy import WINDOW, scene_module, segmentation_module, wire_row
from training import segmentation_data

from sfvd_pl.datasets.batch import FrameBatch
from sfvd_pl.errors import ConfigError
from sfvd_pl.modules.ema import EMA
from sfvd_pl.modules.segmentation import GuideSegmenter
from sfvd_pl.modules.wire_loss import (
    SegmentationLossConfig,
    cldice_losses,
    dice_losses,
    in_groups,
    overlap_sums,
    skeleton_sums,
)
from sfvd_pl.networks import normalise_frames

MEANS, STDS = (0.3, 0.3, 0.6, 0.6), (0.1, 0.1, 0.2, 0.2)


def _probability(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.stack([wire_row(1, 16, 20, row)[0] for row in (4, 9)]).astype(np.float64)
    return (0.7 * mask + 0.3 * rng.random(mask.shape)), mask


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))[:, None]


def soft_dice_loss(probability: torch.Tensor, wire_mask: torch.Tensor) -> torch.Tensor:
    """Of all windows together."""
    return dice_losses(overlap_sums(probability, wire_mask, torch.ones_like(wire_mask)).sum(0, keepdim=True))[0]


def soft_cldice_loss(probability: torch.Tensor, wire_mask: torch.Tensor, iterations: int) -> torch.Tensor:
    """Of all windows together."""
    sums = skeleton_sums(probability, wire_mask, torch.ones_like(wire_mask), iterations)
    return cldice_losses(sums.sum(0, keepdim=True))[0]


def test_soft_dice_by_hand() -> None:
    probability, mask = _probability()
    expected = 1 - (2 * (probability * mask).sum() + 1) / (probability.sum() + mask.sum() + 1)
    assert soft_dice_loss(_tensor(probability), _tensor(mask)).item() == pytest.approx(expected, abs=1e-5)


def test_dice_of_a_window_without_a_wire() -> None:
    empty = torch.zeros(1, 1, 8, 8)
    assert soft_dice_loss(empty, empty).item() == 0.0
    assert 0 < soft_dice_loss(empty + 0.1, empty).item() < 1


def _skeleton(image: np.ndarray, iterations: int) -> np.ndarray:
    """Soft skeleton (arXiv 2003.07311, algorithm 1) by filters of scipy: erosion by a plus, dilation by a square."""

    def erode(x: np.ndarray) -> np.ndarray:
        across = minimum_filter(x, (3, 1), mode="constant", cval=np.inf)
        return np.minimum(across, minimum_filter(x, (1, 3), mode="constant", cval=np.inf))

    def opened(x: np.ndarray) -> np.ndarray:
        return np.asarray(maximum_filter(erode(x), (3, 3), mode="constant", cval=-np.inf))

    skeleton = np.maximum(image - opened(image), 0)
    for _ in range(iterations):
        image = erode(image)
        delta = np.maximum(image - opened(image), 0)
        skeleton = skeleton + np.maximum(delta - skeleton * delta, 0)
    return skeleton


@pytest.mark.parametrize("iterations", [1, 3])
def test_soft_cldice_by_hand(iterations: int) -> None:
    probability, mask = _probability()
    skeletons = [np.stack([_skeleton(frame, iterations) for frame in x]) for x in (probability, mask)]
    precision = ((skeletons[0] * mask).sum() + 1) / (skeletons[0].sum() + 1)
    recall = ((skeletons[1] * probability).sum() + 1) / (skeletons[1].sum() + 1)
    expected = 1 - 2 * precision * recall / (precision + recall)
    found = soft_cldice_loss(_tensor(probability), _tensor(mask), iterations).item()
    assert found == pytest.approx(expected, abs=1e-4)


def test_one_channel_cldice_tells_right_from_wrong() -> None:
    """Implementations that cut away the first channel return 0 for whatever a sigmoid says."""
    mask = _tensor(wire_row(2, 24, 24, 6))
    wrong = _tensor(wire_row(2, 24, 24, 15))
    broken = mask.clone()
    broken[..., 8:16] = 0
    losses = [soft_cldice_loss(p, mask, 3).item() for p in (mask, broken, wrong)]
    assert losses[0] == pytest.approx(0, abs=1e-3)
    assert losses[0] + 0.1 < losses[1] < losses[2] - 0.1
    probability = (0.5 * mask + 0.25).requires_grad_()
    soft_cldice_loss(probability, mask, 3).backward()
    assert probability.grad is not None
    assert probability.grad.abs().max() > 0


def test_groups_of_consecutive_samples() -> None:
    """Ten in groups of four; the last has two."""
    values = torch.arange(20.0).reshape(10, 2).requires_grad_()
    groups = [values[:4].sum(0), values[4:8].sum(0), values[8:].sum(0)]
    alone, share = in_groups(values, 4)
    assert torch.equal(alone, torch.stack(groups))
    assert share.tolist() == pytest.approx([0.4, 0.4, 0.2])


def test_dice_of_groups_is_their_mean() -> None:
    logits, mask = torch.randn(6, 1, 16, 16), _tensor(wire_row(6, 16, 16, 7))
    only = {"bce": 0.0, "dice": 1.0, "cldice": 0.5, "dice_windows": 4}
    found = segmentation_module(loss=SegmentationLossConfig(**only)).loss(logits, mask, torch.zeros_like(mask))  # type: ignore[arg-type]
    parts = [
        len(p) / 6 * (soft_dice_loss(p, m) + 0.5 * soft_cldice_loss(p, m, 3))
        for p, m in zip(logits.sigmoid().split(4), mask.split(4), strict=True)
    ]
    assert float(found) == pytest.approx(float(sum(parts)), abs=1e-5)
    assert float(found) != pytest.approx(float(soft_dice_loss(logits.sigmoid(), mask)), abs=1e-5)


def test_a_group_that_would_lie_in_two_batches_of_a_step_is_refused(source: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", max_steps=1, accumulate_grad_batches=2, logger=False, callbacks=[EMA(0.9)])
    with pytest.raises(ConfigError, match="one Dice") as caught:
        trainer.fit(segmentation_module(), datamodule=segmentation_data(source, batch_size=6))
    assert "multiple of 4" in str(caught.value)
    with pytest.raises(ConfigError, match="1 or more"):
        SegmentationLossConfig(dice_windows=0)


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    logits, mask = torch.randn(2, 1, 16, 16), _tensor(wire_row(2, 16, 16, 7))

    def loss(**weights: float) -> float:
        zero = {"bce": 0.0, "dice": 0.0, "cldice": 0.0}
        module = segmentation_module(loss=SegmentationLossConfig(**(zero | weights)))  # type: ignore[arg-type]
        return float(module.loss(logits, mask, torch.zeros_like(mask)))

    parts = {
        "bce": torch.nn.functional.binary_cross_entropy_with_logits(logits, mask).item(),
        "dice": soft_dice_loss(logits.sigmoid(), mask).item(),
        "cldice": soft_cldice_loss(logits.sigmoid(), mask, 3).item(),
    }
    for name, value in parts.items():
        assert loss(**{name: 2.0}) == pytest.approx(2 * value, abs=1e-5)
    assert loss(bce=1, dice=0.5, cldice=0.25) == pytest.approx(
        parts["bce"] + 0.5 * parts["dice"] + 0.25 * parts["cldice"], abs=1e-5
    )


def test_ignored_pixels_count_in_no_part_of_the_loss() -> None:
    """Whatever is predicted there and whatever the label says."""
    torch.manual_seed(0)
    module, mask = segmentation_module(), _tensor(wire_row(2, 24, 24, 7))
    ignore = torch.zeros_like(mask)
    ignore[..., 14:] = 1.0
    logits = torch.randn(mask.shape)
    plain = logits.clone()
    plain[..., 20:] = 9.0  # the soft skeleton of a pixel depends on pixels up to 4 px away
    assert torch.equal(module.loss(plain, mask, ignore), module.loss(logits, mask, ignore))
    assert module.loss(plain, mask, 0 * ignore) > module.loss(logits, mask, 0 * ignore) + 0.1
    leaf = logits.requires_grad_()
    module.loss(leaf, mask, ignore).backward()
    assert leaf.grad is not None
    assert leaf.grad[..., 20:].abs().max() == 0 < leaf.grad[..., :14].abs().max()


def test_validation_leaves_ignored_pixels_out(source: Path, tmp_path: Path) -> None:
    mask = _tensor(wire_row(1, WINDOW, WINDOW, 7))
    right = (mask > 0).float() * 20 - 10
    right[..., 20:] = 10.0  # wire everywhere, right half
    module = segmentation_module()
    module.frame_logits = lambda _: right  # type: ignore[method-assign, assignment, misc]
    ignore = torch.zeros_like(mask)
    ignore[..., 20:] = 1.0
    batch = FrameBatch(torch.randn(1, 1, WINDOW, WINDOW), mask, ignore, torch.tensor([0]))
    module._trainer = pl.Trainer(logger=False, accelerator="cpu")
    module.test_step(batch, 0)
    assert float(module.test_dice.compute()) == 1.0
    assert dice_losses(overlap_sums(right.sigmoid(), mask, torch.ones_like(mask)))[0] > 0.5


@pytest.mark.parametrize("shape", [(48, 80), (32, 32), (33, 64), (24, 80), (20, 20), (12, 16)])
def test_frames_of_any_size_are_segmented_whole(shape: tuple[int, int]) -> None:
    module = segmentation_module()
    logits = module(torch.rand(2, 1, *shape))
    assert logits.shape == (2, 1, *shape)
    assert torch.isfinite(logits).all()


def test_dose_and_gain_of_a_frame_do_not_matter() -> None:
    """Each frame is normalised by itself, so a patient may be filmed twice as bright as those of the training."""
    module, image = segmentation_module(), 0.4 * torch.rand(2, 1, 40, 48)
    both = torch.cat([image[:1], 0.3 + 0.5 * image[1:]])
    assert torch.allclose(module(both), module(image), atol=1e-3)
    frames = normalise_frames(both)
    assert torch.allclose(frames.mean((-2, -1)), torch.zeros(2, 1), atol=1e-5)
    assert torch.allclose(frames.std((-2, -1), correction=0), torch.ones(2, 1), atol=1e-4)


def test_flips_average_mirror_images() -> None:
    module, frame = segmentation_module(flips=True), torch.randn(1, 1, 32, 48)
    found = module.probability(frame)
    assert torch.allclose(module.probability(frame.flip(-1)).flip(-1), found, atol=1e-5)
    module.flips = False
    assert not torch.allclose(module.probability(frame.flip(-1)).flip(-1), module.probability(frame), atol=1e-4)


def test_arms_with_one_seed_start_alike_and_other_seeds_differ() -> None:
    first, again, other = (segmentation_module(seed=s).state_dict() for s in (5, 5, 6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first if "net." in key)


def test_the_guide_sees_a_crop_as_part_of_its_frame() -> None:
    """Two frames a sample; the crops' own statistics would say something else."""
    guide, scene = segmentation_module(), scene_module()
    scene.intensity.copy_(torch.tensor([0.4, 0.2]))
    image = torch.rand(4, 1, WINDOW, WINDOW)
    x0 = scene.standardise(image).requires_grad_()
    assert torch.allclose(GuideSegmenter(guide, scene)(x0), guide(image), atol=1e-4)
    logits = GuideSegmenter(guide, scene, mean=torch.tensor([0.3, 0.6]), std=torch.tensor([0.1, 0.2]))(x0)
    expected = [guide.frame_logits((image[k : k + 1] - m) / s) for k, m, s in zip(range(4), MEANS, STDS, strict=True)]
    assert torch.allclose(logits, torch.cat(expected), atol=1e-3)
    (gradient,) = torch.autograd.grad(logits.sum(), x0)
    assert gradient.abs().max() > 0
    with pytest.raises(ConfigError, match="single frames"):
        GuideSegmenter(segmentation_module(frames=3), scene)


def test_the_band_of_a_soft_prediction_is_not_needed() -> None:
    """A thick prediction around the right wire: clDice forgives its width, Dice does not."""
    mask = wire_row(1, 24, 24, 10)
    thick = grey_dilation(mask, (1, 3, 3))
    dice, cldice = (
        loss.item()
        for loss in (
            soft_dice_loss(_tensor(thick.astype(float)), _tensor(mask.astype(float))),
            soft_cldice_loss(_tensor(thick.astype(float)), _tensor(mask.astype(float)), 3),
        )
    )
    assert cldice < dice - 0.1


def test_training_data_of_another_source_is_not_needed_to_predict(models: dict[str, Path]) -> None:
    from sfvd_pl.modules.checkpoint import load_for_inference
    from sfvd_pl.modules.segmentation import SegmentationModule

    module = load_for_inference(SegmentationModule, models["guide"])
    assert module(torch.rand(1, 1, 40, 72)).shape == (1, 1, 40, 72)
