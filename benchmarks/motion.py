"""Motion of a lips model against tracked mouths, without drawing anything.

    python benchmarks/motion.py DATASET [--model FILE] [--speakers A,B] [--cache FOLDER]

For every clip that the manifest marks `dev`: the first 60 % are what is known of the person
(amplitude, the aperture of a closed mouth, the file's lag), the rest, after half a second, is
judged. The prediction has the controls of the default recipe. One line per speaker, and means.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np

from heygem.config.params import Params
from heygem.evaluation import motion_metrics
from heygem.lips import LipsModel, apply_controls
from heygem.lips.trajectory import RATE_HZ
from heygem.pipeline.articulate import amplitude_scale
from heygem.training import dataset, metrics

LIBRARY_SHARE = 0.6
GUARD_S = 0.5
FRAME_STEP = 2  # jitter and closures at 25 Hz: most files have no more frames than that
COLUMNS = ("seconds", "corr", "lag_corrected_corr", "amplitude_ratio", "closure_f1", "jitter")


def parts(clip):
    """The clip valid in its first part only, and in the part that is judged."""
    rows = np.arange(len(clip.valid))
    end = LIBRARY_SHARE * len(rows)
    library = replace(clip, valid=clip.valid & (rows < end))
    return library, replace(clip, valid=clip.valid & (rows >= end + GUARD_S * RATE_HZ))


def measure_speaker(model, clips):
    """All measures of one speaker: {column: value}; None where too little can be judged."""
    split = [parts(clip) for clip in clips]
    spoken = [library.aperture[library.speaking] for library, _ in split]
    std = np.concatenate(spoken).std() if sum(map(len, spoken)) > RATE_HZ else model.opening_std
    predicted = []
    for clip in clips:
        trajectory = model.predict_features(clip.features)
        scale = amplitude_scale(std, trajectory, clip.voice, model.opening_std)
        controlled = apply_controls(trajectory, Params().lips, clip.voice, opening_scale=scale)
        predicted.append(controlled.aperture()[: len(clip.valid)])
    checks = metrics.check_sync([library for library, _ in split], predicted)
    judged = [held_out for _, held_out in split]
    shifted = [c.shifted(s.correction_s) for c, s in zip(judged, checks, strict=True)]
    as_is, corrected = (
        metrics.agreement([(p, c.aperture, c.valid) for p, c in zip(predicted, kind, strict=True)])
        for kind in (judged, shifted)
    )
    if as_is.seconds < 1:
        return None
    library = np.concatenate([part.aperture[part.valid] for part, _ in split])
    closures, jitters, weights = [], [], []
    for clip, curve in zip(shifted, predicted, strict=True):
        keep = np.flatnonzero(clip.valid)[::FRAME_STEP]
        if len(keep) < RATE_HZ / FRAME_STEP:
            continue
        speech = clip.speaking[keep]
        real, drawn = clip.aperture[keep], np.maximum(curve[keep], 0)  # lips stop at contact
        times_s = keep / RATE_HZ
        threshold = motion_metrics.closed_gap(library)
        closures.append(motion_metrics.closure_f1(drawn, real, times_s, threshold, speech=speech))
        jitters.append(np.abs(np.diff(drawn, 2)).mean() / np.abs(np.diff(real, 2)).mean())
        weights.append(len(keep))
    values = [as_is.seconds, as_is.correlation, corrected.correlation, as_is.ratio]
    for each in (closures, jitters):
        known = np.isfinite(np.array(each, float))
        share = np.array(weights)[known]
        mean = np.average(np.array(each)[known], weights=share) if share.size else np.nan
        values.append(float(mean))
    return dict(zip(COLUMNS, values, strict=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--model")
    parser.add_argument("--speakers", default="")
    parser.add_argument("--cache")
    parser.add_argument("--json")
    options = parser.parse_args()
    model = LipsModel.load(options.model)
    chosen = {name for name in options.speakers.split(",") if name}
    sources = [
        source
        for source in dataset.find(options.dataset)
        if source.split == "dev" and (not chosen or source.speaker in chosen)
    ]
    by_speaker = defaultdict(list)
    for clip in dataset.load(sources, cache=options.cache, embedding=model.embedding).clips:
        by_speaker[clip.source.speaker].append(clip)
    rows = {}
    for speaker, clips in sorted(by_speaker.items()):
        measured = measure_speaker(model, clips)
        if measured is not None:
            rows[speaker] = measured
    print(f"{'speaker':18}", *(f"{name:>18}" for name in COLUMNS))
    for speaker, row in rows.items():
        print(f"{speaker:18}", *(f"{row[name]:18.2f}" for name in COLUMNS))
    means = {name: float(np.nanmean([row[name] for row in rows.values()])) for name in COLUMNS}
    print(f"{f'mean of {len(rows)}':18}", *(f"{means[name]:18.3f}" for name in COLUMNS))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
