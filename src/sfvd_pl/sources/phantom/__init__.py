"""A simulator of cardiac fluoroscopy with a guidewire."""

from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.simulate import simulate_clips, simulate_wire_masks

__all__ = ["PhantomConfig", "simulate_clips", "simulate_wire_masks"]
