"""The typed batches that run through the modules. A single sample is a batch of one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BatchT = TypeVar("BatchT", bound="Batch")


class Batch:
    """A dataclass of tensors and lists, all of whose first axis is the sample."""

    @classmethod
    def collate(cls: type[BatchT], samples: Sequence[BatchT]) -> BatchT:
        """Join batches, most often of one sample each, into one batch."""
        columns: dict[str, Any] = {}
        for field in fields(cls):  # type: ignore[arg-type]
            values = [getattr(sample, field.name) for sample in samples]
            if values[0] is None:
                columns[field.name] = None
            elif isinstance(values[0], Tensor):
                columns[field.name] = torch.cat(values)
            else:
                columns[field.name] = [item for value in values for item in value]
        return cls(**columns)

    def to(self: BatchT, device: torch.device) -> BatchT:
        """The same batch on another device (Lightning calls this)."""
        moved = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            moved[field.name] = value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        return type(self)(**moved)

    def pin_memory(self: BatchT) -> BatchT:
        """The same batch in page-locked memory (the DataLoader calls this)."""
        pinned = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            pinned[field.name] = value.pin_memory() if isinstance(value, Tensor) else value
        return type(self)(**pinned)


@dataclass
class ClipBatch(Batch):
    """Windows of clips to train a diffusion model on, with every random number that the step needs.

    The randomness comes with the sample, drawn from (seed, sample id) by whoever loads it, so that a training step
    does not depend on the batch size, the worker or the number of ranks.

    Attributes:
        image: ``B 1 T H W``, detector signal in 0..1.
        wire_mask: ``B 1 T H W``, 0 where no wire is known.
        nearness: ``B 1 T H W``, truncated nearness of the centreline in 0..1.
        known: ``B 1 T H W``, 1 where it is known whether there is a wire.
        region: ``B 1 T H W``, 1 where the network draws and the loss counts; the rest is given.
        noise: ``B 1 T H W``, standard normal, independent.
        shared_noise: ``B 1 H W``, standard normal, what the frames of a clip have in common.
        context_noise: ``B 1 T H W``, standard normal, added to the history.
        uniforms: ``B 2`` in [0, 1): diffusion time, noise level of the history.
        sample_id: ``B``.
    """

    image: Float[Tensor, "B 1 T H W"]
    wire_mask: Float[Tensor, "B 1 T H W"]
    nearness: Float[Tensor, "B 1 T H W"]
    known: Float[Tensor, "B 1 T H W"]
    region: Float[Tensor, "B 1 T H W"]
    noise: Float[Tensor, "B 1 T H W"]
    shared_noise: Float[Tensor, "B 1 H W"]
    context_noise: Float[Tensor, "B 1 T H W"]
    uniforms: Float[Tensor, "B 2"]
    sample_id: Int64[Tensor, " B"]


@dataclass
class FrameBatch(Batch):
    """Frames to train or test a segmenter on.

    Attributes:
        image: ``B F H W``, a frame between its neighbours, normalised (:func:`normalise_frames`).
        wire_mask: ``B 1 H W``, of the centre frame.
        ignore: ``B 1 H W``, 1 where nobody knows whether there is wire: no loss or measure counts these pixels.
        row: ``B``, row of the artifact's frames table, or the sample id while training.
    """

    image: Float[Tensor, "B F H W"]
    wire_mask: Float[Tensor, "B 1 H W"]
    ignore: Float[Tensor, "B 1 H W"]
    row: Int64[Tensor, " B"]


@dataclass
class GenerationBatch(Batch):
    """Fresh clips to generate: a mask sequence each, and under which identity.

    Attributes:
        wire_mask: ``B 1 T H W``.
        nearness: ``B 1 T H W``.
        sample_id: ``B``.
        origin: Where each mask sequence comes from: ``labelled`` or ``simulated``.
        mask_source: Name of the clip, or seed of the simulator.
        scene: ``B 1 H W``, first frame in 0..1 to go on from; None where that is to be drawn.
    """

    wire_mask: Float[Tensor, "B 1 T H W"]
    nearness: Float[Tensor, "B 1 T H W"]
    sample_id: Int64[Tensor, " B"]
    origin: list[str]
    mask_source: list[str]
    scene: Float[Tensor, "B 1 H W"] | None = None
