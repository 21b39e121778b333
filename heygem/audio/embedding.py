"""Speech embedding: a pretrained description of speech, every 10 ms, as input of the lips model.

The first three layers of the encoder of Whisper base (Radford et al. 2022, "Robust speech
recognition via large-scale weak supervision"; MIT), which learnt from 680,000 hours in many
languages to tell spoken words apart. Its 512 numbers are projected to the 64 directions from which
mouths can be predicted best; `audio/weights/speech-projection.md` says how these were found. There
are three projections: one fitted on all footage that the shipped lips model was trained on, one on
footage whose licence is stated, for the model of such footage alone, and one of an encoder whose
rows know no sound after their block of `BLOCK_ROWS`, for the causal model.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft

from heygem.audio.features import BANDS, HOP, RATE_HZ, WINDOW, voiced_rms
from heygem.audio.mel_filters import mel_filters
from heygem.audio.whisper_weights import read_encoder
from heygem.core import assets
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.layers import convolve, gelu, layer_norm, taps_of
from heygem.core.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Projection:
    """From the states of the encoder to an embedding.

    Attributes
    ----------
    asset : Asset
    causal : bool
        Whether the states know no more of what follows than the rest of their block.
    """

    asset: assets.Asset
    causal: bool = False


EMBEDDING_DIM = 64
DEFAULT, CLEAN, CAUSAL = "default", "clean", "causal"
PROJECTIONS = {
    DEFAULT: Projection(assets.SPEECH_PROJECTION),
    CLEAN: Projection(assets.CLEAN_PROJECTION),
    CAUSAL: Projection(assets.CAUSAL_PROJECTION, causal=True),
}
INPUT_RMS = 0.05  # of the voice
FLOOR = -7.0  # of the logarithm; for a voice of that level about 8 below the loudest band
STATE_DIM, HEADS, LAYERS = 512, 8, 3  # of Whisper base, of whose six layers three are used
ROW_FRAMES = 2  # mel frames in a row of the encoder, which is 20 ms
CHUNK_ROWS = 500  # encoded at once; each sees 1.5 s more on both sides
CONTEXT_ROWS = 75
BLOCK_ROWS = 6  # of the causal encoder: 120 ms
SILENCE_ROWS = 600  # in whose middle the embedding of silence was taken


_kept: tuple[bytes, FloatArray] | None = None  # digest of a sound, and its embedding


def rows_of(samples: FloatArray) -> int:
    """Rows of a sound's embedding that the lips model takes: two for each 20 ms begun."""
    return 2 * -(-len(samples) // (2 * HOP))


def embed(
    samples: FloatArray, *, rows: int, projection: str = DEFAULT, keep: bool = False
) -> FloatArray:
    """Embedding of speech at 100 Hz.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1
    rows : int
        Frames to return; sound that is too short is followed by silence.
    projection : str
        Of `PROJECTIONS`.
    keep : bool
        Whether the next call for this sound and number of rows will take what this one returns.

    Returns
    -------
    float32 [rows, EMBEDDING_DIM]
        Row i describes the sound around i / 100 seconds. Over the speech of the training set each
        number has mean 0 and spread 1.
    """
    global _kept
    samples = np.asarray(samples, np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(samples).data).digest() + rows.to_bytes(8)
    digest += projection.encode()
    kept, _kept = _kept, None
    if kept is not None and kept[0] == digest:
        embedding = kept[1]
    else:
        embedding = _at_100_hz(samples, rows, projection)
    _kept = (digest, embedding) if keep else None
    return embedding


def _at_100_hz(samples: FloatArray, rows: int, projection: str) -> FloatArray:
    """`embed`, computed."""
    weight, bias = projection_of(projection)
    count = -(-rows // ROW_FRAMES) + 1  # one more, between which and the last one lies the end
    out = np.empty((count, EMBEDDING_DIM), np.float32)
    for at, states in _encoded_chunks(samples, count, causal=PROJECTIONS[projection].causal):
        out[at] = states @ weight.T + bias
    between = (out[:-1] + out[1:]) / 2
    return np.stack([out[:-1], between], 1).reshape(-1, EMBEDDING_DIM)[:rows]


def encoder_states(samples: FloatArray, *, rows: int, causal: bool = False) -> FloatArray:
    """States of the encoder at 50 Hz, which projections are fitted on : float32 [rows, STATE_DIM].

    `samples` : float32 [n], 16 kHz mono, -1..1; `causal` : see `Projection`
    """
    samples = np.asarray(samples, np.float32)
    out = np.empty((rows, STATE_DIM), np.float32)
    for at, states in _encoded_chunks(samples, rows, causal=causal):
        out[at] = states
    return out


def _encoded_chunks(
    samples: FloatArray, count: int, *, causal: bool
) -> Iterator[tuple[slice, FloatArray]]:
    """Rows of a chunk, and their states, up to `count` rows at 50 Hz."""
    rms = voiced_rms(samples)
    samples = samples * np.float32(INPUT_RMS / rms if rms else 1.0)
    for start in range(0, count, CHUNK_ROWS):
        raise_if_cancelled()
        stop = min(start + CHUNK_ROWS, count)
        first, last = max(0, start - CONTEXT_ROWS), min(count, stop + CONTEXT_ROWS)
        mel = _log_mel(samples, ROW_FRAMES * first, ROW_FRAMES * last)
        visible = _visible(np.arange(first, last)) if causal else None
        states = _encode(mel, _weights(), visible)
        yield slice(start, stop), states[start - first : stop - first]


def _visible(rows: IntArray) -> BoolArray:
    """Which rows each row of the causal encoder attends to : bool [rows, rows].

    Those of its block and of `CONTEXT_ROWS` before. Every layer has the same blocks, so that what a
    row knows of the future does not grow from layer to layer, and keys and values of earlier
    blocks never change: a live encoder would keep them.
    """
    block_end = (rows // BLOCK_ROWS + 1) * BLOCK_ROWS
    before_end = rows[None] < block_end[:, None]
    near: BoolArray = rows[None] >= rows[:, None] - CONTEXT_ROWS
    return before_end & near


def _log_mel(samples: FloatArray, first: int, last: int) -> FloatArray:
    """Frames `first` to `last` of Whisper's spectrum, 10 ms each : float32 [last - first, BANDS].

    Its lower limit is fixed, where Whisper's follows the loudest moment, so that a bang changes
    nothing elsewhere.
    """
    start = first * HOP - WINDOW // 2
    stop = (last - 1) * HOP + WINDOW // 2
    piece = samples[max(0, start) : max(0, stop)]
    before = max(0, -start)
    piece = np.pad(piece, (before, stop - start - before - len(piece)))
    frames = np.lib.stride_tricks.sliding_window_view(piece, WINDOW)[::HOP]
    spectrum = scipy.fft.rfft(frames * _window(), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return (np.maximum(np.log10(power @ _filters() + 1e-10), FLOOR) + 4) / 4


@functools.cache
def _window() -> FloatArray:
    """Periodic Hann window : float32 [WINDOW]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@functools.cache
def _filters() -> FloatArray:
    """float32 [WINDOW // 2 + 1, BANDS]."""
    return np.ascontiguousarray(mel_filters(RATE_HZ, WINDOW, BANDS, 0, RATE_HZ / 2).T)


@functools.cache
def silent_embedding(projection: str = DEFAULT) -> FloatArray:
    """The embedding of digital silence : float32 [EMBEDDING_DIM].

    The middle one of `SILENCE_ROWS` of silence, stored: it takes as long as five seconds of speech.
    """
    from safetensors.numpy import load_file

    return load_file(assets.path(assets.SPEECH_SILENCE.name))[projection]


def _encode(
    mel: FloatArray, weights: Mapping[str, FloatArray], visible: BoolArray | None = None
) -> FloatArray:
    """Log-mel spectrum, float32 [2 N, BANDS], to states, float32 [N, STATE_DIM].

    `visible` : bool [N, N], which rows each row attends to; None: all
    """
    x = gelu(convolve(mel, weights["conv1.taps"], weights["conv1.bias"]))
    x = gelu(convolve(x, weights["conv2.taps"], weights["conv2.bias"], stride=ROW_FRAMES))
    x = x + _positions(len(x))
    for i in range(LAYERS):
        layer = f"layers.{i}"
        normalized = _normalized(f"{layer}.attention_norm", x, weights)
        attended = _attend(layer, normalized, weights, visible)
        x = x + _linear(f"{layer}.attention_output", attended, weights)
        hidden = _normalized(f"{layer}.linear_norm", x, weights)
        hidden = gelu(_linear(f"{layer}.linear_input", hidden, weights))
        x = x + _linear(f"{layer}.linear_output", hidden, weights)
    return x


def _attend(
    layer: str, x: FloatArray, weights: Mapping[str, FloatArray], visible: BoolArray | None
) -> FloatArray:
    """Scaled dot-product attention over the visible rows : float32 [rows, STATE_DIM]."""
    projected = _linear(f"{layer}.attention_input", x, weights)
    by_head = projected.reshape(len(x), 3, HEADS, -1).transpose(1, 2, 0, 3)  # [3, heads, rows, ..]
    attended = np.empty((len(x), HEADS, x.shape[-1] // HEADS), np.float32)
    scores = np.empty((len(x), len(x)), np.float32)
    for head, (queries, keys, values) in enumerate(by_head.transpose(1, 0, 2, 3)):
        # One head after the other, in place: its scores stay in the processor's cache.
        np.matmul(queries, keys.T, out=scores)
        scores *= np.float32(queries.shape[-1] ** -0.5)
        if visible is not None:
            scores[~visible] = -np.inf
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        attended[:, head] = scores @ values / scores.sum(-1, keepdims=True)
    return attended.reshape(x.shape)


def _linear(layer: str, x: FloatArray, weights: Mapping[str, FloatArray]) -> FloatArray:
    return x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]


def _normalized(layer: str, x: FloatArray, weights: Mapping[str, FloatArray]) -> FloatArray:
    return layer_norm(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"])


def _positions(rows: int) -> FloatArray:
    """Sinusoids that tell the rows apart : float32 [rows, STATE_DIM]."""
    half = STATE_DIM // 2
    angles = np.arange(rows)[:, None] * np.exp(-np.log(10_000) * np.arange(half) / (half - 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], 1).astype(np.float32)


@functools.cache
def _weights() -> dict[str, FloatArray]:
    """Weights of the encoder, by the names used here."""
    weights = read_encoder(assets.path(assets.SPEECH_ENCODER.name))
    for layer in ("conv1", "conv2"):
        weights[f"{layer}.taps"] = taps_of(weights[f"{layer}.weight"])
    return weights


def release_encoder() -> None:
    """Forget the encoder's weights, 40 MB, until the next sound; they are read in 0.1 s."""
    _weights.cache_clear()


@functools.cache
def projection_of(name: str) -> tuple[FloatArray, FloatArray]:
    """Weight, float32 [EMBEDDING_DIM, STATE_DIM], and bias of one of `PROJECTIONS`."""
    from safetensors.numpy import load_file

    stored = load_file(assets.path(PROJECTIONS[name].asset.name))
    return np.asarray(stored["weight"], np.float32), np.asarray(stored["bias"], np.float32)
