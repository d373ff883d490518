"""The section ``seam``."""

from sfvd_pl.metrics.schema.checks import CORRELATION, POSITIVE, Section, integer, interval, keys, rows

SECTION = Section(
    keys(
        {
            "edge_px": integer(1),
            "rows": rows(
                {
                    "std_ratio": interval(POSITIVE),
                    "autocorrelation": interval(CORRELATION),
                    "autocorrelation_real": interval(CORRELATION),
                }
            ),
        }
    )
)
