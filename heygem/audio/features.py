"""Log-mel spectrogram, and the level to which the voice is normalised before it is computed."""

import functools

import numpy as np
import scipy.fft

from heygem.audio.mel_filters import mel_filters
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import FloatArray

RATE_HZ = 16_000  # sampling rate of the models' input
FRAME_HZ = 100  # log-mel and voice activity
N_FFT = 512  # 32 ms
HOP = RATE_HZ // FRAME_HZ  # 10 ms
WINDOW = 400  # 25 ms
BANDS = 80
LOWEST_HZ, HIGHEST_HZ = 55.0, 7600.0
MEL_RMS = 0.05  # RMS of the voice before the logarithm, -26 dBFS
_SILENCE_RMS = 10 ** (-70 / 20)  # absolute gate of BS.1770-4, -70 dBFS
_CHUNK_FRAMES = 2000  # 20 s at a time keep the spectra small


@functools.cache
def _mel_filters() -> FloatArray:
    """float32 [N_FFT // 2 + 1, BANDS]."""
    return np.ascontiguousarray(mel_filters(RATE_HZ, N_FFT, BANDS, LOWEST_HZ, HIGHEST_HZ).T)


@functools.cache
def _window() -> FloatArray:
    """Periodic Hann window, zero-padded to the transform : float32 [N_FFT]."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    side = (N_FFT - WINDOW) // 2
    return np.pad(hann, (side, side)).astype(np.float32)


def voiced_rms(samples: FloatArray) -> float:
    """RMS of the parts of a recording that are not silence, 0..1; 0 if all of it is.

    Gated like the loudness of BS.1770-4: an absolute gate at -70 dBFS, then a gate 20 dB below the
    mean of the rest, repeated until it removes nothing. Silence or room noise around the words
    does not change the result.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1
    """
    size = RATE_HZ // 50  # 20 ms
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.einsum("ij,ij->i", blocks, blocks) / size
    power = power[power > _SILENCE_RMS**2]
    while len(power):
        above_gate = power[power > power.mean() / 100]
        if len(above_gate) == len(power):
            return float(np.sqrt(power.mean()))
        power = above_gate
    return 0.0


def log_mel(samples: FloatArray) -> FloatArray:
    """Log-mel spectrogram, the lips model's input.

    Hann window of 25 ms in a 32 ms transform every 10 ms, power, 80 Slaney bands from 55 to
    7600 Hz, ``(log(m + 1e-5) + 6) / 3``; the voice is first brought to RMS 0.05 (`voiced_rms`).

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1

    Returns
    -------
    float32 [1 + n // 160, 80]
        Frame i is centred on i / 100 seconds.
    """
    samples = np.asarray(samples, np.float32)
    rms = voiced_rms(samples)
    gain = MEL_RMS / rms if rms else 1.0  # silence must not be amplified to noise
    window = _window() * np.float32(gain)
    out = np.empty((1 + len(samples) // HOP, BANDS), np.float32)
    for start in range(0, len(out), _CHUNK_FRAMES):
        raise_if_cancelled()
        stop = min(start + _CHUNK_FRAMES, len(out))
        first, last = start * HOP - N_FFT // 2, (stop - 1) * HOP + N_FFT // 2
        piece = samples[max(0, first) : last]
        before = max(0, -first)
        piece = np.pad(piece, (before, last - first - before - len(piece)))
        frames = np.lib.stride_tricks.sliding_window_view(piece, N_FFT)[::HOP]  # [t, N_FFT]
        spectrum = scipy.fft.rfft(frames * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2  # [t, N_FFT // 2 + 1]
        out[start:stop] = (np.log(power @ _mel_filters() + 1e-5) + 6) / 3
    return out
