"""The file ``metrics.json`` as a whole: its checks, its reading and writing."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.schema.checks import (
    POSITIVE,
    anything,
    cleaned,
    fail,
    integer,
    keys,
    listed,
    mapping,
    text,
)
from sfvd_pl.metrics.schema.sections import SECTION_CHECKS, SECTIONS

SCHEMA_VERSION = 2

_MADE = keys({"name": text, "content_hash": text, "patients": listed(text)})
_STAGE = keys({"name": text, "seconds": POSITIVE, "made": listed(_MADE)}, {"settings": mapping(anything)})
_SET = keys(
    {"title": text, "identity": text, "clips": integer(), "patients": integer()}, {"backgrounds": mapping(integer(1))}
)
_FILE = keys(
    {
        "schema_version": integer(),
        "run": text,
        "preset": text,
        "seed": integer(None),
        "machine": mapping(anything),
        "stages": listed(_STAGE),
        "sets": mapping(_SET),
        "not_measured": mapping(text),
    },
    {name: section.check for name, section in SECTION_CHECKS.items()},
)


def validate_metrics(metrics: Mapping[str, Any]) -> None:
    """Check a whole metrics file, before it is written or reported.

    Args:
        metrics: As in ``metrics.json``; NaN stands for null.

    Raises:
        MetricsError: At the first key that is missing, unknown, of the wrong type, out of range or at odds
            with another; its ``key`` is the full path, such as ``gate.rate``.
    """
    _validate(metrics)


def validate_section(name: str, section: Any) -> None:
    """Check one section by itself.

    Raises:
        MetricsError: As :func:`validate_metrics`.
    """
    if name not in SECTION_CHECKS:
        fail(name, f"one of {list(SECTIONS)}", "an unknown section")
    SECTION_CHECKS[name].check(section, name)
    SECTION_CHECKS[name].consistent(section)


def _validate(metrics: Any) -> None:
    """:func:`validate_metrics` of whatever a file held."""
    version = metrics.get("schema_version") if isinstance(metrics, Mapping) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        fail("schema_version", SCHEMA_VERSION, version, "measure again with this version of the package")
    _FILE(metrics, "")
    for name in SECTIONS:
        if name in metrics:
            SECTION_CHECKS[name].consistent(metrics[name])
            if name in metrics["not_measured"]:
                fail(f"not_measured.{name}", "no reason for a section that is there", metrics["not_measured"][name])


def clean_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A copy made of JSON's own types: NumPy numbers and arrays converted, NaN and infinities null."""
    return {str(key): cleaned(value) for key, value in metrics.items()}


def write_metrics(path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> Path:
    """Check and write a metrics file; it appears under its name only when it is whole.

    Raises:
        MetricsError: If the metrics break the schema; nothing is written.
    """
    target = Path(path)
    clean = clean_metrics(metrics)
    validate_metrics(clean)
    content = json.dumps(clean, indent=2, allow_nan=False) + "\n"
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.write_text(content, encoding="utf-8")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check a metrics file.

    Raises:
        MetricsError: If it is not there, not JSON, or breaks the schema.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MetricsError(
            "the metrics file can't be read",
            file=path,
            expected="a JSON file written by this package",
            found=f"{type(error).__name__}: {error}",
            remedy="run the stage that writes it again",
        ) from error
    try:
        _validate(metrics)
    except MetricsError as error:
        raise MetricsError(
            error.message,
            file=path,
            key=error.key,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
    return dict(metrics)
