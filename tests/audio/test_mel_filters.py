"""Mel filters without librosa."""

import numpy as np
import pytest

from heygem.audio.mel_filters import mel_filters


@pytest.mark.slow  # it imports librosa
@pytest.mark.parametrize(
    "setting", [(16_000, 512, 80, 55.0, 7600.0), (16_000, 800, 80, 55.0, 7600.0)]
)
def test_filters_are_those_of_librosa_bit_for_bit(setting):
    import librosa

    rate_hz, n_fft, bands, lowest_hz, highest_hz = setting
    expected = librosa.filters.mel(
        sr=rate_hz, n_fft=n_fft, n_mels=bands, fmin=lowest_hz, fmax=highest_hz
    )
    np.testing.assert_array_equal(mel_filters(*setting), expected)
