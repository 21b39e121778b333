"""Loading recordings: format, timing, refusals, processing."""

import numpy as np
import pytest
from helpers.media import RATE_HZ, synthetic_voice, tone, write_wav

from heygem import audio
from heygem.core.errors import InputError
from heygem.media import read_audio


@pytest.mark.parametrize("rate_hz, channels", [(8_000, 1), (44_100, 2), (48_000, 2), (48_000, 6)])
def test_the_model_input_is_16k_mono_and_the_output_keeps_its_format(tmp_path, rate_hz, channels):
    path = write_wav(tmp_path / "a.wav", tone(2, rate_hz, channels).samples, rate_hz)
    speech = audio.load(path)
    assert speech.samples.dtype == np.float32 and speech.samples.ndim == 1
    assert len(speech.samples) == pytest.approx(2 * RATE_HZ, abs=2)
    assert (speech.source.rate_hz, speech.source.channels) == (rate_hz, channels)
    spectrum = np.abs(np.fft.rfft(speech.samples * np.hanning(len(speech.samples))))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)
    assert (speech.source.samples == read_audio(path).samples).all()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_mixing_down_keeps_the_level_of_what_all_channels_hold(tmp_path, channels):
    voice = synthetic_voice(2, level=0.9)
    path = write_wav(tmp_path / "a.wav", np.repeat(voice[:, None], channels, 1))
    assert np.abs(audio.load(path).samples - voice).max() < 1e-3


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_resampling_does_not_shift_time(tmp_path, rate_hz):
    click = np.zeros(rate_hz, np.float32)
    click[rate_hz // 2] = 0.9
    speech = audio.load(write_wav(tmp_path / "click.wav", click, rate_hz))
    assert np.abs(speech.samples).argmax() == pytest.approx(8_000, abs=2)


@pytest.mark.parametrize("ending, codec", [("mp3", "libmp3lame"), ("m4a", "aac"), ("flac", "flac")])
def test_compressed_audio_starts_at_its_time(tmp_path, ending, codec):
    wave = np.zeros(48_000, np.float32)
    wave[24_000:26_400] = tone(0.05, 48_000).samples[:, 0]
    speech = audio.load(write_wav(tmp_path / f"a.{ending}", wave, 48_000, codec))
    start_s = np.flatnonzero(np.abs(speech.samples) > 0.1)[0] / RATE_HZ
    assert start_s == pytest.approx(0.5, abs=0.004)


def test_audio_of_a_video_is_loaded(clip):
    assert audio.load(clip).duration_s == pytest.approx(1, abs=0.07)


def test_short_and_missing_audio_is_refused(short_wav, silent_clip, tmp_path):
    with pytest.raises(InputError, match=r"too short.*0\.050 s"):
        audio.load(short_wav)
    with pytest.raises(InputError, match="no sound"):
        audio.load(silent_clip)
    with pytest.raises(InputError, match="no such file"):
        audio.load(tmp_path / "gone.wav")


def test_processing_of_the_model_input_only_leaves_the_output_unchanged(tmp_path):
    path = write_wav(tmp_path / "v.wav", synthetic_voice(3, level=0.05))
    speech = audio.load(path, loudness_lufs=-20, denoise=True, process_output=False)
    assert (speech.source.samples == read_audio(path).samples).all()
    assert np.std(speech.samples) > 1.5 * np.std(read_audio(path).samples)
