"""Audio of the preservation set."""

import numpy as np

from heygem.audio.features import BANDS
from heygem.core.errors import AssetError
from heygem.finetune import preservation_set
from heygem.lips.features import FEATURE_DIM, silent_features


def test_silence_is_digital_and_then_quiet_noise():
    features = preservation_set.silence()
    assert features.shape == (2 * preservation_set.SILENCE_ROWS, FEATURE_DIM)
    np.testing.assert_array_equal(features[:200], np.tile(silent_features(), (200, 1)))
    noise = features[200:, :BANDS]
    assert (noise >= features[0, :BANDS] - 1e-6).all() and noise.std() > 0
    np.testing.assert_array_equal(features[200:, BANDS:], features[:400, BANDS:])


def test_without_a_synthesizer_there_is_no_speech(monkeypatch):
    def fail(text, language):
        raise AssetError("no voice")

    monkeypatch.setattr(preservation_set.tts, "synthesize", fail)
    preservation_set._synthesize.cache_clear()
    try:
        assert preservation_set.speech() == []
    finally:
        preservation_set._synthesize.cache_clear()
