"""Import of clips from anywhere: found, read in parallel, kept part by part, put together as a source artifact."""

from sfvd_pl.sources.importing.config import ImportConfig
from sfvd_pl.sources.importing.run import import_source

__all__ = ["ImportConfig", "import_source"]
