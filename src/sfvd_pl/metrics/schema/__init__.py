"""The file ``metrics.json``: its keys, its checks, its reading and writing. ``docs/metrics.md`` says what
each means.

A number that could not be measured is NaN in code and null in the file. A section is there only if it was measured,
and every key within a section that is there must be; ``not_measured`` says why another one isn't.
"""

from sfvd_pl.metrics.schema.file import (
    SCHEMA_VERSION,
    clean_metrics,
    read_metrics,
    validate_metrics,
    validate_section,
    write_metrics,
)
from sfvd_pl.metrics.schema.sections import SECTIONS

__all__ = [
    "SCHEMA_VERSION",
    "SECTIONS",
    "clean_metrics",
    "read_metrics",
    "validate_metrics",
    "validate_section",
    "write_metrics",
]
