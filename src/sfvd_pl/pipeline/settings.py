"""What ``sfvd run`` is asked for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfvd_pl.errors import ConfigError

STAGES = ("source", "stage1", "stage2", "rollout", "guides", "clips", "augment", "segment")
"""In order; each needs those before it, but nothing needs ``rollout``. ``augment`` is ``guides``, then ``clips``, which
many processes may share."""
STEPS = (
    "source", "check", "scene", "motion", "rollout", "guide", "gate", "augment", "evaluator", "features", "segment",
)  # fmt: skip
"""Steps whose settings the command line can set, by the preset file that they come from."""


@dataclass(frozen=True)
class RunSettings:
    """What ``sfvd run`` is asked for.

    Attributes:
        name: Name of the run.
        root: Folder that holds all runs.
        preset: Name of the preset.
        stages: Folder of presets.
        data: Folder of clips, or one recording; None simulates them.
        seed: Of everything.
        devices: As in Lightning's Trainer; of each machine.
        split: Settings of the split (``split_settings``), on top of the preset's.
        seeds: Seeds of the comparison's arms; each arm is trained once for each.
        overrides: Settings by step, on top of the preset.
        nodes: Machines that train together; the launcher starts a process for each device of each.
        launcher: Command that trainings and generation are started by, ``srun`` for one; empty for none.
    """

    name: str
    root: Path
    preset: str
    stages: Path
    data: Path | None = None
    seed: int = 0
    devices: str = "auto"
    split: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    nodes: int = 1
    launcher: tuple[str, ...] = ()


def as_devices(text: str) -> int | str:
    """Lightning's ``devices``: a number or ``auto``."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError("not a number of devices", key="devices", expected="a number or auto", found=text) from error
