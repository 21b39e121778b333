"""Warnings about recordings: level, clipping, noise, missing speech."""

import numpy as np
from helpers.media import RATE_HZ, synthetic_voice, write_wav

from heygem import audio


def codes(speech):
    return {f.code for f in audio.check(speech)}


def test_a_good_recording_has_no_findings(data):
    assert audio.check(audio.load(data / "audio" / "echomimic_jane.wav")) == []


def test_silence_is_a_warning_and_not_an_error(empty_wav):
    findings = audio.check(audio.load(empty_wav))
    assert [f.code for f in findings] == ["SILENT"] and findings[0].level == "warning"
    assert "stay shut" in findings[0].message


def test_clipping_is_detected_in_the_source(tmp_path):
    wave = np.clip(synthetic_voice(2, 48_000, level=0.9) * 6, -1, 1)
    assert "CLIPPED" in codes(audio.load(write_wav(tmp_path / "c.wav", wave, 48_000)))
    assert "CLIPPED" not in codes(
        audio.load(write_wav(tmp_path / "ok.wav", synthetic_voice(2, 48_000, level=0.99), 48_000))
    )


def test_a_very_low_level_is_detected(tmp_path):
    assert "LOW_LEVEL" in codes(
        audio.load(write_wav(tmp_path / "l.wav", synthetic_voice(2, level=0.004)))
    )
    assert "LOW_LEVEL" not in codes(
        audio.load(write_wav(tmp_path / "m.wav", synthetic_voice(2, level=0.4)))
    )


def test_music_and_noise_are_suspected(tmp_path):
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330, 440)) * 0.1
    hiss = 0.1 * np.random.default_rng(0).normal(size=len(t))
    for name, wave in {"chord": chord, "hiss": hiss}.items():
        findings = codes(audio.load(write_wav(tmp_path / f"{name}.wav", wave)))
        assert findings & {"NO_SPEECH", "NOT_SPEECH"}, name


def test_music_under_speech_is_suspected(tmp_path, data):
    speech = audio.load(data / "audio" / "echomimic_jane.wav").samples
    t = np.arange(len(speech)) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330)).astype(np.float32) * 0.03
    assert "NOISY" in codes(audio.load(write_wav(tmp_path / "m.wav", speech * 0.8 + chord)))


def test_non_finite_samples_become_silence_and_are_reported(tmp_path):
    wave = synthetic_voice(2)
    wave[100:200] = np.nan
    wave[300] = np.inf
    speech = audio.load(write_wav(tmp_path / "nan.wav", wave))
    assert np.isfinite(speech.samples).all() and np.isfinite(speech.source.samples).all()
    assert "NOT_NUMBERS" in codes(speech) and speech.invalid_samples == 101
