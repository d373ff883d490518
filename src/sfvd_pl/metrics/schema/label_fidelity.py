"""The section ``label_fidelity``."""

from sfvd_pl.metrics.schema.checks import POSITIVE, SHARE, Section, integer, keys, limit, listed, text

_FIDELITY = keys({"dice": SHARE, "low": SHARE, "high": SHARE, "n_clips": integer()})
_BIN = keys(
    {
        "low": limit,
        "high": limit,
        "synthetic": SHARE,
        "real": SHARE,
        "n_synthetic": integer(),
        "n_real": integer(),
    }
)

SECTION = Section(
    keys(
        {
            "synthetic": _FIDELITY,
            "real": _FIDELITY,
            "ratio": POSITIVE,
            "shuffled": keys({"dice": SHARE}),
            "by_frame": keys({"synthetic": listed(SHARE), "real": listed(SHARE)}),
            "drift": POSITIVE,
            "by_visibility": listed(_BIN),
        },
        {"clips": listed(keys({"number": integer(), "name": text, "dice": SHARE}))},
    )
)
