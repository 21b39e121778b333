"""Figures of an evaluation: metrics by method, and the fine-tuning curve."""

import math
from typing import TYPE_CHECKING

from heygem.evaluation.results import METRICS, MODEL, OWN_AUDIO, UNDEFINED, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 4
HIDDEN = {"audio_p", "changed_outside_px"}  # in the table only: nothing to see in a plot


def metrics_figure(results: Results) -> "Figure":
    """One panel per metric, one line per method: a dot per clip and a bar at the mean."""
    from matplotlib.figure import Figure  # importing it takes half a second

    means, methods = results.means(), results.methods()
    present = {key for measures in means.values() for key in measures}
    keys = [k for k in METRICS if k in present - HIDDEN]
    lines = math.ceil(len(keys) / COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS + 1.2, (0.26 * len(methods) + 0.75) * lines + 0.4))
    axes = figure.subplots(lines, COLUMNS, sharey=True, squeeze=False)
    for axis, key in zip(axes.flat, keys, strict=False):
        for i, method in enumerate(methods):
            values = [
                row.measures[key].value
                for row in results.rows
                if row.method == method and row.audio == OWN_AUDIO and key in row.measures
            ]
            colour = "tab:red" if method == MODEL else "0.45"
            axis.plot(values, [i] * len(values), "o", ms=3, color=colour, alpha=0.5)
            if key in means[method]:
                axis.plot(means[method][key].value, i, "|", ms=14, mew=2, color=colour)
        metric = METRICS[key]
        axis.set_title(f"{metric.label} (ideal: {metric.target})", fontsize=8)
        axis.set_yticks(range(len(methods)), methods, fontsize=7)
        axis.set_ylim(len(methods) - 0.5, -0.5)
        axis.tick_params(axis="x", labelsize=7)
        axis.grid(axis="x", alpha=0.3)
    for axis in axes.flat[len(keys) :]:
        axis.set_visible(False)
    figure.suptitle(f"{results.model}: re-tracked output, held-out part of each clip", fontsize=10)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    return figure


def finetune_figure(results: Results) -> "Figure":
    """Correlation over seconds of the person's footage: a thin line per clip, and the mean."""
    from matplotlib.figure import Figure

    key = "lag_corrected_corr"
    figure = Figure(figsize=(5.5, 3.6))
    axis = figure.subplots()
    for clip in dict.fromkeys(point.clip for point in results.points):
        points = [point for point in results.points if point.clip == clip]
        values = [point.measures[key].value for point in points]
        axis.plot([p.seconds for p in points], values, "o-", ms=3, lw=0.8, alpha=0.6, label=clip)
    means = {
        seconds: measures[key]
        for seconds, measures in results.finetune_means().items()
        if measures.get(key, UNDEFINED).windows > 1
    }
    axis.errorbar(
        list(means),
        [m.value for m in means.values()],
        [m.spread for m in means.values()],
        color="tab:red", marker="s", capsize=3, label="mean ± deviation",
    )  # fmt: skip
    axis.set_xlabel("seconds of the person's footage")
    axis.set_ylabel(METRICS[key].label)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=6)
    figure.tight_layout()
    return figure
