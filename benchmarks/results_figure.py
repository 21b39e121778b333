"""Draw the figure of `docs/results.md` from the tables in `docs/results`.

python benchmarks/results_figure.py [--out docs/images/results.png]
"""

import argparse
import csv
from pathlib import Path

from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=DOCS / "images" / "results.png")
    arguments = parser.parse_args()
    baselines = read("baselines")
    clips = read("zero_shot_clips")
    figure = Figure(figsize=(9.2, 3.4))
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    draw_methods(left, baselines)
    draw_clips(right, clips)
    figure.tight_layout()
    figure.savefig(arguments.out, dpi=100)


def read(name):
    """Rows of a table as dictionaries."""
    with (DOCS / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw_methods(axis, rows):
    """Correlation of every method, with its deviation between speakers."""
    names = [row["method"] for row in rows]
    values = [float(row["aperture_corr"]) for row in rows]
    spreads = [float(row["aperture_corr_spread"]) for row in rows]
    colours = ["tab:red" if name == "model" else "0.6" for name in names]
    axis.barh(names, values, xerr=spreads, color=colours, ecolor="0.3", capsize=2)
    axis.invert_yaxis()
    axis.axvline(0, color="0.3", lw=0.8)
    axis.set_xlabel("lip-aperture correlation, 8 speakers", fontsize=9)
    axis.tick_params(labelsize=8)


def draw_clips(axis, rows):
    """Correlation of every clip, as its file is and with the file's lag corrected."""
    rows = sorted(rows, key=lambda row: float(row["lag_corrected_corr"]))
    for i, row in enumerate(rows):
        pair = float(row["aperture_corr"]), float(row["lag_corrected_corr"])
        axis.plot(pair, (i, i), color="0.75", lw=1, zorder=1)
    kinds = (("aperture_corr", "0.45", "as is"), ("lag_corrected_corr", "tab:red", "lag corrected"))
    for key, colour, label in kinds:
        values = [float(row[key]) for row in rows]
        axis.scatter(values, range(len(rows)), s=16, color=colour, label=label, zorder=2)
    axis.axvline(0, color="0.3", lw=0.8)
    axis.set_yticks([])
    axis.set_ylabel(f"{len(rows)} clips of 20 speakers", fontsize=9)
    axis.set_xlabel("lip-aperture correlation of the model", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, loc="upper left")


if __name__ == "__main__":
    main()
