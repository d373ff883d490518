"""Presets: the numbers under ``stages/``, and which of them this machine can do."""

from pathlib import Path
from typing import Any

import torch
import yaml

from sfvd_pl.datasets.modules.base import cpu_cores
from sfvd_pl.errors import ConfigError
from sfvd_pl.pipeline.hashing import PACKAGE

WORKSTATION_MEMORY_GIB = 16
"""GPU memory from which the workstation preset fits."""


def stages_folder(folder: Path | None = None) -> Path:
    """The folder of presets: as given, the checkout's ``stages``, or the copy inside an installed package."""
    candidates = [folder] if folder else [Path("stages"), PACKAGE.parent.parent / "stages", PACKAGE / "_stages"]
    for candidate in candidates:
        if candidate is not None and any(candidate.glob("*/scene.yaml")):
            return candidate
    raise ConfigError(
        "the presets can't be found",
        file=folder or Path("stages"),
        key="stages",
        expected="a folder with PRESET/scene.yaml",
        remedy="run from the project's root, or pass --stages FOLDER",
    )


def machine_preset() -> tuple[str, str]:
    """The preset that this machine can do, and why."""
    if not torch.cuda.is_available():
        return "tiny", f"no GPU, {cpu_cores()} CPU cores"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    facts = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"
    return ("workstation" if memory >= WORKSTATION_MEMORY_GIB else "tiny"), facts


def chosen_preset(name: str) -> str:
    """The preset of a name; of ``auto`` this machine's, with a word on why."""
    if name != "auto":
        return name
    preset, why = machine_preset()
    print(f"preset {preset}, chosen for this machine: {why}")
    return preset


def load_preset(folder: Path, preset: str, name: str) -> dict[str, Any]:
    """One YAML file of a preset.

    Raises:
        ConfigError: No such preset or file, or not a mapping.
    """
    path = folder / preset / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.parent.name for p in folder.glob("*/scene.yaml"))
        raise ConfigError(
            "no such preset" if preset not in known else "the preset lacks a file",
            file=path,
            key="preset",
            expected=known,
            found=preset,
            remedy="choose a preset that exists, or write its YAML files",
        )
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ConfigError("a preset file must be a mapping", file=path, expected="key: value", found=type(content))
    return content


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over`` on top, mapping by mapping."""
    out = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def set_dotted(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """``config`` with ``a.b.c`` set; missing mappings are made."""
    head, _, rest = key.partition(".")
    inner = config.get(head)
    if not rest:
        return {**config, head: value}
    return {**config, head: set_dotted(inner if isinstance(inner, dict) else {}, rest, value)}


def parse_overrides(arguments: list[str], known: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """``--STEP.key value`` pairs by step.

    Args:
        arguments: What the command line left over.
        known: Steps that can be set.

    Raises:
        ConfigError: An argument that is none of these.
    """
    overrides: dict[str, dict[str, Any]] = {}
    rest = [part for a in arguments for part in (a.split("=", 1) if a.startswith("--") else [a])]
    while rest:
        flag = rest.pop(0)
        step, _, key = flag.removeprefix("--").partition(".")
        if not flag.startswith("--") or step not in known or not key or not rest:
            raise ConfigError(
                "unknown argument",
                key=flag,
                expected="--STEP.KEY VALUE with STEP one of " + ", ".join(known),
                remedy="sfvd run --help lists the arguments; `sfvd STEP fit --print_config` the keys",
            )
        overrides[step] = set_dotted(overrides.get(step, {}), key, yaml.safe_load(rest.pop(0)))
    return overrides
