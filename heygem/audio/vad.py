"""The voice: what the model hears, and what goes into the finished video.

The model hears 16 kHz mono; the video keeps the file's own rate and channels. Both come from one
pass over the file, streamed, so a long recording costs 64 kB a second and no more."""

import contextlib
import functools
import threading

import numpy as np

from heygem.audio.features import FRAME_HZ, HOP, RATE_HZ
from heygem.core.types import FloatArray

_VAD_CHUNK = 512  # samples the model takes at a time, 32 ms
_vad_lock = threading.Lock()


@functools.cache
def _vad_model():
    import torch

    threads = torch.get_num_threads()
    from silero_vad import load_silero_vad  # importing it sets torch to one thread

    torch.set_num_threads(threads)
    return load_silero_vad()


@contextlib.contextmanager
def _one_thread():
    """Hundreds of tiny steps: handing each to several threads costs more than the step."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def voice_activity(samples) -> np.ndarray:
    """Probability that somebody speaks, by Silero VAD (its weights come inside its package).

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1

    Returns
    -------
    float32 [1 + n // 160]
        0..1 at 100 Hz, frame i centred on i / 100 seconds; exactly 0 in digital silence.
    """
    import torch

    samples = np.asarray(samples, np.float32)
    count = 1 + len(samples) // HOP
    loud = _sounding(samples, count)
    if not loud.any():
        return np.zeros(count, np.float32)
    chunks = []
    # The model carries state from chunk to chunk, so one recording at a time.
    with _vad_lock, _one_thread(), torch.inference_mode():
        model = _vad_model()
        model.reset_states()
        for start in range(0, len(samples), _VAD_CHUNK):
            piece = samples[start : start + _VAD_CHUNK]
            piece = np.pad(piece, (0, _VAD_CHUNK - len(piece)))
            chunks.append(model(torch.from_numpy(piece), RATE_HZ).item())
    centres_s = (np.arange(len(chunks)) + 0.5) * _VAD_CHUNK / RATE_HZ
    probability = np.interp(np.arange(count) / FRAME_HZ, centres_s, chunks)
    return np.where(loud, probability, 0).astype(np.float32)


def voice_at(voice: FloatArray, times_s: FloatArray, *, round_down: bool = False) -> FloatArray:
    """Voice activity at given times.

    Parameters
    ----------
    voice : float [M]
        From `voice_activity`, at 100 Hz.
    times_s : float [T]
        Times outside the recording take its first or last value.
    round_down : bool
        Take the last value at or before each time, not the nearest one.

    Returns
    -------
    float [T]
    """
    index = np.asarray(times_s) * FRAME_HZ
    index = (index if round_down else np.round(index)).astype(int)
    return np.asarray(voice)[np.clip(index, 0, len(voice) - 1)]


def _sounding(samples, count) -> np.ndarray:
    """bool [count]: whether anything above -100 dBFS lies within 15 ms of each frame."""
    half = HOP // 2
    whole = len(samples) // half * half
    rest = np.pad(samples[whole:], (0, half - len(samples) + whole))
    blocks = (samples[:whole].reshape(-1, half), rest[None])  # [n, half]
    loud = np.concatenate([(b.max(1) > 1e-5) | (b.min(1) < -1e-5) for b in blocks])
    loud = np.pad(loud, (3, 3))
    at = np.arange(count) * 2 + 3  # the half hop that starts at the frame's centre
    return np.any([loud[at + k] for k in range(-3, 3)], axis=0)
