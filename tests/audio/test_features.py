"""Log-mel spectrogram, against librosa, and the level of the voice."""

import numpy as np
import pytest
from helpers.media import RATE_HZ, synthetic_voice, tone

from heygem import audio


@pytest.mark.slow
def test_log_mel_is_librosas_log_mel():
    import librosa

    wave = synthetic_voice(1.234)
    level = wave / audio.voiced_rms(wave) * 0.05
    mel = librosa.feature.melspectrogram(
        y=level, sr=16_000, n_fft=512, hop_length=160, win_length=400, n_mels=80, fmin=55, fmax=7600
    )
    expected = ((np.log(mel + 1e-5) + 6) / 3).T
    features = audio.log_mel(wave)
    assert features.dtype == np.float32 and features.shape == expected.shape == (
        1 + len(wave) // 160,
        80,
    )
    assert np.abs(features - expected).max() < 1e-3


def test_log_mel_does_not_depend_on_level_or_on_silence_before():
    wave = synthetic_voice(2)
    base = audio.log_mel(wave)
    assert np.abs(audio.log_mel(wave * 0.1) - base).max() < 1e-3
    noise = 1e-4 * np.random.default_rng(0).normal(size=5 * RATE_HZ).astype(np.float32)
    for before in (np.zeros(5 * RATE_HZ, np.float32), noise):
        later = audio.log_mel(np.concatenate([before, wave]))
        assert np.abs(later[503:] - base[3:]).max() < 0.01


def test_log_mel_leaves_silence_silent():
    silent = audio.log_mel(np.zeros(RATE_HZ, np.float32))
    hiss = 1e-5 * np.random.default_rng(0).normal(size=RATE_HZ).astype(np.float32)
    assert np.allclose(silent, silent[0, 0]) and np.isfinite(silent).all()
    assert np.abs(audio.log_mel(hiss) - silent).max() < 0.1


def test_log_mel_frames_are_centred_on_their_time():
    click = np.zeros(RATE_HZ, np.float32)
    click[RATE_HZ // 2] = 1
    assert audio.log_mel(click).mean(1).argmax() == 50


def test_log_mel_of_a_long_recording_equals_its_pieces():
    wave = np.tile(synthetic_voice(2), 15)  # 30 s: more than one block
    whole = audio.log_mel(wave)
    part = audio.log_mel(wave[: 24 * RATE_HZ])
    gain = np.log(audio.voiced_rms(wave[: 24 * RATE_HZ]) / audio.voiced_rms(wave))
    assert abs(gain) < 0.01
    assert np.abs(whole[1900:2100] - part[1900:2100]).max() < 0.02


def test_voiced_rms_of_a_tone_is_its_rms_whatever_surrounds_it():
    wave = tone(1.0, level=0.3).samples[:, 0]
    rms = 0.3 / np.sqrt(2)
    assert audio.voiced_rms(wave) == pytest.approx(rms, rel=1e-3)
    silence = np.zeros(4 * RATE_HZ, np.float32)
    noise = np.random.default_rng(0).normal(0, 0.003, 4 * RATE_HZ).astype(np.float32)
    for background in (silence, noise):  # the noise is 37 dB below the tone
        padded = np.concatenate([background, wave, background])
        assert audio.voiced_rms(padded) == pytest.approx(rms, rel=1e-3)
    assert audio.voiced_rms(silence) == 0 == audio.voiced_rms(np.zeros(0, np.float32))
