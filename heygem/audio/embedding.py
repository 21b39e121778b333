"""Speech embedding: a pretrained description of speech, every 10 ms, as input of the lips model.

Google's speech embedding network (Lin et al. 2020, "Training keyword spotters with limited and
synthesized speech data") was trained on a vast number of voices to tell spoken words apart. Its 96
numbers describe 775 ms of sound with little of the voice and the microphone in them. It takes 32
mel bands; both networks are fetched with the face models (`heygem models pull`), Apache-2.0.
"""

import functools
import threading

import numpy as np

from heygem.audio.features import HOP, voiced_rms
from heygem.core import assets
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.litert import LiteRTModel
from heygem.core.types import FloatArray

EMBEDDING_DIM = 96
EMBEDDING_MODEL, MEL_MODEL = "embedding_model.tflite", "melspectrogram.tflite"
INPUT_RMS = 0.08  # of the voice; the level of the published examples
MEL_BANDS = 32
FFT_SAMPLES = 512  # of a mel frame
WINDOW_FRAMES = 76  # mel frames, 10 ms apart, that one answer depends on
STRIDE_FRAMES = 8  # between the answers of one pass over a longer input
CHUNK_FRAMES = 400  # answers computed at once; a multiple of the stride
FLOOR_DB = 30.0  # the mel network's own lies 80 dB below the loudest frame that it is given
MIN_SPREAD = 1e-3
_MEL_FRAMES = CHUNK_FRAMES - 1 + WINDOW_FRAMES  # of a chunk
_CHUNK_SAMPLES = (_MEL_FRAMES - 1) * HOP + FFT_SAMPLES
_PASS_FRAMES = _MEL_FRAMES + 1 - STRIDE_FRAMES

_lock = threading.Lock()


def embed(samples: FloatArray, *, rows: int) -> FloatArray:
    """Embedding of speech at 100 Hz.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1
    rows : int
        Frames to return; sound that is too short is followed by silence.

    Returns
    -------
    float32 [rows, EMBEDDING_DIM]
        Row i describes the 775 ms centred on i / 100 seconds, with mean 0 and spread 1 over the
        dimensions.
    """
    samples = np.asarray(samples, np.float32)
    rms = voiced_rms(samples)
    scale = np.float32(32767 * (INPUT_RMS / rms if rms else 1.0))
    out = np.empty((rows, EMBEDDING_DIM), np.float32)
    for first in range(0, rows, CHUNK_FRAMES):
        raise_if_cancelled()
        # Half of a window, and of a transform, lie before the first row's own moment.
        start = first * HOP - ((WINDOW_FRAMES - 1) * HOP + FFT_SAMPLES) // 2
        piece = samples[max(0, start) : max(0, start + _CHUNK_SAMPLES)]
        before = max(0, -start)
        piece = np.pad(piece * scale, (before, _CHUNK_SAMPLES - before - len(piece)))
        answers = _embed_chunk(np.clip(piece, -32768, 32767))
        out[first : first + CHUNK_FRAMES] = answers[: rows - first]
    out -= out.mean(1, keepdims=True)
    return out / (out.std(1, keepdims=True) + np.float32(MIN_SPREAD))


def _embed_chunk(samples: FloatArray) -> FloatArray:
    """Answers for float32 [_CHUNK_SAMPLES] in 16-bit range : float32 [CHUNK_FRAMES, 96]."""
    with _lock:  # an interpreter has one set of buffers
        mel_network, network = _networks()
        mels = np.maximum(mel_network(samples[None])[0].reshape(-1, MEL_BANDS), FLOOR_DB)
        mels = mels / 10 + 2  # the scale of the network's training
        out = np.empty((CHUNK_FRAMES, EMBEDDING_DIM), np.float32)
        # Convolutions without padding in time give, in one pass over a long input, what they give
        # window by window, every eighth frame: eight passes give every frame.
        for phase in range(STRIDE_FRAMES):
            answers = network(mels[None, phase : phase + _PASS_FRAMES, :, None])[0]
            out[phase::STRIDE_FRAMES] = answers.reshape(-1, EMBEDDING_DIM)
    return out


@functools.cache
def silent_embedding() -> FloatArray:
    """The embedding of digital silence : float32 [EMBEDDING_DIM]."""
    return embed(np.zeros(HOP, np.float32), rows=1)[0]


@functools.cache
def _networks() -> tuple[LiteRTModel, LiteRTModel]:
    """The networks for mels and for the embedding, each for one chunk."""
    return (
        LiteRTModel(assets.path(MEL_MODEL), input_shape=(1, _CHUNK_SAMPLES)),
        LiteRTModel(assets.path(EMBEDDING_MODEL), input_shape=(1, _PASS_FRAMES, MEL_BANDS, 1)),
    )
