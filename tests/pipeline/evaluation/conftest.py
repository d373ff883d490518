"""The toy source."""

from toy_fixtures import models, source

__all__ = ["models", "source"]
