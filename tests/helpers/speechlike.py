"""Curves that vary as a speaking mouth does, and sound that varies as speech does."""

import numpy as np


def speechlike(seconds, seed=0, rate_hz=25.0):
    """A band-limited random aperture of about four syllables a second: (times_s, aperture)."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(int(seconds * rate_hz)) / rate_hz
    wave = sum(
        rng.normal() * np.sin(2 * np.pi * (f * times_s + rng.random()))
        for f in np.linspace(0.5, 6, 24)
    )
    return times_s, 0.1 + 0.02 * wave


def babble(seconds, seed=0):
    """Noise with the rhythm of syllables : float32 [n], 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    return (0.1 * rng.normal(size=len(t)) * (1 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)
