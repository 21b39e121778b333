"""The voice: what the model hears, and what goes into the finished video.

The model hears 16 kHz mono; the video keeps the file's own rate and channels. Both come from one
pass over the file, streamed, so a long recording costs 64 kB a second and no more."""

import functools

import numpy as np
import scipy.fft

RATE_HZ = 16_000  # what speech models hear
FRAME_HZ = 100  # log-mel and voice activity
N_FFT = 512  # 32 ms
HOP = RATE_HZ // FRAME_HZ  # 10 ms
WINDOW = 400  # 25 ms
BANDS = 80
LOWEST_HZ, HIGHEST_HZ = 55.0, 7600.0
MEL_RMS = 0.05  # level of the voice before the logarithm, -26 dBFS
_GATE_RMS = 10 ** (-70 / 20)  # BS.1770-4's absolute gate: below it is silence, -70 dBFS


@functools.cache
def _mel_filters() -> np.ndarray:
    import librosa

    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=N_FFT, n_mels=BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ
    )
    return np.ascontiguousarray(filters.T)  # [N_FFT // 2 + 1, BANDS]


@functools.cache
def _window() -> np.ndarray:
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)  # periodic
    side = (N_FFT - WINDOW) // 2
    return np.pad(hann, (side, side)).astype(np.float32)


def voiced_rms(samples) -> float:
    """RMS of the parts that sound, 0..1; 0 for silence.

    Gated as BS.1770-4 gates loudness (an absolute gate at -70 dBFS, then everything more than
    20 dB under the mean of the rest, repeated until it holds), so silence or room noise around
    the words changes nothing.
    """
    size = RATE_HZ // 50  # 20 ms
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.einsum("ij,ij->i", whole, whole) / size
    power = power[power > _GATE_RMS**2]
    while len(power):
        kept = power[power > power.mean() / 100]
        if len(kept) == len(power):
            return float(np.sqrt(power.mean()))
        power = kept
    return 0.0


def log_mel(samples) -> np.ndarray:
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
    gain = MEL_RMS / rms if rms else 1.0  # silence stays silence instead of becoming loud noise
    window = _window() * np.float32(gain)
    out = np.empty((1 + len(samples) // HOP, BANDS), np.float32)
    for start in range(0, len(out), 2000):  # 20 s at a time keep the spectra small
        stop = min(start + 2000, len(out))
        first, last = start * HOP - N_FFT // 2, (stop - 1) * HOP + N_FFT // 2
        piece = samples[max(0, first) : last]
        before = max(0, -first)
        piece = np.pad(piece, (before, last - first - before - len(piece)))
        frames = np.lib.stride_tricks.sliding_window_view(piece, N_FFT)[::HOP]  # [t, N_FFT]
        spectrum = scipy.fft.rfft(frames * window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2  # [t, N_FFT // 2 + 1]
        out[start:stop] = (np.log(power @ _mel_filters() + 1e-5) + 6) / 3
    return out
