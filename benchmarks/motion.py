"""Motion of a lips model against tracked mouths, without drawing anything.

    python benchmarks/motion.py DATASET [--model FILE] [--speakers A,B] [--cache FOLDER]

For every clip that the manifest marks `dev`: the first 60 % are what is known of the person
(amplitude, posture, the aperture of a closed mouth, the file's lag), the rest, after half a second,
is judged. The prediction has the controls of the default recipe. One line per speaker, and means;
`point_rms` is the distance of the lower face's points from the tracked ones in speech, IOD.
"""

import argparse
import json
from dataclasses import replace
from types import SimpleNamespace

import held_out_clips
import numpy as np

from heygem.config.params import Params
from heygem.evaluation import motion_metrics
from heygem.lips.trajectory import RATE_HZ
from heygem.pipeline.articulate import articulate
from heygem.training import metrics
from heygem.training.sync import check_sync

LIBRARY_SHARE = 0.6
GUARD_S = 0.5
FRAME_STEP = 2  # jitter and closures at 25 Hz: most files have no more frames than that
COLUMNS = (
    "seconds",
    "corr",
    "lag_corrected_corr",
    "amplitude_ratio",
    "closure_f1",
    "jitter",
    "point_rms",
)


def parts(clip):
    """The clip valid in its first part only, and in the part that is judged."""
    rows = np.arange(len(clip.valid))
    end = LIBRARY_SHARE * len(rows)
    library = replace(clip, valid=clip.valid & (rows < end))
    return library, replace(clip, valid=clip.valid & (rows >= end + GUARD_S * RATE_HZ))


def person(library):
    """What an avatar of the library parts would know of the person's speech."""
    aperture = np.concatenate([part.aperture[part.valid] for part in library])
    spoken = np.concatenate([part.aperture[part.speaking] for part in library])
    displacement = np.concatenate([part.displacement[part.speaking] for part in library])
    known = len(spoken) > RATE_HZ
    return SimpleNamespace(
        speech_scale=float(spoken.std()) if known else None,
        speech_posture=displacement.mean(axis=0) if known else None,
        speech_s=len(spoken) / RATE_HZ,
        report={"widest_aperture": float(np.quantile(aperture, 0.99))},
    )


def measure_speaker(model, clips):
    """All measures of one speaker: {column: value}; None where too little can be judged."""
    split = [parts(clip) for clip in clips]
    speaker = person([library for library, _ in split])
    predictions = [model.predict_features(clip.features) for clip in clips]
    trajectories = [
        articulate(prediction, clip.voice, speaker, model, Params().lips)
        for prediction, clip in zip(predictions, clips, strict=True)
    ]
    predicted = [t.aperture()[: len(c.valid)] for t, c in zip(trajectories, clips, strict=True)]
    checks = check_sync([library for library, _ in split], predictions)
    judged = [held_out for _, held_out in split]
    shifted = [c.shifted(s.correction_s) for c, s in zip(judged, checks, strict=True)]
    as_is, corrected = (
        metrics.agreement([(p, c.aperture, c.valid) for p, c in zip(predicted, kind, strict=True)])
        for kind in (judged, shifted)
    )
    if as_is.seconds < 1:
        return None
    library = np.concatenate([part.aperture[part.valid] for part, _ in split])
    closures, jitters, weights, squares = [], [], [], []
    for clip, trajectory, curve in zip(shifted, trajectories, predicted, strict=True):
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
        error = trajectory.at(times_s[speech]) - clip.displacement[keep[speech]]
        squares.append(np.square(error).sum(-1).mean(-1))
    values = [as_is.seconds, as_is.correlation, corrected.correlation, as_is.ratio]
    for each in (closures, jitters):
        known = np.isfinite(np.array(each, float))
        share = np.array(weights)[known]
        mean = np.average(np.array(each)[known], weights=share) if share.size else np.nan
        values.append(float(mean))
    values.append(float(np.sqrt(np.concatenate(squares).mean())) if squares else np.nan)
    return dict(zip(COLUMNS, values, strict=True))


def main():
    parser = argparse.ArgumentParser()
    held_out_clips.add_arguments(parser)
    parser.add_argument("--json")
    options = parser.parse_args()
    model, by_speaker = held_out_clips.load(options)
    rows = {}
    for speaker, clips in by_speaker.items():
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
