"""Sound at which a person's model stays what the base is, whoever is learnt.

Footage is narrow: six-word commands, one language, one microphone. What was learnt there may ruin
everything else, and held-out seconds of the same footage cannot show it. So the change is held to
nought on speech of other voices and languages, from the kit's own synthesiser, and in silence.
"""

import logging
from functools import cache

import numpy as np
import torch
from scipy.signal import resample_poly

from heygem import audio
from heygem.audio import tts
from heygem.core.errors import HeygemError
from heygem.lips.features import extract_features, silent_features
from heygem.training import augment

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
QUIET_ROWS = 300


def silence(encoder=None):
    """Digital silence, and then room noise : float32 [2 QUIET_ROWS, inputs]."""
    quiet = np.tile(silent_features(encoder), (2 * QUIET_ROWS, 1)).astype(np.float32)
    change = augment.Augment(torch.Generator().manual_seed(0))
    noise = change.noise(torch.zeros(1, 4 * QUIET_ROWS // 3, audio.BANDS))
    quiet[-noise.shape[1] :, : audio.BANDS] = augment.to_log(noise * 1e-2)[0].numpy()
    return quiet


def voices(encoder=None):
    """Speech of other voices : list of float32 [2 N, inputs]; empty where no voice can speak."""
    return [extract_features(s, rows=len(s) // 320, encoder=encoder) for s in _spoken()]


@cache
def _spoken():
    said = []
    for language, text in TEXTS:
        try:
            utterance = tts.synthesize(text, language)
        except HeygemError as error:
            log.warning("no speech in %s to hold the model to: %s", language, error)
            continue
        up, down = audio.RATE_HZ, utterance.rate_hz
        common = np.gcd(up, down)
        said.append(resample_poly(utterance.samples, up // common, down // common))
    return [s.astype(np.float32) for s in said]
