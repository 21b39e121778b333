"""Mouths that anybody can make: what a number has to beat before it means anything.

Each anchor is a trajectory, float32 [T, L, 3], displacement of `heygem.face.topology.LOWER`
from the person's rest shape, made from the library part of the clip and the held-out sound.
They go through the same renderer and tracker as the model's, so every row of a table has
suffered the same losses.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d

from heygem.face import topology as topo
from heygem.face.topology import LOWER

ENERGY_SIGMA_MS = 40  # loudness a jaw could follow: syllables, not pitch periods
CONTEXT = 7  # log-mel frames each side of the moment: 150 ms, one phone and its neighbours
MEL_RATE_HZ = 100
SILENCE_DB = -60.0


def ping_pong(length, count):
    """Indices 0..length-1 forwards and backwards until there are `count`."""
    if length == 1:
        return np.zeros(count, int)
    there_and_back = np.concatenate([np.arange(length), np.arange(length - 2, 0, -1)])
    return np.resize(there_and_back, count)


def frozen(library, count):
    """A mouth at rest that never moves. `library` : float32 [F, L, 3]; returns [count, L, 3]."""
    return np.zeros((count, *library.shape[1:]), np.float32)


def mean_mouth(library, count):
    """The person's average mouth, held: the best that a model without ears can do in LMD."""
    return np.repeat(library.mean(0, keepdims=True), count, axis=0).astype(np.float32)


def source_copy(library, count):
    """The source video's own mouth under the new sound: what passes if nothing is done."""
    return library[ping_pong(len(library), count)]


def loudness_db(samples, times_s, rate_hz=16000):
    """Short-time level at given moments.

    samples : float32 [n], mono; times_s : float64 [T]; returns float32 [T], dB of full scale.
    """
    sigma = ENERGY_SIGMA_MS / 1e3 * rate_hz
    power = gaussian_filter1d(np.asarray(samples, np.float64) ** 2, sigma, truncate=3)
    moments = np.arange(len(samples)) / rate_hz
    level = 10 * np.log10(np.maximum(np.interp(times_s, moments, power), 10 ** (SILENCE_DB / 10)))
    return level.astype(np.float32)


def energy_jaw(library, library_db, held_out_db):
    """Jaw by loudness: from the person's shut to the person's open mouth as it gets louder.

    The way is the difference between the library's most open and most closed fifth; the
    aperture gets the library's own mean and spread, so that the anchor does not lose on the
    open ratio for a reason that has nothing to do with listening.

    library : float32 [F, L, 3]; library_db, held_out_db : float32 [F] and [T], dB.
    Returns float32 [T, L, 3].
    """
    upper, lower = (int(np.flatnonzero(LOWER == i)[0]) for i in topo.LIP_MIDDLE)
    gap = library[:, lower, 1] - library[:, upper, 1]
    low, high = np.quantile(gap, (0.2, 0.8))
    shut, opened = library[gap <= low].mean(0), library[gap >= high].mean(0)
    reach = float((opened - shut)[lower, 1] - (opened - shut)[upper, 1])
    # In dB of this recording; a pause is not five times as shut as a consonant.
    loud = np.clip((held_out_db - library_db.mean()) / max(float(library_db.std()), 1e-3), -2, 2)
    wanted = gap.mean() + gap.std() * loud
    base = float(shut[lower, 1] - shut[upper, 1])
    amount = (wanted - base) / reach if reach > 1e-6 else np.zeros_like(wanted)
    return (shut + np.einsum("t,lj->tlj", amount, opened - shut)).astype(np.float32)


def _context(mel, times_s):
    """Log-mel windows around moments: [frames, bands] at 100 Hz to [T, bands * (2 C + 1)]."""
    # Bands' means out, so that a microphone or a level is not what the nearest frame shares.
    padded = np.pad(mel - mel.mean(0), ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
    at = np.clip((np.asarray(times_s) * MEL_RATE_HZ).round().astype(int), 0, len(windows) - 1)
    return windows[at].reshape(len(at), -1)


def nearest_audio(library, library_mel, library_times_s, mel, times_s):
    """The person's own mouth from the moment that sounded most alike.

    library : float32 [F, L, 3] at `library_times_s`; mels : float32 [frames, bands] at 100 Hz,
    each with its own zero; times_s : float64 [T]. Returns float32 [T, L, 3].
    """
    known, wanted = _context(library_mel, library_times_s), _context(mel, times_s)
    distance = (wanted**2).sum(1)[:, None] - 2 * wanted @ known.T + (known**2).sum(1)[None]
    return library[distance.argmin(1)]


def shifted(samples, rate_hz=16000):
    """The same sound, half its length later, end joined to start: right voice, wrong words."""
    shift = len(samples) // 2
    if shift < rate_hz:
        raise ValueError(f"{len(samples) / rate_hz:.1f} s is too short to shift by a second")
    return np.roll(samples, shift)
