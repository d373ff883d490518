"""The file ``metrics.json``: its keys, its checks, its reading and writing. ``docs/metrics.md`` says what
each means.

A number that could not be measured is NaN in code and null in the file. The sections ``label_fidelity``,
``noise``, ``visibility``, ``gate`` and ``segmentation`` are there only if they were measured; every key
within a section that is there must be.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfvd_pl.errors import MetricsError

SCHEMA_VERSION = 1
SECTIONS: tuple[str, ...] = ("label_fidelity", "noise", "visibility", "gate", "segmentation")

Check = Callable[[object, str], None]


def validate_metrics(metrics: Mapping[str, Any]) -> None:
    """Check a whole metrics file, before it is written or reported.

    Args:
        metrics: As in ``metrics.json``; NaN stands for null.

    Raises:
        MetricsError: At the first key that is missing, unknown, of the wrong type, out of range or at odds
            with another; its ``key`` is the full path, such as ``gate.rate``.
    """
    _validate(metrics)


def _validate(metrics: Any) -> None:
    """:func:`validate_metrics` of whatever a file held."""
    _METRICS(metrics, "")
    version = metrics["schema_version"]
    if version != SCHEMA_VERSION:
        _fail(
            "schema_version",
            SCHEMA_VERSION,
            version,
            "write the metrics again with this version of the package",
        )
    for section, check in _CROSS_CHECKS.items():
        if section in metrics:
            check(metrics[section])


def clean_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A copy made of JSON's own types: NumPy numbers and arrays converted, NaN and infinities null."""
    return {str(key): _clean(value) for key, value in metrics.items()}


def write_metrics(path: str | os.PathLike[str], metrics: Mapping[str, Any]) -> Path:
    """Check and write a metrics file; it appears under its name only when it is whole.

    Raises:
        MetricsError: If the metrics break the schema; nothing is written.
    """
    target = Path(path)
    cleaned = clean_metrics(metrics)
    validate_metrics(cleaned)
    text = json.dumps(cleaned, indent=2, allow_nan=False) + "\n"
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
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


