"""The spectrogram of the Wav2Lip publication, and the window of it that belongs to each frame."""

from functools import lru_cache

import numpy as np
import torch

from heygem.audio.mel_filters import mel_filters
from heygem.core.types import FloatArray

SAMPLE_RATE = 16_000
HOP_LENGTH = 200  # samples: 80 mel steps a second
STEPS_PER_SECOND = SAMPLE_RATE // HOP_LENGTH
N_FFT = 800
N_MELS = 80
WINDOW_STEPS = 16  # 200 ms of sound for one picture
PRE_EMPHASIS = 0.97
FLOOR_DB = -100.0
REFERENCE_DB = 20.0
MEL_RANGE = 4.0  # the spectrogram is mapped to -4..4


@lru_cache(maxsize=1)
def _mel_filters() -> torch.Tensor:
    return torch.from_numpy(mel_filters(SAMPLE_RATE, N_FFT, N_MELS, 55.0, 7600.0))


def mel_spectrogram(samples: FloatArray) -> FloatArray:
    """The spectrogram the published network was trained on.

    Parameters
    ----------
    samples : float32 [n], -1..1, 16 kHz

    Returns
    -------
    float32 [80, steps], -4..4
        80 steps a second, step ``k`` centred on sample ``200 k``; at least 16 steps.
    """
    samples = np.asarray(samples, dtype=np.float32)
    short = (WINDOW_STEPS - 1) * HOP_LENGTH - len(samples)
    if short > 0:
        samples = np.pad(samples, (0, short))
    wave = torch.from_numpy(samples)
    wave = torch.cat([wave[:1], wave[1:] - PRE_EMPHASIS * wave[:-1]])
    spectrum = torch.stft(
        wave,
        N_FFT,
        HOP_LENGTH,
        window=torch.hann_window(N_FFT),
        center=True,
        pad_mode="reflect",  # librosa's choice at the time of the publication
        return_complex=True,
    )
    mel = _mel_filters() @ spectrum.abs()  # [80, steps]
    level_db = 20.0 * torch.log10(mel.clamp(min=10.0 ** (FLOOR_DB / 20.0))) - REFERENCE_DB
    scaled = 2.0 * MEL_RANGE * (level_db - FLOOR_DB) / -FLOOR_DB - MEL_RANGE
    return scaled.clamp(-MEL_RANGE, MEL_RANGE).numpy()


def mel_windows(mel: FloatArray, times_s: FloatArray) -> FloatArray:
    """The spectrogram window of each frame, at the frame's own time.

    The publication starts frame ``i`` at step ``int(80 i / f)``; a frame shown at ``t``
    starts at ``int(80 t)``, which is the same where the rate is constant and right where
    it is not. Past the end the last whole window is repeated, as published.

    Parameters
    ----------
    mel : float32 [80, steps]
    times_s : float64 [T]

    Returns
    -------
    float32 [T, 1, 80, 16]
    """
    # The small addend keeps times that are exact fractions from falling one step short.
    starts = np.floor(np.asarray(times_s, dtype=np.float64) * STEPS_PER_SECOND + 1e-6).astype(int)
    starts = np.clip(starts, 0, mel.shape[1] - WINDOW_STEPS)
    steps = starts[:, None] + np.arange(WINDOW_STEPS)  # [T, 16]
    return np.ascontiguousarray(mel[:, steps].transpose(1, 0, 2)[:, None])
