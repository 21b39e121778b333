"""Curves that vary as a speaking mouth does."""

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
