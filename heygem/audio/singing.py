"""Singing told from instruments, by a linear classifier on the speech embedding.

Voice activity detection is trained on speech: to it, a song is as little speech as a piano. The
speech embedding comes from a network that heard both, so a weighted sum of it, of its mean and of
its spread within 0.4 seconds separates voices from instruments. `audio/weights/singing.md` says
what the weights were fitted on, and how often they are wrong.
"""

import functools

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.special import expit

from heygem.audio.embedding import embed, rows_of
from heygem.core import assets
from heygem.core.types import FloatArray

SPREAD_FRAMES = 41  # that mean and spread of the embedding are taken over
SMOOTHING_FRAMES = 31  # over which the probability is averaged: syllables are sung at this rate


def voice_probability(samples: FloatArray, frames: int) -> FloatArray:
    """Probability that a sound is a voice, spoken or sung, and not an instrument or noise.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1
    frames : int

    Returns
    -------
    float32 [frames]
        0..1 at 100 Hz. Silence has no meaningful value.
    """
    rows = rows_of(samples)
    embedding = embed(samples, rows=rows, keep=True)  # the lips model will ask for it
    embedding = np.pad(embedding[:frames], ((0, max(0, frames - rows)), (0, 0)), "edge")
    mean = uniform_filter1d(embedding, SPREAD_FRAMES, axis=0)
    power = uniform_filter1d(np.square(embedding), SPREAD_FRAMES, axis=0)
    spread = np.sqrt(np.maximum(power - np.square(mean), 0))
    weights, bias = _classifier()
    probability = expit(np.concatenate([embedding, mean, spread], 1) @ weights + bias)
    return np.asarray(uniform_filter1d(probability, SMOOTHING_FRAMES), np.float32)


@functools.cache
def _classifier() -> tuple[FloatArray, FloatArray]:
    """Weights, float32 [3 EMBEDDING_DIM], and bias, float32 []."""
    from safetensors.numpy import load_file

    stored = load_file(assets.path(assets.SINGING_CLASSIFIER.name))
    return stored["weights"], stored["bias"]
