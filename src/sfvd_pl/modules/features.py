"""The features module: learns, without labels, what pictures of this domain differ in."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from sfvd_pl.artifacts import file_hash, refuse_seen
from sfvd_pl.datasets.views import ViewBatch
from sfvd_pl.modules.base import OptimiserConfig, optimiser_with_schedule
from sfvd_pl.modules.checkpoint import load_for_inference
from sfvd_pl.modules.exact import ExactMean, counts, log_and_reset
from sfvd_pl.modules.recorded import RecordedModule
from sfvd_pl.networks.features import FeatureNetwork, FeatureNetworkConfig, NetworkSpace

RESIZING = "none: native scale"


def contrastive_loss(
    first: Float[Tensor, "B D"], second: Float[Tensor, "B D"], temperature: float
) -> Float[Tensor, " B"]:
    """How badly, for each view among all 2B, the other view of its window is found; the mean of a window's two views
    (NT-Xent: Chen et al. 2020, arXiv 2002.05709, equation 1)."""
    count = len(first)
    views = normalize(torch.cat([first, second]), dim=1)
    likeness = views @ views.T / temperature
    itself = torch.eye(2 * count, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * count, device=views.device).roll(count)
    losses = cross_entropy(likeness.masked_fill(itself, -torch.inf), partner, reduction="none")
    return losses.view(2, count).mean(0)


def matched(first: Float[Tensor, "B D"], second: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
    """1 for each window whose first view is nearer, by angle, to its second one than to that of any other window."""
    likeness = normalize(first, dim=1) @ normalize(second, dim=1).T
    return (likeness.argmax(1) == torch.arange(len(first), device=first.device)).float()


def _head(features: int, width: int) -> nn.Sequential:
    """Only the training uses it. It standardises over the batch, which pictures so alike as these need to be told
    apart at all; by the batch at hand only, so that nothing needs to be averaged along."""
    return nn.Sequential(
        nn.BatchNorm1d(features, track_running_stats=False),
        nn.Linear(features, width),
        nn.BatchNorm1d(width, track_running_stats=False),
        nn.SiLU(),
        nn.Linear(width, width),
    )


class FeaturesModule(RecordedModule):
    """Trains a :class:`FeatureNetwork` for frames and for clips on pairs of views.

    Args:
        network: Size of the network.
        temperature: Of the contrastive loss: the lower, the more the nearest other windows count.
        optimiser: How it is minimised.
        seed: Decides the initial weights.
    """

    def __init__(
        self,
        network: FeatureNetworkConfig = FeatureNetworkConfig(),  # noqa: B008  # frozen dataclasses
        temperature: float = 0.1,
        optimiser: OptimiserConfig = OptimiserConfig(lr=3e-3, warmup_steps=20),  # noqa: B008
        seed: int = 0,
    ) -> None:
        super().__init__(network=network, temperature=temperature, optimiser=optimiser, seed=seed)
        self.temperature = temperature
        self.optimiser = optimiser
        self.network = FeatureNetwork(network, init_seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.frame_head = _head(network.num_features, network.projection)
            self.clip_head = _head(network.num_features, network.projection)
        self.val_loss = ExactMean()
        self.val_matched = ExactMean()

    def embed_frames(self, images: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B D"]:
        """Vectors of frames in 0..1."""
        return self.network.frames(self.standardise(images))

    def embed_clips(self, images: Float[Tensor, "B 1 T H W"]) -> Float[Tensor, "B D"]:
        """Vectors of clips in 0..1."""
        return self.network.clips(self.standardise(images))

    def _losses(self, batch: ViewBatch) -> tuple[Tensor, Tensor]:
        """Loss of each window, and whether its views were matched; frames and clips together."""
        both = [batch.views[:, number, None] for number in (0, 1)]
        frames = [self.embed_frames(view[:, :, 0]) for view in both]
        clips = [self.embed_clips(view) for view in both]
        loss = contrastive_loss(self.frame_head(frames[0]), self.frame_head(frames[1]), self.temperature)
        loss = loss + contrastive_loss(self.clip_head(clips[0]), self.clip_head(clips[1]), self.temperature)
        found = (matched(*frames) + matched(*clips)) / 2.0
        return loss, found.detach()

    def training_step(self, batch: ViewBatch, batch_idx: int) -> Tensor:
        """One step on pairs of views."""
        losses, found = self._losses(batch)
        loss, size = losses.mean(), len(batch.sample_id)
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        self.log("train/matched", found.mean(), batch_size=size)
        return loss

    def validation_step(self, batch: ViewBatch, batch_idx: int) -> None:
        """The same on patients that are not learned from; a window by itself has none to be told from."""
        if counts(self.trainer, batch_idx) and len(batch.sample_id) > 1:
            losses, found = self._losses(batch)
            self.val_loss.update(losses)
            self.val_matched.update(found)

    def on_validation_epoch_end(self) -> None:
        """The means over all ranks."""
        log_and_reset(self, val__loss=self.val_loss, val__matched=self.val_matched)

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up, cosine."""
        return optimiser_with_schedule(self, self.optimiser)


def domain_spaces(
    path: Path | str, device: torch.device | str = "cpu", unseen: tuple[str, ...] = ()
) -> tuple[NetworkSpace, NetworkSpace]:
    """The feature spaces of a trained features module: of frames, and of clips.

    Args:
        path: Its checkpoint.
        device: Where it is to run.
        unseen: Patients whose pictures will be embedded as those of strangers.

    Raises:
        CheckpointError: Unreadable, or another module's.
        LeakError: It was learned from one of ``unseen``.
    """
    module = load_for_inference(FeaturesModule, path, device)
    refuse_seen(module.learned_from.get("patients", ()), unseen, what="the feature network", file=Path(path))
    digest, width = file_hash(Path(path)), module.network.config.num_features
    where = torch.device(device)
    return (
        NetworkSpace("domain-frames", "frame", width, digest, RESIZING, module.embed_frames, where),
        NetworkSpace("domain-clips", "clip", width, digest, RESIZING, module.embed_clips, where),
    )
