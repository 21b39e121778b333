"""Triangular filters on Slaney's mel scale, the same numbers as `librosa.filters.mel`.

Computed here because importing librosa for them loads scipy's solvers and statistics too: a second
of processor time and 110 MB in every process that makes a video.
"""

import numpy as np

from heygem.core.types import FloatArray

_LINEAR_HZ = 200 / 3  # width of a mel below the break
_BREAK_HZ = 1000.0  # from here on the scale is logarithmic
_LOG_STEP = np.log(6.4) / 27  # of a mel above the break


def mel_filters(
    rate_hz: int, n_fft: int, bands: int, lowest_hz: float, highest_hz: float
) -> FloatArray:
    """Filters of equal area for a power or magnitude spectrum : float32 [bands, n_fft // 2 + 1].

    After M. Slaney, "Auditory Toolbox", 1998, as librosa implements it (ISC licence).

    Parameters
    ----------
    rate_hz : int
        Of the signal.
    n_fft : int
        Length of the transform.
    bands : int
    lowest_hz, highest_hz : float
        Where the first filter begins and the last one ends.
    """
    mels = np.linspace(_to_mel(lowest_hz), _to_mel(highest_hz), bands + 2)
    edges = _to_hz(mels)
    width = np.diff(edges)
    ramps = np.subtract.outer(edges, np.fft.rfftfreq(n=n_fft, d=1.0 / rate_hz))
    filters = np.zeros((bands, 1 + n_fft // 2), np.float32)
    for i in range(bands):
        rising, falling = -ramps[i] / width[i], ramps[i + 2] / width[i + 1]
        filters[i] = np.maximum(0, np.minimum(rising, falling))
    filters *= (2.0 / (edges[2:] - edges[:bands]))[:, None]
    return filters


def _to_mel(frequency_hz: float) -> float:
    if frequency_hz < _BREAK_HZ:
        return frequency_hz / _LINEAR_HZ
    return float(_BREAK_HZ / _LINEAR_HZ + np.log(frequency_hz / _BREAK_HZ) / _LOG_STEP)


def _to_hz(mels: FloatArray) -> FloatArray:
    frequencies = _LINEAR_HZ * mels
    at_break = _BREAK_HZ / _LINEAR_HZ
    above = mels >= at_break
    frequencies[above] = _BREAK_HZ * np.exp(_LOG_STEP * (mels[above] - at_break))
    return frequencies
