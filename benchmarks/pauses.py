"""What real mouths do in the pauses of speech, and what predicted ones do there.

    python benchmarks/pauses.py DATASET [--model FILE] [--speakers A,B] [--cache FOLDER]

Of every clip that the manifest marks `dev`: stretches of 0.26 s or more that are 25 dB below the
clip's loud moments, inside the clip and with a face in every frame, 80 ms at both ends left out.
Apertures are those of the typical speaker, as predicted (`raw`), and under the default recipe's
silence gate (`gated`).
"""

import argparse

import held_out_clips
import numpy as np

from heygem import audio
from heygem.config.params import Params
from heygem.lips import apply_controls
from heygem.lips.trajectory import RATE_HZ

PAUSE_DB, MIN_PAUSE_S, EDGE_ROWS = -25.0, 0.26, 4
LENGTHS_S = (0.26, 0.35, 0.5, 0.8, 3.0)


def levels_db(samples, rows):
    """Level of each row's 20 ms, relative to the loud moments (90 %) : float [rows]."""
    hop = round(audio.RATE_HZ / RATE_HZ)
    padded = np.pad(samples, (hop // 2, hop))
    padded = np.pad(padded, (0, max(0, (rows + 1) * hop - len(padded))))
    power = np.square(padded[: rows * hop]).reshape(rows, hop).mean(1)
    level = 10 * np.log10(power + 1e-12)
    return level - np.quantile(level, 0.9)


def pauses(clip, samples):
    """(start, stop) of each pause, in rows."""
    quiet = levels_db(samples, len(clip.valid)) < PAUSE_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        inside = start > EDGE_ROWS and stop < len(quiet) - EDGE_ROWS
        if inside and stop - start >= MIN_PAUSE_S * RATE_HZ and clip.valid[start:stop].all():
            yield start, stop


def measure(model, clip):
    """Length, and mean aperture real, raw and gated, of each pause; then that of speech."""
    predicted = model.predict_features(clip.features)
    gated = apply_controls(predicted, Params().lips, clip.voice).aperture()
    raw, real = predicted.aperture(), clip.aperture
    if clip.speaking.sum() < RATE_HZ:
        return
    for start, stop in pauses(clip, audio.load(clip.source.path).samples):
        rows = slice(start + EDGE_ROWS, stop - EDGE_ROWS)
        means = [curve[rows].mean() for curve in (real, raw, gated)]
        yield ((stop - start) / RATE_HZ, *means, real[clip.speaking].mean())


def main():
    parser = argparse.ArgumentParser()
    held_out_clips.add_arguments(parser)
    model, by_speaker = held_out_clips.load(parser.parse_args())
    rows = [
        (speaker, *row)
        for speaker, clips in by_speaker.items()
        for clip in clips
        for row in measure(model, clip)
    ]
    names = np.array([row[0] for row in rows])
    length, real, raw, gated, speech = np.array([row[1:] for row in rows]).T
    print(f"{'length, s':12} pauses people  real   raw  gated speech  error raw  gated  shut")
    for low, high in zip(LENGTHS_S, LENGTHS_S[1:], strict=False):
        k = (length >= low) & (length < high)
        means = " ".join(f"{curve[k].mean():6.3f}" for curve in (real, raw, gated, speech))
        error = " ".join(
            f"{np.sqrt(np.square(real[k] - curve[k]).mean()):6.3f}"
            for curve in (raw, gated, np.zeros(len(real)))
        )
        print(f"{low:.2f} to {high:.2f} {k.sum():6} {len(set(names[k])):6} {means}     {error}")


if __name__ == "__main__":
    main()
