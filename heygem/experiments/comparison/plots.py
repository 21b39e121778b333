"""Numbers of several runs as figures: bars for measures, lines for lip curves."""

import numpy as np

#: One colour a run, told apart by the colour-blind too (Okabe & Ito 2008), readable on both themes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#A0522D")
#: What is worth a bar, where the runs have it; the rest is in the table.
SHOWN = (
    ("measures.av_corr", "mouth follows sound [r]"),
    ("measures.av_offset_ms", "mouth behind sound [ms]"),
    ("measures.silence_leakage", "movement in silence [of speech]"),
    ("timings.render_s", "drawing [s]"),
    ("seconds", "whole item [s]"),
    ("warnings", "warnings"),
    ("preview.seconds", "preview [s]"),
)
MOST_BARS = 6


def bars(rows, letters):
    """Measures side by side, one panel each.

    Parameters
    ----------
    rows : list of heygem.experiments.comparison.table.Row
    letters : list of str
        Of the runs.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where nothing differs.
    """
    from matplotlib.figure import Figure

    known = {row.key: row for row in rows}
    shown = [(known[key], title) for key, title in SHOWN if key in known and known[key].differs]
    if not shown:  # runs of another kind
        shown = [(row, row.key) for row in rows if row.differs]
    shown = shown[:MOST_BARS]
    if not shown:
        return None
    figure = Figure(figsize=(2.1 * len(shown), 2.4), layout="constrained")
    for axes, (row, title) in zip(
        np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True
    ):
        values = [np.nan if value is None else value for value in row.values]
        axes.bar(letters, values, color=[colour(k) for k in range(len(values))])
        for k, value in enumerate(values):
            if np.isfinite(value):
                axes.annotate(f"{value:.3g}", (k, max(value, 0)), ha="center", va="bottom", size=8)
        axes.set_title(title, size=9)
        axes.margins(y=0.18)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def curves(runs, letters, *, instants=()):
    """Lip opening over time, one line a run.

    Parameters
    ----------
    runs : list of heygem.experiments.runs.Run
    letters : list of str
    instants : float [n], seconds
        Marked: what the contact sheet shows.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no run kept its curve.
    """
    from matplotlib.figure import Figure

    known = [(k, run.curve) for k, run in enumerate(runs) if run.curve is not None]
    if not known:
        return None
    figure = Figure(figsize=(12, 3), layout="constrained")
    axes = figure.subplots()
    for k, (times_s, opening) in known:
        axes.plot(times_s, opening, lw=1.2, color=colour(k), label=f"{letters[k]}  {runs[k].name}")
    for time_s in instants:
        axes.axvline(time_s, color="0.6", lw=0.6, ls=":")
    axes.axhline(0, color="0.7", lw=0.5)
    axes.set_xlim(0, max(times_s[-1] for _, (times_s, _) in known))
    axes.set_xlabel("time [s]")
    axes.set_ylabel("opening [eye distances]")
    axes.legend(loc="upper right", ncols=min(4, len(known)), frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def colour(number) -> str:
    """Of the run with this number."""
    return COLOURS[number % len(COLOURS)]
