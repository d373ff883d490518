from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation, maximum_filter, minimum_filter
from toy import WINDOW, scene_module, segmentation_module, wire_row
from training import segmentation_data

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


def _probability(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = np.stack([wire_row(1, 16, 20, row)[0] for row in (4, 9)]).astype(np.float64)
    return (0.7 * mask + 0.3 * rng.random(mask.shape)), mask


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))[:, None]


def soft_dice_loss(probability: torch.Tensor, wire_mask: torch.Tensor) -> torch.Tensor:
    """Of all windows together."""
    return dice_losses(overlap_sums(probability, wire_mask).sum(0, keepdim=True))[0]


def soft_cldice_loss(probability: torch.Tensor, wire_mask: torch.Tensor, iterations: int) -> torch.Tensor:
    """Of all windows together."""
    return cldice_losses(skeleton_sums(probability, wire_mask, iterations).sum(0, keepdim=True))[0]


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
    found = segmentation_module(loss=SegmentationLossConfig(**only)).loss(logits, mask)  # type: ignore[arg-type]
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
        return float(segmentation_module(loss=SegmentationLossConfig(**(zero | weights))).loss(logits, mask))  # type: ignore[arg-type]

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


class Pointwise(torch.nn.Module):
    """A network that looks at single pixels, so that windows cannot matter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[-2:] == (WINDOW, WINDOW)
        return 3 * x - 1


@pytest.mark.parametrize("shape", [(48, 80), (32, 32), (33, 64), (24, 80), (20, 20), (96, 96)])
def test_windows_are_put_together_seamlessly(shape: tuple[int, int]) -> None:
    module = segmentation_module()
    module.network = Pointwise()  # type: ignore[assignment]
    x0 = torch.randn(2, 1, *shape)
    assert torch.allclose(module.frame_logits(x0), 3 * x0 - 1, atol=1e-4)


def test_a_frame_of_the_window_s_size_is_segmented_at_once() -> None:
    module = segmentation_module()
    x0 = torch.randn(3, 1, WINDOW, WINDOW)
    with torch.no_grad():
        assert torch.equal(module.frame_logits(x0), module.network(x0))
        # The same frame as the only window of the sliding scheme.
        module.window = 2 * WINDOW
        wide = module.frame_logits(x0)
    assert wide.shape == x0.shape


def test_larger_frames_run_through_the_real_network() -> None:
    module = segmentation_module()
    image = torch.rand(2, 1, 48, 80)
    logits = module(image)
    assert logits.shape == (2, 1, 48, 80)
    assert torch.isfinite(logits).all()
    with torch.no_grad():
        inside = module.network(module.standardise(image)[..., :32, :32])
    assert torch.allclose(logits[..., 2, 2], inside[..., 2, 2], atol=1e-4)  # the first window's own corner


def test_arms_with_one_seed_start_alike_and_other_seeds_differ() -> None:
    first, again, other = (segmentation_module(seed=s).state_dict() for s in (5, 5, 6))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first if "net." in key)


def test_the_guide_sees_the_pictures_in_its_own_units() -> None:
    guide, scene = segmentation_module(), scene_module()
    scene.intensity.copy_(torch.tensor([0.4, 0.2]))
    image = torch.rand(2, 1, WINDOW, WINDOW)
    x0 = scene.standardise(image).requires_grad_()
    logits = GuideSegmenter(guide, scene)(x0)
    assert torch.allclose(logits, guide(image), atol=1e-4)
    (gradient,) = torch.autograd.grad(logits.sum(), x0)
    assert gradient.abs().max() > 0


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
