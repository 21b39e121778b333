"""Audio on which a fine-tuned model must predict what the base model predicts.

Footage is narrow: six-word commands, one language, one microphone. What is fitted there may harm
everything else, and held-out seconds of the same footage cannot show it. So the change is held near
zero on speech of other voices and languages, from the bundled synthesiser, and in silence.
"""

import logging
from functools import cache

import numpy as np
import torch
from scipy.signal import resample_poly

from heygem import audio
from heygem.audio import tts
from heygem.core.errors import HeygemError
from heygem.core.types import FloatArray
from heygem.lips.features import FEATURE_DIM, extract_features, silent_features
from heygem.training import augment
from heygem.training.embeddings import noise_embeddings

log = logging.getLogger(__name__)

TEXTS = (
    (
        "en-us",
        "Please call Stella and ask her to bring these things with her from the store: six spoons "
        "of fresh snow peas, five thick slabs of blue cheese, and maybe a snack for her brother "
        "Bob. The quick brown fox jumps over the lazy dog, while a big blue boat moves off.",
    ),
    ("de", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, am Abend im Bad."),
    ("cmn", "今天天气很好，我们一起去公园散步吧。他喜欢喝茶，也喜欢看书。"),
    ("fr", "Portez ce vieux whisky au juge blond qui fume. Un homme bon ne boit pas beaucoup."),
)
SILENCE_ROWS = 300


def silence(*, embedding: str | None = None) -> FloatArray:
    """Features of digital silence, then of room noise : float32 [2 SILENCE_ROWS, inputs]."""
    features = np.tile(silent_features(embedding=embedding), (2 * SILENCE_ROWS, 1)).astype(
        np.float32
    )
    augmentation = augment.Augment(torch.Generator().manual_seed(0))
    noise = augmentation.noise(torch.zeros(1, 4 * SILENCE_ROWS // 3, audio.BANDS))
    features[-noise.shape[1] :, : audio.BANDS] = augment.to_log(noise * 1e-2)[0].numpy()
    if embedding is not None:
        features[-noise.shape[1] :, FEATURE_DIM:] = noise_embeddings(embedding)[: noise.shape[1]]
    return features


def speech(*, embedding: str | None = None) -> list[FloatArray]:
    """Features of synthetic speech : list of float32 [2 N, inputs]; empty without a synthesiser."""
    return [
        extract_features(samples, rows=len(samples) // 320, embedding=embedding)
        for samples in _synthesize()
    ]


@cache
def _synthesize() -> list[FloatArray]:
    """The texts as speech : list of float32 [n], 16 kHz."""
    utterances = []
    for language, text in TEXTS:
        try:
            utterance = tts.synthesize(text, language)
        except HeygemError as error:
            log.warning("the preservation set has no speech in %s: %s", language, error)
            continue
        up, down = audio.RATE_HZ, utterance.rate_hz
        common = np.gcd(up, down)
        samples = resample_poly(utterance.samples, up // common, down // common)
        utterances.append(samples.astype(np.float32))
    return utterances
