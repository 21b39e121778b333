"""Speech embedding of training clips, with that of their sound in other rooms, noise and voices.

The spectra of a window are augmented anew in every step (`heygem.training.augment`), at hardly any
cost. The embedding would have to be computed again for each, which takes longer than the step. So
it is computed once, for a few versions of each clip's sound, and kept; a window takes one of them.
"""

import functools
from collections.abc import Callable

import numpy as np
import scipy.fft
from scipy.signal import fftconvolve, resample_poly

from heygem.audio.embedding import DEFAULT, embed
from heygem.audio.features import RATE_HZ
from heygem.core.interpolation import interpolate_at_positions
from heygem.core.types import FloatArray

AUGMENTED = 3  # versions of a clip's sound beside the sound as it is
EMBEDDING_VERSION = 2  # of what is computed here
MAX_PITCH = 0.12  # voices between e^-0.12 and e^0.12 of the real one
NOISE_S = 3.0  # of each colour of noise; computed in every process that trains or fine-tunes

Gain = Callable[[FloatArray], FloatArray]  # of frequencies in hertz


def embeddings_for_training(
    samples: FloatArray, *, rows: int, augmented: int, seed: int, projection: str = DEFAULT
) -> FloatArray:
    """Embedding of a clip's sound as it is, then of augmented versions of it.

    Parameters
    ----------
    samples : float32 [n], 16 kHz
    rows : int
    augmented : int
        Number of augmented versions.
    seed : int
    projection : str
        See `heygem.audio.embedding.embed`.

    Returns
    -------
    float16 [1 + augmented, rows, EMBEDDING_DIM]
    """
    rng = np.random.default_rng(seed)
    embeddings = [embed(samples, rows=rows, projection=projection)]
    for _ in range(augmented):
        # Played faster, a voice is higher, its vocal tract shorter, and its words are over sooner.
        speed = round(100 * float(np.exp(rng.uniform(-MAX_PITCH, MAX_PITCH)))) / 100
        changed = resample_poly(samples, 100, round(100 * speed)).astype(np.float32)
        changed = _degraded(changed, rng)
        faster = embed(changed, rows=round(rows / speed) + 2, projection=projection)
        at = np.arange(rows) / speed
        embeddings.append(interpolate_at_positions(faster, at))
    return np.stack(embeddings).astype(np.float16)


@functools.cache
def noise_embeddings(projection: str) -> FloatArray:
    """Embedding of steady noise of several colours, and of silence.

    Returns
    -------
    float32 [M, EMBEDDING_DIM]
        At 100 Hz. The encoder tells positions apart, so that even silence is not all the same.
    """
    rng = np.random.default_rng(0)
    count, rows = round(NOISE_S * RATE_HZ), round(NOISE_S * 100)
    sounds = [*(_noise(count, rng) for _ in range(4)), np.zeros(count, np.float32)]
    return np.concatenate([embed(sound, rows=rows, projection=projection) for sound in sounds])


def _degraded(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Another microphone and, each with a probability, a room, another voice, noise, less treble.

    Probabilities and levels are those of `heygem.training.augment`.
    """
    rms = float(np.sqrt(np.mean(np.square(samples)) + 1e-12))
    if rng.random() < 0.35:
        samples = _reverberated(samples, rng)
    samples = _filtered(samples, _smooth_gain(rng, spread=0.35))
    if rng.random() < 0.35:  # backwards, a voice stays one and says nothing
        other = np.roll(samples[::-1], int(rng.integers(len(samples))))
        samples = samples + np.float32(10 ** (-rng.uniform(5, 25) / 20)) * other
    if rng.random() < 0.5:
        level = rms * 10 ** (-rng.uniform(5, 40) / 20)
        samples = samples + np.float32(level) * _noise(len(samples), rng)
    if rng.random() < 0.2:
        cut_hz = rng.uniform(2800, 6000)
        samples = _filtered(samples, lambda hz: np.where(hz > cut_hz, 0.03, 1.0))
    return samples.astype(np.float32)


def _reverberated(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """With the tail of a room that decays with a time constant of 30 to 280 ms."""
    times_s = np.arange(int(0.6 * RATE_HZ)) / RATE_HZ
    tail = rng.normal(size=len(times_s)) * np.exp(-times_s / rng.uniform(0.06, 0.56))
    tail *= np.sqrt(0.8 * rng.random()) / np.sqrt(np.square(tail).sum())
    return samples + fftconvolve(samples, tail.astype(np.float32))[: len(samples)]


def _noise(count: int, rng: np.random.Generator) -> FloatArray:
    """Steady noise of a random colour, float32 [count], RMS 1."""
    white = rng.normal(size=count).astype(np.float32)
    noise = _filtered(white, _smooth_gain(rng, spread=0.9))
    return noise / np.float32(np.sqrt(np.mean(np.square(noise)) + 1e-12))


def _smooth_gain(rng: np.random.Generator, *, spread: float) -> Gain:
    """A random smooth gain over frequency, as a function of hertz."""
    sizes = spread * rng.normal(size=4) / (1 + 0.5 * np.arange(4))
    phases = 2 * np.pi * rng.random(4) * (np.arange(4) > 0)

    def gain(hz: FloatArray) -> FloatArray:
        position = np.log1p(hz / 700) / np.log1p(RATE_HZ / 2 / 700)
        waves = np.cos(np.pi * np.arange(1, 5)[:, None] * position + phases[:, None])
        return np.exp((sizes[:, None] * waves).sum(0))

    return gain


def _filtered(samples: FloatArray, gain: Gain) -> FloatArray:
    """Samples with each frequency multiplied by `gain(hz)`."""
    size = scipy.fft.next_fast_len(len(samples), real=True)
    hz = np.arange(size // 2 + 1) * (RATE_HZ / size)
    spectrum = scipy.fft.rfft(samples, size) * gain(hz).astype(np.float32)
    return scipy.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
