"""Baselines: motions that need no lips model, for comparison.

Each is float32 [T, L, 3], displacement of `heygem.face.topology.LOWER` from the person's rest
shape in IOD, made from the library part of the clip and the held-out audio. They pass through the
same renderer and tracker as the model's motion, so every row of a table has the same losses.

`library` is always float32 [F, L, 3], the displacements of the library part, and `count` the
number of frames to make.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d

from heygem.audio import FRAME_HZ, RATE_HZ
from heygem.core.types import FloatArray, IntArray
from heygem.lips.trajectory import aperture_of

ENERGY_SIGMA_MS = 40  # smoothing of loudness: syllables, not pitch periods
CONTEXT = 7  # log-mel frames on each side: 150 ms, one phone and its neighbours
SILENCE_DB = -60.0


def ping_pong(length: int, count: int) -> IntArray:
    """Indices 0..length-1 forwards and backwards until there are `count`."""
    if length == 1:
        return np.zeros(count, int)
    period = np.concatenate([np.arange(length), np.arange(length - 2, 0, -1)])
    return np.resize(period, count)


def static_mouth(library: FloatArray, count: int) -> FloatArray:
    """A mouth at rest that never moves."""
    return np.zeros((count, *library.shape[1:]), np.float32)


def mean_mouth(library: FloatArray, count: int) -> FloatArray:
    """The person's mean mouth, constant: the lowest LMD that is possible without the audio."""
    return np.repeat(library.mean(0, keepdims=True), count, axis=0).astype(np.float32)


def source_copy(library: FloatArray, count: int) -> FloatArray:
    """The source video's own mouth with other audio, as in a dubbed video."""
    return library[ping_pong(len(library), count)]


def loudness_db(samples: FloatArray, times_s: FloatArray, rate_hz: int = RATE_HZ) -> FloatArray:
    """Short-time level at given moments.

    samples : float32 [n], mono; times_s : float64 [T]; returns float32 [T], dB of full scale.
    """
    sigma = ENERGY_SIGMA_MS / 1e3 * rate_hz
    power = gaussian_filter1d(np.asarray(samples, np.float64) ** 2, sigma, truncate=3)
    moments = np.arange(len(samples)) / rate_hz
    level = 10 * np.log10(np.maximum(np.interp(times_s, moments, power), 10 ** (SILENCE_DB / 10)))
    return level.astype(np.float32)


def energy_jaw(library: FloatArray, library_db: FloatArray, held_out_db: FloatArray) -> FloatArray:
    """A jaw driven by loudness, from the person's closed to the person's open mouth.

    The direction is the difference between the library's most open and most closed fifth. The
    aperture has the library's own mean and spread, so that the amplitude ratio of this baseline
    says nothing about its timing.

    library_db : float32 [F], dB; held_out_db : float32 [T], dB; returns float32 [T, L, 3].
    """
    gap = aperture_of(library)
    low, high = np.quantile(gap, (0.2, 0.8))
    closed, opened = library[gap <= low].mean(0), library[gap >= high].mean(0)
    base = float(aperture_of(closed))
    reach = float(aperture_of(opened)) - base
    # In standard deviations of this recording, clipped: a pause is not five times as closed as a
    # consonant.
    loudness = (held_out_db - library_db.mean()) / max(float(library_db.std()), 1e-3)
    target = gap.mean() + gap.std() * np.clip(loudness, -2, 2)
    amount = (target - base) / reach if reach > 1e-6 else np.zeros_like(target)
    return (closed + np.einsum("t,lj->tlj", amount, opened - closed)).astype(np.float32)


def _context(mel: FloatArray, times_s: FloatArray) -> FloatArray:
    """Log-mel windows around moments: [frames, bands] at 100 Hz to [T, bands * (2 C + 1)]."""
    # Without the mean of each band: a microphone or a level must not decide what is nearest.
    padded = np.pad(mel - mel.mean(0), ((CONTEXT, CONTEXT), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
    rows = np.clip((np.asarray(times_s) * FRAME_HZ).round().astype(int), 0, len(windows) - 1)
    return windows[rows].reshape(len(rows), -1)


def nearest_audio(
    library: FloatArray,
    library_mel: FloatArray,
    library_times_s: FloatArray,
    mel: FloatArray,
    times_s: FloatArray,
) -> FloatArray:
    """Retrieval: the person's own mouth from the library moment with the most similar audio.

    library : float32 [F, L, 3] at `library_times_s`; library_mel, mel : float32 [frames, bands] at
    100 Hz, each starting at its own time zero; times_s : float64 [T]. Returns float32 [T, L, 3].
    """
    candidates, queries = _context(library_mel, library_times_s), _context(mel, times_s)
    squares = (candidates**2).sum(1)[None]
    distance = (queries**2).sum(1)[:, None] - 2 * queries @ candidates.T + squares
    return library[distance.argmin(1)]


def shift_audio(samples: FloatArray, rate_hz: int = RATE_HZ) -> FloatArray:
    """The same audio, rotated by half its length: the right voice, the wrong words.

    Raises
    ------
    ValueError
        The audio is shorter than two seconds.
    """
    shift = len(samples) // 2
    if shift < rate_hz:
        raise ValueError(f"{len(samples) / rate_hz:.1f} s is too short to shift by a second")
    return np.roll(samples, shift)
