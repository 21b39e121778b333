"""Figures of several runs: bars for metrics, lines for lip curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from heygem.core.types import FloatArray
from heygem.experiments.comparison.table import Row
from heygem.experiments.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: One colour per run, distinguishable with colour blindness (Okabe & Ito 2008), on both themes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#A0522D")
#: Metrics that get a panel if the runs have them; the others are in the table.
PANELS = (
    ("measures.av_corr", "mouth follows sound [r]"),
    ("measures.av_offset_ms", "mouth behind sound [ms]"),
    ("measures.silence_leakage", "movement in silence [of speech]"),
    ("timings.render_s", "drawing [s]"),
    ("seconds", "whole item [s]"),
    ("warnings", "warnings"),
    ("preview.seconds", "preview [s]"),
)
MAX_PANELS = 6


def metric_bars(rows: Sequence[Row], letters: Sequence[str]) -> "Figure | None":
    """One bar panel per metric; None if no metric differs.

    Parameters
    ----------
    rows
        Metrics.
    letters
        Of the runs.
    """
    from matplotlib.figure import Figure

    by_key = {row.key: row for row in rows}
    panels = [
        (by_key[key], title) for key, title in PANELS if key in by_key and by_key[key].differs
    ]
    if not panels:  # runs of another kind
        panels = [(row, row.key) for row in rows if row.differs]
    panels = panels[:MAX_PANELS]
    if not panels:
        return None
    figure = Figure(figsize=(2.1 * len(panels), 2.4), layout="constrained")
    for axes, (row, title) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True
    ):
        values = [np.nan if value is None else float(value) for value in row.values]
        axes.bar(letters, values, color=[run_colour(k) for k in range(len(values))])
        for k, value in enumerate(values):
            if np.isfinite(value):
                axes.annotate(f"{value:.3g}", (k, max(value, 0)), ha="center", va="bottom", size=8)
        axes.set_title(title, size=9)
        axes.margins(y=0.18)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def lip_curves(
    runs: Sequence[Run], letters: Sequence[str], *, instants_s: FloatArray | Sequence[float] = ()
) -> "Figure | None":
    """Lip aperture over time, one line per run; None if no run recorded its curve.

    Parameters
    ----------
    runs
    letters
        Of the runs.
    instants_s
        Times of the contact sheet, marked in the figure.
    """
    from matplotlib.figure import Figure

    curves = [(k, run.lip_curve) for k, run in enumerate(runs) if run.lip_curve is not None]
    if not curves:
        return None
    figure = Figure(figsize=(12, 3), layout="constrained")
    axes = figure.subplots()
    for k, (times_s, aperture) in curves:
        label = f"{letters[k]}  {runs[k].name}"
        axes.plot(times_s, aperture, lw=1.2, color=run_colour(k), label=label)
    for time_s in instants_s:
        axes.axvline(time_s, color="0.6", lw=0.6, ls=":")
    axes.axhline(0, color="0.7", lw=0.5)
    axes.set_xlim(0, max(times_s[-1] for _, (times_s, _) in curves))
    axes.set_xlabel("time [s]")
    axes.set_ylabel("aperture from rest [IOD]")
    axes.legend(loc="upper right", ncols=min(4, len(curves)), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def run_colour(k: int) -> str:
    """Colour of run number `k`."""
    return COLOURS[k % len(COLOURS)]
