"""Pictures inside a page, and pages from their templates."""

import base64
from typing import Any

from sfvd_pl.report import numbers
from sfvd_pl.report.plots.base import width_px
from sfvd_pl.report.views import Picture


def data_uri(content: bytes, kind: str) -> str:
    """A picture of a kind (png, webp, svg+xml) inside an address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def svg_picture(content: bytes, alt: str, caption: str) -> Picture:
    """A plot, at the size it was drawn for."""
    return Picture(data_uri(content, "svg+xml"), alt, caption, width=width_px(content))


def fill(template: str, **values: Any) -> str:
    """A page from its template: everything escaped, nothing undefined, numbers as a reader wants them."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=numbers.number, signed=numbers.signed, interval=numbers.interval, duration=numbers.duration
    )
    return environment.from_string(template).render(**values)
