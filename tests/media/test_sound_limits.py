"""Sound with an impossible header or impossible samples: refused, or repaired and counted."""

import numpy as np
import pytest
from helpers.media import raw_wav, refusal, synthetic_voice

from heygem import audio
from heygem.media import AudioFile
from heygem.media.sound_limits import CHANNELS, SampleCheck

pytestmark = pytest.mark.fault


@pytest.mark.parametrize("rate_hz", [1, 3_999, 400_000])
def test_an_impossible_rate_is_refused_before_anything_is_decoded(tmp_path, rate_hz):
    path = raw_wav(tmp_path / "r.wav", synthetic_voice(1), rate_hz)
    assert f"{rate_hz} Hz" in refusal(lambda: AudioFile(path))


@pytest.mark.parametrize("channels", [9, 100, 300])
def test_channels_that_cannot_be_mixed_are_refused(tmp_path, channels):
    path = raw_wav(tmp_path / "c.wav", np.repeat(synthetic_voice(0.5)[:, None], channels, 1))
    assert f"{channels} channels" in refusal(lambda: audio.load(path))


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_accepted_number_of_channels_is_mixed(tmp_path, channels):
    voice = synthetic_voice(0.5)
    path = raw_wav(tmp_path / "c.wav", np.repeat(voice[:, None], channels, 1))
    assert np.abs(audio.load(path).samples - voice).max() < 1e-3


@pytest.mark.parametrize("factor", [1e30, 1000, np.nan, -np.inf])
def test_samples_that_cannot_be_sound_are_refused(tmp_path, factor):
    path = raw_wav(tmp_path / "s.wav", (synthetic_voice(1) + 0.1) * np.float32(factor))
    assert "cannot be sound" in refusal(lambda: audio.load(path))


@pytest.mark.parametrize("value", [1e30, 3.4e38, -50, np.nan, np.inf])
@pytest.mark.slow
def test_a_few_impossible_samples_become_silence_and_are_counted(tmp_path, value):
    voice = synthetic_voice(1)
    damaged = voice.copy()
    damaged[1000:1010] = value
    speech = audio.load(raw_wav(tmp_path / "s.wav", damaged))
    assert speech.invalid_samples == 10
    assert "NOT_NUMBERS" in [finding.code for finding in audio.check(speech)]
    voice[1000:1010] = 0
    assert (speech.samples == voice).all() and (speech.source.samples[:, 0] == voice).all()


def test_sound_above_full_scale_is_clipped_as_players_clip_it(tmp_path):
    voice = 10 * synthetic_voice(1)  # 20 dB too loud
    speech = audio.load(raw_wav(tmp_path / "s.wav", voice))
    assert speech.invalid_samples == 0 and speech.clipped_share > 0
    assert (speech.samples == np.clip(voice, -1, 1)).all()
    assert (speech.source.samples[:, 0] == np.clip(voice, -1, 1)).all()


def test_a_block_without_invalid_samples_is_passed_on_as_it_is():
    block = np.linspace(-16, 16, 100, dtype=np.float32)[:, None]
    check = SampleCheck()
    assert check.repaired(block) is block and (check.total, check.invalid) == (100, 0)
