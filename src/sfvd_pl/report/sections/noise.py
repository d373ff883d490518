"""The section on grain."""

from collections.abc import Mapping
from typing import Any

from sfvd_pl.report import plots
from sfvd_pl.report.embed import svg_picture
from sfvd_pl.report.numbers import number
from sfvd_pl.report.sections.rows import ABOUT_ROWS, Measure, all_rows, curves_picture, rows_plots, rows_table
from sfvd_pl.report.views import Block, Picture, Table, View

MEASURES = (
    Measure("pixel_std", "spread of grey values"),
    Measure("residual_std", "fine noise (residual)", plotted=True),
    Measure("noise_std", "noise between frames", plotted=True),
)


def noise_view(section: Mapping[str, Any]) -> View:
    """Deviations, correlation over time, spectrum."""
    blocks = [
        Block(
            text=[
                "Intensities are shares of full scale. The residual is a frame minus its own blur, away from the "
                "wire: its grain. Clips with too little of it are easy to segment, and flatter every figure on labels.",
            ],
            tables=[_compared(section)],
            pictures=[] if "rows" in section else _autocorrelation(section),
        )
    ]
    rows = all_rows(section)
    if rows:
        lags, frequencies = section["lags"], section["frequencies"]
        curves = curves_picture(
            rows, [row["autocorrelation"] for row in rows], lags, "lag in frames", "correlation of residual",
            "A detector's noise is new in each frame. Synthetic above real means frozen grain.", zero=True,
        ) + curves_picture(
            rows, [row["spectrum"] for row in rows], frequencies, "cycles a pixel", "noise power",
            "Noise power spectrum over its own mean: white noise is 1 everywhere.", floor=0,
        )  # fmt: skip
        blocks.append(
            Block("Set by set", [ABOUT_ROWS], [rows_table(rows, MEASURES, "Noise of each set, mean over clips")],
                  [*curves, *rows_plots(rows, MEASURES)])
        )  # fmt: skip
    return View("noise", "Is the noise real?", "Noise", blocks)


def _compared(section: Mapping[str, Any]) -> Table:
    rows = [("all pixels", section["pixel_std"]), ("residual", section["residual_std"])]
    return Table(
        "Standard deviation of all clips together, as a share of full scale",
        ["", "real", "synthetic", "synthetic / real"],
        [[title, number(r["real"], 4), number(r["synthetic"], 4), number(r["ratio"])] for title, r in rows],
    )


def _autocorrelation(section: Mapping[str, Any]) -> list[Picture]:
    table = section["residual_autocorrelation"]
    rows = "; ".join(
        f"lag {lag}: real {number(real)}, synthetic {number(synthetic)}"
        for lag, real, synthetic in zip(table["lags"], table["real"], table["synthetic"], strict=True)
    )
    caption = "A detector's noise is new in each frame. Synthetic above real means frozen grain."
    return [svg_picture(plots.autocorrelation_plot(section), f"Correlation of the residual by lag. {rows}", caption)]
