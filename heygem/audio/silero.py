"""Silero VAD in NumPy: its published weights without PyTorch, which takes two seconds to load.

The network (Silero Team, MIT licence) takes 32 ms of sound at a time: magnitudes of a short-time
Fourier transform, four convolutions, and a recurrent layer (LSTM) that carries state from chunk to
chunk. All but the last is computed for many chunks at once. A test compares it with the package's
own model.
"""

import functools
import pickle
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.special import expit

from heygem.core.errors import AssetError
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.layers import convolve, taps_of
from heygem.core.torchscript import read_state
from heygem.core.types import FloatArray

CHUNK = 512  # samples that one probability is for, 32 ms
_CONTEXT = 64  # samples before a chunk that the network also takes
_PADDING = 64  # mirrored samples after it
_WINDOW, _HOP = 256, 128  # of the Fourier transform, samples
_BATCH = 512  # chunks computed at once
_PARTS = ("weight", "bias")
_LSTM_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_STRIDES = (1, 2, 2, 1)  # of the convolutions
_NAMES = {
    "fourier": "stft.forward_basis_buffer",
    **{f"conv{i}.{part}": f"encoder.{i}.reparam_conv.{part}" for i in range(4) for part in _PARTS},
    **{f"lstm.{part}": f"decoder.rnn.{part}" for part in _LSTM_PARTS},
    **{f"last.{part}": f"decoder.decoder.2.{part}" for part in _PARTS},
}


def speech_probabilities(samples: FloatArray) -> FloatArray:
    """Probability that somebody speaks, for each 32 ms of a recording.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1
        The last chunk is filled with silence.

    Returns
    -------
    float32 [ceil(n / CHUNK)], 0..1
    """
    weights = _weights()
    count = -(-len(samples) // CHUNK)
    padded = np.pad(samples, (_CONTEXT, count * CHUNK - len(samples)))
    chunks = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + CHUNK)[::CHUNK]
    h, c = (np.zeros(len(weights["lstm.weight_hh"]) // 4, np.float32) for _ in range(2))
    states = np.empty((count, len(h)), np.float32)
    for start in range(0, count, _BATCH):
        raise_if_cancelled()
        encoded = _encode(chunks[start : start + _BATCH], weights)
        gates = encoded @ weights["lstm.weight_ih"].T
        gates += weights["lstm.bias_ih"] + weights["lstm.bias_hh"]
        for k, of_input in enumerate(gates, start):
            h, c = _step(of_input + weights["lstm.weight_hh"] @ h, c)
            states[k] = h
    logit = np.maximum(states, 0) @ weights["last.weight"][0, :, 0]
    return np.asarray(expit(logit + weights["last.bias"][0]), np.float32)


def _encode(chunks: FloatArray, weights: Mapping[str, FloatArray]) -> FloatArray:
    """Input of the recurrent layer, for float32 [n, _CONTEXT + CHUNK] : float32 [n, channels]."""
    padded = np.pad(chunks, ((0, 0), (0, _PADDING)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, 1)[:, ::_HOP]
    spectrum = windows @ weights["fourier"][:, 0].T  # [n, T, real and imaginary parts]
    half = spectrum.shape[2] // 2
    x = np.sqrt(np.square(spectrum[..., :half]) + np.square(spectrum[..., half:]))
    for i, stride in enumerate(_STRIDES):
        taps, bias = weights[f"conv{i}.taps"], weights[f"conv{i}.bias"]
        x = np.maximum(convolve(x, taps, bias, stride=stride), 0)
    return x[:, 0]


def _step(gates: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray]:
    """One step of the recurrent layer: the new output and the new memory."""
    i, f, g, o = np.split(gates, 4)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


@functools.cache
def _weights() -> dict[str, FloatArray]:
    """The weights for 16 kHz in the package `silero-vad`.

    The package is not imported, which would load PyTorch.
    """
    spec = find_spec("silero_vad")
    folder = Path(*(spec.submodule_search_locations or [""])[:1]) if spec else Path()
    try:
        state = read_state(folder / "data" / "silero_vad.jit")
        weights = {name: state[f"_model.{theirs}"] for name, theirs in _NAMES.items()}
    except (OSError, KeyError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise AssetError(
            "cannot read the weights of voice activity detection",
            seen=str(error),
            remedy="install them again: pip install --force-reinstall silero-vad",
        ) from error
    for i in range(len(_STRIDES)):
        weights[f"conv{i}.taps"] = taps_of(weights[f"conv{i}.weight"])
    return weights