def _clean(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _clean(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _clean(value.tolist())
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _fail(
    key: str, expected: object, found: object, remedy: str = "see docs/metrics.md for this key"
) -> None:
    raise MetricsError(
        f"the metrics break their schema at {key or 'the top level'}",
        key=key or None,
        expected=expected,
        found=found,
        remedy=remedy,
    )


def _number(low: int | float = -math.inf, high: int | float = math.inf) -> Check:
    """A number in ``low..high``; null and NaN say that it is not known."""

    def check(value: object, key: str) -> None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
            _fail(key, "a finite number or null", repr(value))
        elif not low <= value <= high:
            _fail(key, f"a number in {low}..{high}", value)

    return check


def _limit(value: object, key: str) -> None:
    """A bin's limit: as a number, but it may be infinite (null in a file)."""
    if not (isinstance(value, float) and math.isinf(value)):
        _number()(value, key)


def _integer(low: int | None = 0) -> Check:
    def check(value: object, key: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or (low is not None and value < low):
            _fail(key, "an integer" if low is None else f"an integer, {low} or more", repr(value))

    return check


def _text(value: object, key: str) -> None:
    if not isinstance(value, str):
        _fail(key, "text", repr(value))


def _anything(value: object, key: str) -> None:
    """Free-form: text, numbers, lists and mappings, as JSON has them."""
    try:
        json.dumps(_clean(value))
    except TypeError:
        _fail(key, "what JSON can hold", repr(value))


def _list(item: Check) -> Check:
    def check(value: object, key: str) -> None:
        if not isinstance(value, list | tuple):
            _fail(key, "a list", repr(value))
            return
        for index, entry in enumerate(value):
            item(entry, f"{key}[{index}]")

    return check


def _mapping(item: Check) -> Check:
    def check(value: object, key: str) -> None:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            _fail(key, "a mapping from text", repr(value))
            return
        for name, entry in value.items():
            item(entry, f"{key}.{name}")

    return check


def _object(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Exactly these keys: a missing or unknown one is an error."""
    extra = optional or {}

    def check(value: object, key: str) -> None:
        prefix = f"{key}." if key else ""
        if not isinstance(value, Mapping):
            _fail(key, "a mapping", repr(value))
            return
        for name in required:
            if name not in value:
                _fail(prefix + name, "to be there", "missing")
        for name, entry in value.items():
            if name not in required and name not in extra:
                _fail(f"{prefix}{name}", f"one of {sorted([*required, *extra])}", "an unknown key")
            else:
                (required.get(name) or extra[name])(entry, prefix + name)

    return check


_SHARE = _number(0, 1)
_POSITIVE = _number(0)
_CORRELATION = _number(-1.0000001, 1.0000001)


def _interval(value: Check) -> Check:
    return _object({"mean": value, "low": value, "high": value})


_FIDELITY = _object({"dice": _SHARE, "low": _SHARE, "high": _SHARE, "n_clips": _integer()})
_COMPARED = _object({"synthetic": _POSITIVE, "real": _POSITIVE, "ratio": _POSITIVE})
_MADE = _object({"name": _text, "content_hash": _text, "patients": _list(_text)})
_REQUIRED_MEASURES: dict[str, Check] = {"dice": _SHARE, "cldice": _SHARE, "tip_error_px": _POSITIVE}
_OPTIONAL_MEASURES: dict[str, Check] = {"iou": _SHARE, "hd95_px": _POSITIVE, "assd_px": _POSITIVE}


def _intervals(measures: Mapping[str, Check]) -> dict[str, Check]:
    return {name: _interval(check) for name, check in measures.items()}


def _signed(measures: Mapping[str, Check]) -> dict[str, Check]:
    return {name: _interval(_number()) for name in measures}


_ARM = _object(
    {
        "name": _text,
        **_intervals(_REQUIRED_MEASURES),
        "patients": _mapping(_object(_REQUIRED_MEASURES, _OPTIONAL_MEASURES)),
    },
    {
        **_intervals(_OPTIONAL_MEASURES),
        "difference": _object(
            {"reference": _text, **_signed(_REQUIRED_MEASURES)}, _signed(_OPTIONAL_MEASURES)
        ),
    },
)

_METRICS = _object(
    {
        "schema_version": _integer(),
        "run": _text,
        "preset": _text,
        "seed": _integer(None),
        "machine": _mapping(_anything),
        "stages": _list(_object({"name": _text, "seconds": _POSITIVE, "made": _list(_MADE)})),
    },
    {
        "label_fidelity": _object(
            {
                "synthetic": _FIDELITY,
                "real": _FIDELITY,
                "ratio": _POSITIVE,
                "shuffled": _object({"dice": _SHARE}),
                "by_frame": _object({"synthetic": _list(_SHARE), "real": _list(_SHARE)}),
                "drift": _POSITIVE,
                "by_visibility": _list(
                    _object(
                        {
                            "low": _limit,
                            "high": _limit,
                            "synthetic": _SHARE,
                            "real": _SHARE,
                            "n_synthetic": _integer(),
                            "n_real": _integer(),
                        }
                    )
                ),
            }
        ),
        "noise": _object(
            {
                "pixel_std": _COMPARED,
                "residual_std": _COMPARED,
                "residual_autocorrelation": _object(
                    {
                        "lags": _list(_integer()),
                        "synthetic": _list(_CORRELATION),
                        "real": _list(_CORRELATION),
                        "difference": _number(-2, 2),
                    }
                ),
            }
        ),
        "visibility": _object(
            {
                "spearman": _CORRELATION,
                "n": _integer(),
                "requested": _list(_number()),
                "measured": _list(_number()),
            }
        ),
        "gate": _object(
            {
                "n": _integer(),
                "accepted": _integer(),
                "rate": _SHARE,
                "dice_threshold": _SHARE,
                "visibility_threshold": _number(),
                "reasons": _mapping(_integer()),
            }
        ),
        "segmentation": _object(
            {"n_patients": _integer(), "seeds": _list(_integer(None)), "arms": _list(_ARM)}
        ),
    },
)


def _check_noise(section: Mapping[str, Any]) -> None:
    table = section["residual_autocorrelation"]
    for name in ("synthetic", "real"):
        if len(table[name]) != len(table["lags"]):
            key = f"noise.residual_autocorrelation.{name}"
            _fail(key, f"{len(table['lags'])} values, one a lag", len(table[name]))


def _check_visibility(section: Mapping[str, Any]) -> None:
    for name in ("requested", "measured"):
        if len(section[name]) != section["n"]:
            _fail(f"visibility.{name}", f"{section['n']} values, as visibility.n says", len(section[name]))


def _check_gate(section: Mapping[str, Any]) -> None:
    n, accepted, rejected = section["n"], section["accepted"], sum(section["reasons"].values())
    if accepted + rejected != n:
        _fail("gate.reasons", f"{n - accepted} rejected clips, n less accepted", rejected)
    rate = section["rate"]
    if n and (rate is None or not math.isclose(rate, accepted / n, abs_tol=1e-6)):
        _fail("gate.rate", accepted / n, rate)


def _check_segmentation(section: Mapping[str, Any]) -> None:
    arms: Sequence[Mapping[str, Any]] = section["arms"]
    names = [arm["name"] for arm in arms]
    if len(set(names)) != len(names):
        _fail("segmentation.arms", "a different name for each arm", names)
    for index, arm in enumerate(arms):
        if len(arm["patients"]) != section["n_patients"]:
            key = f"segmentation.arms[{index}].patients"
            _fail(
                key,
                f"{section['n_patients']} patients, as segmentation.n_patients says",
                len(arm["patients"]),
            )
        if "difference" in arm and arm["difference"]["reference"] not in names:
            key = f"segmentation.arms[{index}].difference.reference"
            _fail(key, f"one of {names}", arm["difference"]["reference"])


_CROSS_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "noise": _check_noise,
    "visibility": _check_visibility,
    "gate": _check_gate,
    "segmentation": _check_segmentation,
}
