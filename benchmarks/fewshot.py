"""Fine-tuning on each person's footage: agreement with the tracked mouth before and after.

    python benchmarks/fewshot.py DATASET [--model FILE] [--speakers A,B] [--cache FOLDER]
        [--min-seconds 25] [--amounts 30,60]

People of split `dev` with enough footage. Before and after are held-out seconds as
`heygem.finetune.adapt` defines them: each second is predicted by a fit that saw neither it nor the
second beside it, and whether the fit or the base is judged there is decided elsewhere. With
`--amounts`, the same on the first so many seconds of each person. Nothing is drawn.
"""

import argparse
import json
import time

import held_out_clips

from heygem.evaluation.finetune_curve import take_seconds
from heygem.finetune.adapt import adapt

COLUMNS = ("seconds", "before", "after", "ratio_before", "ratio_after", "time_s")


def main():
    parser = argparse.ArgumentParser()
    held_out_clips.add_arguments(parser)
    parser.add_argument("--min-seconds", type=float, default=25)
    parser.add_argument("--amounts", default="")
    parser.add_argument("--json")
    options = parser.parse_args()
    model, by_speaker = held_out_clips.load(options)
    amounts = [float(amount) for amount in options.amounts.split(",") if amount]
    rows = []
    print(f"{'speaker':18}", *(f"{name:>13}" for name in COLUMNS), "kept base")
    for speaker, clips in by_speaker.items():
        available_s = sum(clip.duration_s for clip in clips)
        if available_s < options.min_seconds:
            continue
        for amount in [*(a for a in amounts if a < available_s), available_s]:
            row = measure(model, take_seconds(clips, amount))
            rows.append({"speaker": speaker, **row})
            values = " ".join(f"{row[name]:13.3f}" for name in COLUMNS)
            print(f"{speaker:18} {values} {row['kept_base']}", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


def measure(model, clips):
    """One fine-tuning: {column: value}, and whether the base was kept."""
    started = time.monotonic()
    adapted = adapt(model, clips)
    return {
        "seconds": adapted.seconds,
        "before": adapted.before.correlation,
        "after": adapted.after.correlation,
        "ratio_before": adapted.before.ratio,
        "ratio_after": adapted.after.ratio,
        "time_s": time.monotonic() - started,
        "kept_base": adapted.kept_base,
    }


if __name__ == "__main__":
    main()
