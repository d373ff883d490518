"""Where clips come from: the simulator and folders of pictures. Each yields the same ``Clip``."""

from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.meta import META_KEYS, Meta, read_meta
from sfvd_pl.sources.patients import Patients
from sfvd_pl.sources.phantom.config import PhantomConfig
from sfvd_pl.sources.phantom.simulate import simulate_clips, simulate_wire_masks
from sfvd_pl.sources.recording import Recording, Scan
from sfvd_pl.sources.split import ClipMeta, SplitConfig, assign_splits, draw_labelled
from sfvd_pl.sources.walk import scan_source
from sfvd_pl.sources.write import Summary, write_source

__all__ = [
    "Clip",
    "ClipMeta",
    "META_KEYS",
    "Meta",
    "Patients",
    "PhantomConfig",
    "Recording",
    "Scan",
    "SplitConfig",
    "Summary",
    "assign_splits",
    "draw_labelled",
    "read_meta",
    "scan_source",
    "simulate_clips",
    "simulate_wire_masks",
    "write_source",
]
