"""Quality control of a source artifact: measured clip by clip, then held against rules."""

from sfvd_pl.sources.check.run import check_source, refuse

__all__ = ["check_source", "refuse"]
