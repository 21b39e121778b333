"""What the lips model hears: spectra, phones, and optionally those of a speech encoder."""

import numpy as np
import torch

from heygem import audio
from heygem.audio import phones

FEATURE_DIM = audio.BANDS + len(phones.PHONES)  # numbers every 10 ms, without a speech encoder


def extract_features(samples, *, rows, encoder=None):
    """What the network reads, two for each row of movement : float32 [2 rows, HEARD].

    Log-mel spectra carry everything, voice and microphone included; the phones of a recogniser
    that has heard thousands of speakers carry little else than what matters for lips. The
    features of `encoder` (`heygem.audio.encoder.SpeechEncoder`) follow where there is one.
    """
    samples = np.asarray(samples, np.float32)
    heard = np.concatenate([audio.log_mel(samples), phones.activity(samples)], 1)[: 2 * rows]
    missing = np.tile(silent_features(), (2 * rows - len(heard), 1))
    heard = np.concatenate([heard, missing]).astype(np.float32)
    if encoder is None:
        return heard
    return np.concatenate([heard, encoder.encode(samples, rows=2 * rows)], 1)


def normalize_spectra(heard, *, like=None):
    """Take the voice's and the microphone's own colour out of the spectra.

    Each band is brought to mean 0 and a spread near 1 over the loud instants, as cepstral mean and
    variance normalisation does (Viikki and Laurila 1998): a mouth does not depend on who speaks
    into what.

    Parameters
    ----------
    heard : float [..., T, inputs]
        `features`.
    like : float [..., T', inputs], optional
        What to take the bands' means and spreads from; default: `heard`.

    Returns
    -------
    float [..., T, inputs]
    """
    known = (heard if like is None else like)[..., : audio.BANDS]
    loud = known.mean(-1, keepdim=True)
    loud = torch.sigmoid(8 * (loud - loud.mean(-2, keepdim=True)))
    total = loud.sum(-2, keepdim=True).clamp(min=1e-6)
    mean = (known * loud).sum(-2, keepdim=True) / total
    spread = ((known - mean).square() * loud).sum(-2, keepdim=True).div(total).sqrt()
    # The added part keeps steady noise, which has hardly any spread, from looking like speech.
    spectra = (heard[..., : audio.BANDS] - mean) / (spread + 0.1)
    return torch.cat([spectra, heard[..., audio.BANDS :]], -1)


def silent_features(encoder=None):
    """What the network reads in digital silence : float32 [HEARD], and the encoder's width."""
    quiet = np.zeros(FEATURE_DIM, np.float32)
    quiet[: audio.BANDS] = (np.log(1e-5) + 6) / 3  # `heygem.audio.features.log_mel` of no power
    quiet[audio.BANDS + phones.PHONES.index("SIL")] = 1
    return quiet if encoder is None else np.concatenate([quiet, encoder.silence])
