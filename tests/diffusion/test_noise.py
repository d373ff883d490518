"""Noise that belongs to a sample: the same bytes in any batch."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfvd_pl.diffusion import sample_noise, sample_seed


@given(ids=st.lists(st.integers(0, 2**40), min_size=1, max_size=7), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_sample_draws_the_same_in_any_batch(ids: list[int], seed: int) -> None:
    together = sample_noise(seed, ids, (1, 3, 5, 7), "x_T")
    backwards = sample_noise(seed, torch.tensor(ids[::-1]), (1, 3, 5, 7), "x_T").flip(0)
    alone = torch.cat([sample_noise(seed, [i], (1, 3, 5, 7), "x_T") for i in ids])
    assert together.shape == (len(ids), 1, 3, 5, 7) and together.dtype == torch.float32
    assert together.numpy().tobytes() == alone.numpy().tobytes() == backwards.numpy().tobytes()


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = sample_noise(1, [2], (8,), "a")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(sample_noise(1, [2], (8,), "a"), first)


def test_seed_id_and_purpose_all_matter() -> None:
    seeds = {sample_seed(s, i, p) for s in range(20) for i in range(20) for p in ("a", "b", "1")}
    assert len(seeds) == 20 * 20 * 3
    assert all(0 <= s < 2**63 for s in seeds)
    # Fields must not run into one another.
    assert sample_seed(1, 11, "a") != sample_seed(11, 1, "a")
    assert sample_seed(1, 1, "1a") != sample_seed(1, 11, "a")


def test_the_seed_never_changes() -> None:
    """Written down: artifacts on disk were made from these numbers."""
    assert sample_seed(0, 0, "x_T") == 0x6C1D7C25FCC896B7


def test_the_noise_is_standard_normal_and_independent() -> None:
    noise = sample_noise(3, range(64), (1000,), "x_T")
    assert noise.mean().abs() < 0.02 and (noise.std() - 1).abs() < 0.02
    correlation = torch.corrcoef(noise) - torch.eye(64)
    assert correlation.abs().max() < 0.17, "beyond five standard errors"
    other = sample_noise(3, range(64), (1000,), "step 0")
    assert (noise * other).mean().abs() < 0.02


def test_no_samples_give_an_empty_batch() -> None:
    assert sample_noise(0, [], (1, 2), "x").shape == (0, 1, 2)
