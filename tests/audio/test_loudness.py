"""Loudness normalisation, against pyloudnorm as an independent BS.1770 meter."""

import numpy as np
import pyloudnorm
import pytest
from helpers.media import synthetic_voice, tone, write_wav

from heygem import audio
from heygem.audio.loudness import measure_loudness, normalization_gain_db
from heygem.media import AudioTrack, read_audio


@pytest.mark.parametrize("channels, rate_hz", [(1, 48_000), (2, 44_100)])
@pytest.mark.slow
def test_loudness_is_brought_to_the_target_in_model_and_output(tmp_path, channels, rate_hz):
    wave = np.repeat(synthetic_voice(6, rate_hz, level=0.1)[:, None], channels, 1)
    path = write_wav(tmp_path / "v.wav", wave, rate_hz)
    speech = audio.load(path, loudness_lufs=-26)
    meter = pyloudnorm.Meter(rate_hz)  # an independent BS.1770
    assert meter.integrated_loudness(speech.source.samples) == pytest.approx(-26, abs=0.4)
    before = meter.integrated_loudness(read_audio(path).samples)
    gain = 10 ** ((-26 - before) / 20)
    assert np.std(speech.samples) / np.std(audio.load(path).samples) == pytest.approx(gain, 0.05)
    assert any("LUFS" in note for note in speech.notes)


def test_loudness_stops_below_the_true_peak_ceiling(tmp_path):
    wave = synthetic_voice(4, 48_000, level=0.2)
    speech = audio.load(write_wav(tmp_path / "v.wav", wave, 48_000), loudness_lufs=-6)
    lufs, peak_db = measure_loudness(speech.source)
    assert peak_db == pytest.approx(-1, abs=0.1) and lufs < -7
    assert any("true peak" in note for note in speech.notes)


@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_equals_pyloudnorm(channels):
    track = AudioTrack(np.repeat(synthetic_voice(5, 48_000)[:, None], channels, 1), 48_000)
    loudness, peak_db = measure_loudness(track)
    reference = pyloudnorm.Meter(48_000).integrated_loudness(track.samples)
    assert loudness == pytest.approx(reference, abs=0.2)
    sample_peak_db = 20 * np.log10(np.abs(track.samples).max())
    assert sample_peak_db - 0.1 <= peak_db < sample_peak_db + 2


def test_the_gain_reaches_the_target_and_leaves_silence_unchanged():
    track = tone(3, 48_000, level=0.05)
    loudness, _ = measure_loudness(track)
    gain_db, note = normalization_gain_db(track, -23.0)
    assert gain_db == pytest.approx(-23 - loudness) and "-23.0 LUFS" in note
    louder = AudioTrack(track.samples * np.float32(10 ** (gain_db / 20)), 48_000)
    assert measure_loudness(louder)[0] == pytest.approx(-23, abs=0.1)
    gain_db, note = normalization_gain_db(
        AudioTrack(np.zeros((48_000, 1), np.float32), 48_000), -23
    )
    assert gain_db == 0 and "silent" in note
