"""Input features of the lips model: log-mel spectra, phones, and the speech embedding."""

import numpy as np
from scipy.special import expit
from threadpoolctl import threadpool_limits

from heygem import audio
from heygem.audio import phones
from heygem.audio.embedding import EMBEDDING_DIM, embed, silent_embedding
from heygem.core.types import FloatArray

FEATURE_DIM = audio.BANDS + len(phones.PHONES)  # per 10 ms, without the speech embedding
LOUDNESS_SLOPE = 8.0  # of the sigmoid that separates loud frames from quiet ones
_BLOCK_ROWS = 4096  # of which statistics are taken at once
MIN_SPREAD = 0.1  # added to a band's spread: steady noise has hardly any and must stay small


def extract_features(samples: FloatArray, *, rows: int, embedding: str | None = None) -> FloatArray:
    """Features of speech at 100 Hz, two for each row of mouth movement.

    Log-mel spectra carry everything, voice and microphone included; phones and the speech
    embedding, from models trained on thousands of speakers, carry little else than what matters
    for lips.

    Parameters
    ----------
    samples : float32 [n]
        Mono, 16 kHz, -1..1.
    rows : int
        Rows of mouth movement; audio that is too short is followed by silence.
    embedding : str, optional
        Projection of the speech embedding that follows the others (`heygem.audio.embedding`); None:
        it does not.

    Returns
    -------
    float32 [2 rows, FEATURE_DIM], with the embedding EMBEDDING_DIM more
    """
    samples = np.asarray(samples, np.float32)
    size = feature_dim(embedding is not None)
    features = np.empty((2 * rows, size), np.float32)  # the only copy of them
    # Phones take one core and embeddings the other, on which a second thread would only wait.
    phones.start(samples)
    with threadpool_limits(1, user_api="blas"):
        spectra = audio.log_mel(samples)[: 2 * rows]
        features[: len(spectra), : audio.BANDS] = spectra
        if embedding is not None:
            features[:, FEATURE_DIM:] = embed(samples, rows=2 * rows, projection=embedding)
    activity = phones.activity(samples)[: 2 * rows]
    features[: len(activity), audio.BANDS : FEATURE_DIM] = activity
    features[len(spectra) :, :FEATURE_DIM] = silent_features()
    return features


def normalize_spectra(features: FloatArray, *, like: FloatArray | None = None) -> FloatArray:
    """Remove each spectral band's mean and spread, which depend on voice and microphone.

    Each band is brought to mean 0 and a spread near 1 over the loud frames, as cepstral mean and
    variance normalisation does (Viikki and Laurila 1998).

    Parameters
    ----------
    features : float32 [T, inputs]
        Of `extract_features`.
    like : float32 [T', inputs], optional
        Features from which means and spreads are taken; default: `features`.

    Returns
    -------
    float32 [T, inputs]
    """
    mean, deviation = spectra_statistics(features if like is None else like)
    return normalized(features, mean, deviation)


def normalized(features: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
    """Features with the spectral bands brought to `spectra_statistics`: a copy."""
    out = np.array(features, np.float32)
    out[:, : audio.BANDS] -= mean
    out[:, : audio.BANDS] /= deviation
    return out


def spectra_statistics(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and spread (with `MIN_SPREAD`) of each band over the loud frames : two float32 [BANDS].

    Taken block by block, so that an hour of sound is not copied.
    """
    source = features[:, : audio.BANDS]
    if not len(source):
        return np.zeros(audio.BANDS, np.float32), np.ones(audio.BANDS, np.float32)
    loudness = source.mean(1)
    weight = expit(np.float32(LOUDNESS_SLOPE) * (loudness - loudness.mean()))
    blocks = [slice(k, k + _BLOCK_ROWS) for k in range(0, len(source), _BLOCK_ROWS)]
    total = max(float(weight.sum()), 1e-6)
    mean = np.sum([weight[b].astype(np.float64) @ source[b] for b in blocks], 0) / total
    mean = mean.astype(np.float32)
    squares = [weight[b].astype(np.float64) @ np.square(source[b] - mean) for b in blocks]
    return mean, (np.sqrt(np.sum(squares, 0) / total) + MIN_SPREAD).astype(np.float32)


def feature_dim(embedding: bool) -> int:
    """Features per 10 ms, with or without the speech embedding."""
    return FEATURE_DIM + (EMBEDDING_DIM if embedding else 0)


def has_embedding(features: FloatArray) -> bool:
    """Whether features `[..., inputs]` include the speech embedding."""
    return features.shape[-1] == feature_dim(True)


def silent_features(*, embedding: str | None = None) -> FloatArray:
    """Features of digital silence, as of `extract_features` : float32 [inputs]."""
    features = np.zeros(FEATURE_DIM, np.float32)
    features[: audio.BANDS] = (np.log(1e-5) + 6) / 3  # `audio.log_mel` of no power
    features[audio.BANDS + phones.PHONES.index("SIL")] = 1
    return features if embedding is None else np.r_[features, silent_embedding(embedding)]
