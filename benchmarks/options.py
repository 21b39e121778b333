"""What each setting of the lips and the renderer changes, measured on held-out speech.

    python benchmarks/options.py OUT.jsonl CLIP...    one line per setting and value
    python benchmarks/options.py --table OUT.jsonl    the differences as CSV

Every clip is rendered again with its own sound, once with the default settings and once for each
value in `VARIANTS`, one setting changed at a time; means over the clips. A run that was interrupted
continues where it stopped.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import cv2

from heygem.config.params import Params
from heygem.evaluation import EvaluateSettings, evaluate
from heygem.evaluation.methods import MODEL

VARIANTS = [
    {},
    {"lips.closure": 0.0},
    {"lips.silence_gate": False},
    {"lips.silence_threshold": 0.2},
    {"lips.silence_threshold": 0.8},
    {"lips.fade_ms": 0.0},
    {"lips.fade_ms": 300.0},
    {"lips.smoothing_ms": 80.0},
    {"lips.openness_gain": 1.3},
    {"lips.width_gain": 0.0},
    {"renderer.pose_weight": 0.0},
    {"renderer.pose_weight": 4.0},
    {"renderer.continuity_weight": 0.0},
    {"renderer.continuity_weight": 4.0},
    {"renderer.feather": 0.0},
    {"renderer.feather": 0.3},
    {"renderer.color_match": False},
]
HELD_OUT_S = 5.0
METRICS = (
    "aligned_corr",
    "width_corr",
    "amplitude_ratio",
    "closure_f1",
    "articulation",
    "silence_leakage",
    "jitter",
    "flicker",
    "seam_delta_e",
    "sharpness",
    "psnr_db",
    "ssim",
)


def name_of(changes):
    """Setting and value as in a params file; the first row is the default settings."""
    return ", ".join(f"{key}: {value}" for key, value in changes.items()) or "defaults"


def measure(changes, clips):
    """Means over the clips with these settings: {metric: value}."""
    settings = EvaluateSettings(baselines=False, max_held_out_s=HELD_OUT_S)
    results = evaluate(clips, Params().override(changes), settings)
    if results.skipped:
        raise SystemExit(f"not evaluated: {results.skipped}")
    return {key: each.value for key, each in results.means()[MODEL].items()}


def table(path):
    """Print the rows as CSV: the default's figures, then the difference that each value makes."""
    rows = {row["settings"]: row["means"] for row in map(json.loads, path.open())}
    base = rows.pop("defaults")
    writer = csv.writer(sys.stdout)
    writer.writerow(["settings", *METRICS])
    writer.writerow(["defaults", *(f"{base[key]:.3f}" for key in METRICS)])
    for name, means in rows.items():
        writer.writerow([name, *(f"{means[key] - base[key]:+.3f}" for key in METRICS)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument("--table", action="store_true", help="print what was measured")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.table:
        return table(arguments.out)
    done = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    measured = {json.loads(line)["settings"] for line in done}
    for changes in VARIANTS:
        if name_of(changes) not in measured:
            row = {"settings": name_of(changes), "means": measure(changes, arguments.clips)}
            with arguments.out.open("a") as stream:
                stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
