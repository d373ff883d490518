"""A training whose gradients are no numbers any more ends before it spoils its weights."""

import lightning.pytorch as pl
import torch
from torch.optim import Optimizer

from sfvd_pl.errors import TrainingError


class FiniteGradients(pl.Callback):
    """Ends the training at the first optimiser step whose gradients hold NaN or infinity.

    The step isn't taken and nothing is saved, so the newest checkpoint is a good one. A step that was skipped instead
    would hide a fault that comes again: a sample, its noise and its diffusion time follow from the seed, so the same
    step fails in every attempt. In 16-bit floats with a loss scale (``16-mixed``), infinite gradients are how the
    scale is found, and skipping belongs to it; they are left to it.
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Look at all of them at once: one number to wait for on a GPU.

        Raises:
            TrainingError: Some aren't finite.
        """
        if trainer.precision == "16-mixed":
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if not gradients or torch.stack(torch._foreach_norm(gradients)).sum().isfinite():
            return
        names = [n for n, p in pl_module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        first = names[0] if names else "their norm"
        raise TrainingError(
            f"the gradients of optimiser step {trainer.global_step + 1} aren't finite",
            file=trainer.default_root_dir,
            key=first,
            expected="finite gradients",
            found=f"NaN or infinity in {len(names)} of {len(gradients)} parameters",
            remedy="the newest checkpoint is from before, and resuming from it leads here again: start anew with a "
            "lower model.optimiser.lr, more warmup_steps, gradient_clip_val or precision 32-true, and look "
            "whether the clips hold odd values (sfvd data check)",
        )
