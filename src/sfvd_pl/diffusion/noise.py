"""Random numbers that belong to a sample, not to a batch.

Every number a sample needs is decided by (seed, sample id, purpose): not by the batch it shares, the worker
that loaded it or the number of processes. Numbers are drawn on the CPU, whose generator does not depend on
the accelerator; move the result.
"""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

SampleIdList = Sequence[int] | Int64[Tensor, " B"]


def sample_seed(seed: int, sample_id: int, purpose: str) -> int:
    """A seed of 63 bits from sha256, independent for each (seed, sample id, purpose).

    A hash rather than ``seed + sample_id``: sums collide, and neighbouring seeds of some generators
    correlate.
    """
    digest = hashlib.sha256(f"{seed}\x1f{sample_id}\x1f{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def sample_generator(seed: int, sample_id: int, purpose: str) -> torch.Generator:
    """A CPU generator at the start of the stream of one sample and purpose."""
    return torch.Generator().manual_seed(sample_seed(seed, sample_id, purpose))


def sample_noise(
    seed: int, sample_ids: SampleIdList, shape: Sequence[int], purpose: str
) -> Float[Tensor, "B ..."]:
    """Standard normal noise, (B, *shape), float32 on the CPU, one generator a sample.

    Args:
        seed: The run's seed.
        sample_ids: Identities, (B,). The same id gives the same noise in any batch.
        shape: Shape of one sample's noise, without the batch axis.
        purpose: A name for what it is for: two purposes give independent noise.
    """
    rows = [
        torch.randn(tuple(shape), generator=sample_generator(seed, i, purpose)) for i in _as_ints(sample_ids)
    ]
    return torch.stack(rows) if rows else torch.empty((0, *shape))


def _as_ints(sample_ids: SampleIdList) -> list[int]:
    return sample_ids.tolist() if isinstance(sample_ids, Tensor) else list(sample_ids)
