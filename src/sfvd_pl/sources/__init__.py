"""Where clips come from: the simulator and folders of pictures. Each yields the same ``Clip``."""

from sfvd_pl.sources.clip import Clip
from sfvd_pl.sources.frames import FolderScan, scan_folder
from sfvd_pl.sources.phantom import simulate_clips, simulate_wire_masks
from sfvd_pl.sources.phantom_config import PhantomConfig
from sfvd_pl.sources.write import (
    ClipMeta,
    SplitConfig,
    Summary,
    assign_splits,
    draw_labelled,
    write_source,
)

__all__ = [
    "Clip",
    "ClipMeta",
    "FolderScan",
    "PhantomConfig",
    "SplitConfig",
    "Summary",
    "assign_splits",
    "draw_labelled",
    "scan_folder",
    "simulate_clips",
    "simulate_wire_masks",
    "write_source",
]
