"""The toy source and models."""

from toy_fixtures import models, source, suspects

__all__ = ["models", "source", "suspects"]
