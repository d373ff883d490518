"""What a checkpoint says of itself, and loading it for inference.

A module's arguments are dataclasses, which a weights-only load refuses; they are kept in the checkpoint as plain
dictionaries and rebuilt by their type hints.
"""

import types
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import nn

from sfvd_pl.errors import CheckpointError, SfvdError

RECORD_KEY = "sfvd"
"""Where a checkpoint keeps its record."""

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def to_plain(value: Any) -> Any:
    """Dataclasses, enums, tuples and paths as dictionaries, values, lists and text."""
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(hint: Any, value: Any) -> Any:
    """The inverse of :func:`to_plain`, led by a type hint."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        return None if value is None else from_plain(inner[0], value)
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
        hints = get_type_hints(hint)
        known = {field.name for field in fields(hint)}
        unknown = sorted(set(value) - known)
        if unknown:
            raise CheckpointError(
                f"a setting is unknown to {hint.__name__}", key=unknown[0], expected=sorted(known), found=unknown
            )
        return hint(**{key: from_plain(hints[key], item) for key, item in value.items()})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(value, list) and get_origin(hint) in (tuple, Sequence):
        return tuple(value)
    return value


def differences(first: Mapping[Any, Any], second: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted key and both values wherever two trees of plain values differ; None stands for what isn't there."""
    if not isinstance(second, Mapping):
        return [(prefix.rstrip("."), first, second)]
    found: list[tuple[str, Any, Any]] = []
    for key in [*first, *(k for k in second if k not in first)]:
        a, b = first.get(key), second.get(key)
        if isinstance(a, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((f"{prefix}{key}", a, b))
    return found


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's bytes; None where each of them is what was written.

    PyTorch's own reader notices a file that was cut short, but not a flipped bit in a weight.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    # NotImplementedError: zipfile's answer to a flipped bit in the field that names the compression.
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {error}"
    return None if broken is None else f"the checksum of {broken} is wrong"


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """A checkpoint as plain data and tensors; nothing in it is executed.

    Raises:
        CheckpointError: Missing, damaged, or not one of this project's.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError("there is no such checkpoint", file=path, remedy="train the model first")
    broken, cause = damage(path), None
    if broken is None:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            broken, cause = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}", error
    if broken is not None:
        raise CheckpointError(
            "the checkpoint can't be read",
            file=path,
            expected="a whole PyTorch checkpoint",
            found=broken,
            remedy="take an earlier checkpoint, or train again",
        ) from cause
    if not isinstance(checkpoint, dict) or RECORD_KEY not in checkpoint:
        raise CheckpointError(
            "the checkpoint was not written by this project",
            file=path,
            key=RECORD_KEY,
            expected="a record of the model's settings",
            found="none",
        )
    return checkpoint


def load_for_inference(cls: type[ModuleT], path: Path | str, device: torch.device | str = "cpu") -> ModuleT:
    """A trained module: averaged weights, evaluation mode, no gradients.

    Raises:
        CheckpointError: Unreadable, or of another architecture.
    """
    checkpoint = read_checkpoint(path)
    record = checkpoint[RECORD_KEY]
    if record["class"] != cls.__name__:
        raise CheckpointError(
            "the checkpoint holds another kind of model",
            file=path,
            key="class",
            expected=cls.__name__,
            found=record["class"],
            remedy="pass the checkpoint of the right stage",
        )
    hints = get_type_hints(cls.__init__)
    try:
        module = cls(**{key: from_plain(hints[key], value) for key, value in record["config"].items()})
        module.load_state_dict(checkpoint["state_dict"])
    except (SfvdError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            "the checkpoint does not fit this version's architecture",
            file=path,
            expected=f"weights and settings of {cls.__name__}",
            found=" ".join(str(error).split())[:400],
            remedy=f"train again, or use the version that wrote it ({record.get('version', 'unknown')})",
        ) from error
    # Through __dict__: to the type checker an attribute of nn.Module is a tensor or a module.
    module.__dict__["learned_from"] = {key: record[key] for key in ("source", "patients") if key in record}
    return module.requires_grad_(False).eval().to(device)
