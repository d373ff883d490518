"""The toy source and models."""

from toy_fixtures import models, source

__all__ = ["models", "source"]
