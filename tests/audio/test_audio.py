import numpy as np
import pyloudnorm
import pytest
import torch
from helpers.media import RATE_HZ, tone, write_wav

from heygem import audio
from heygem.audio import loudness, vad
from heygem.core.errors import InputError
from heygem.media import AudioFile, read_audio


def voice(seconds=2.0, rate_hz=RATE_HZ, level=0.2, seed=0):
    """float32 [n]: a buzz through two formants, in syllables; sounds enough like a voice."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    n = round(seconds * rate_hz)
    t = np.arange(n) / rate_hz
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    buzz = np.sign(np.diff(np.floor(np.cumsum(pitch) / rate_hz), prepend=0)) + 0.01 * rng.normal(
        size=n
    )
    for hz, width in ((600, 80), (1400, 120), (2600, 160)):
        r = np.exp(-np.pi * width / rate_hz)
        buzz = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * hz / rate_hz), r * r], buzz)
    syllables = np.clip(np.sin(2 * np.pi * 2 * t) + 0.3, 0, 1)
    wave = buzz * syllables
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def codes(speech):
    return {f.code for f in audio.check(speech)}


# --- loading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz, channels", [(8_000, 1), (44_100, 2), (48_000, 2), (48_000, 6)])
def test_the_model_hears_16k_mono_and_the_output_keeps_its_own(tmp_path, rate_hz, channels):
    path = write_wav(tmp_path / "a.wav", tone(2, rate_hz, channels).samples, rate_hz)
    speech = audio.load(path)
    assert speech.samples.dtype == np.float32 and speech.samples.ndim == 1
    assert len(speech.samples) == pytest.approx(2 * RATE_HZ, abs=2)
    assert (speech.source.rate_hz, speech.source.channels) == (rate_hz, channels)
    spectrum = np.abs(np.fft.rfft(speech.samples * np.hanning(len(speech.samples))))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)
    assert (speech.source.samples == read_audio(path).samples).all()


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 48_000])
def test_resampling_does_not_shift_time(tmp_path, rate_hz):
    click = np.zeros(rate_hz, np.float32)
    click[rate_hz // 2] = 0.9
    speech = audio.load(write_wav(tmp_path / "click.wav", click, rate_hz))
    assert np.abs(speech.samples).argmax() == pytest.approx(8_000, abs=2)


@pytest.mark.parametrize("ending, codec", [("mp3", "libmp3lame"), ("m4a", "aac"), ("flac", "flac")])
def test_compressed_sound_starts_where_it_should(tmp_path, ending, codec):
    wave = np.zeros(48_000, np.float32)
    wave[24_000:26_400] = tone(0.05, 48_000).samples[:, 0]
    speech = audio.load(write_wav(tmp_path / f"a.{ending}", wave, 48_000, codec))
    start_s = np.flatnonzero(np.abs(speech.samples) > 0.1)[0] / RATE_HZ
    assert start_s == pytest.approx(0.5, abs=0.004)


def test_sound_of_a_video_is_loaded(clip):
    assert audio.load(clip).duration_s == pytest.approx(1, abs=0.07)


def test_too_short_and_no_sound_are_refused(short_wav, silent_clip, tmp_path):
    with pytest.raises(InputError, match=r"too short.*0\.050 s"):
        audio.load(short_wav)
    with pytest.raises(InputError, match="no sound"):
        audio.load(silent_clip)
    with pytest.raises(InputError, match="no such file"):
        audio.load(tmp_path / "gone.wav")


# --- loudness and noise ----------------------------------------------------------------------


@pytest.mark.parametrize("channels, rate_hz", [(1, 48_000), (2, 44_100)])
def test_loudness_is_brought_to_the_target_in_model_and_output(tmp_path, channels, rate_hz):
    wave = np.repeat(voice(6, rate_hz, level=0.1)[:, None], channels, 1)
    path = write_wav(tmp_path / "v.wav", wave, rate_hz)
    speech = audio.load(path, loudness_lufs=-26)
    meter = pyloudnorm.Meter(rate_hz)  # an independent BS.1770
    assert meter.integrated_loudness(speech.source.samples) == pytest.approx(-26, abs=0.4)
    before = meter.integrated_loudness(read_audio(path).samples)
    gain = 10 ** ((-26 - before) / 20)
    assert np.std(speech.samples) / np.std(audio.load(path).samples) == pytest.approx(gain, 0.05)
    assert any("LUFS" in note for note in speech.notes)


def test_loudness_stops_below_the_true_peak_ceiling(tmp_path):
    wave = voice(4, 48_000, level=0.2)
    speech = audio.load(write_wav(tmp_path / "v.wav", wave, 48_000), loudness_lufs=-6)
    lufs, peak_db = loudness.measure(speech.source)
    assert peak_db == pytest.approx(-1, abs=0.1) and lufs < -7
    assert any("true peak" in note for note in speech.notes)


def test_processing_only_for_the_model_leaves_the_output_alone(tmp_path):
    path = write_wav(tmp_path / "v.wav", voice(3, level=0.05))
    speech = audio.load(path, loudness_lufs=-20, denoise=True, process_output=False)
    assert (speech.source.samples == read_audio(path).samples).all()
    assert np.std(speech.samples) > 1.5 * np.std(read_audio(path).samples)


@pytest.mark.parametrize("rate_hz, channels", [(16_000, 1), (44_100, 2)])
def test_denoise_lowers_steady_noise_and_keeps_time(tmp_path, rate_hz, channels):
    from scipy.signal import lfilter

    clean = voice(6, rate_hz)
    clean[: 2 * rate_hz] = 0
    rumble = lfilter([1], [1, -0.97], np.random.default_rng(0).normal(size=len(clean)))
    rumble *= 0.01 / rumble.std()
    wave = np.repeat((clean + rumble)[:, None], channels, 1)
    path = write_wav(tmp_path / "n.wav", wave, rate_hz)
    plain, quiet = audio.load(path), audio.load(path, denoise=True)
    assert any("noise" in note for note in quiet.notes)
    pause = slice(RATE_HZ // 2, RATE_HZ)
    assert np.std(quiet.samples[pause]) < 0.4 * np.std(plain.samples[pause])
    want = audio.load(write_wav(tmp_path / "c.wav", clean, rate_hz)).samples
    talk = slice(2 * RATE_HZ, 6 * RATE_HZ - 1600)
    error_before = np.std((plain.samples - want)[talk])
    assert np.std((quiet.samples - want)[talk]) < 0.8 * error_before  # also fails when shifted
    assert len(quiet.samples) == len(plain.samples)
    output = quiet.source.samples
    assert output.shape == plain.source.samples.shape
    assert np.std(output[rate_hz // 2 : rate_hz]) < 0.4 * np.std(wave[rate_hz // 2 : rate_hz])


def test_denoise_leaves_a_clean_recording_alone(tmp_path, wav):
    clean = np.concatenate([np.zeros(RATE_HZ, np.float32), voice(2)])
    path = write_wav(tmp_path / "c.wav", clean)
    assert (audio.load(path, denoise=True).samples == audio.load(path).samples).all()
    endless = audio.load(wav, denoise=True)  # a tone without any pause
    assert (endless.samples == audio.load(wav).samples).all()
    assert any("no pause" in note for note in endless.notes)


# --- features --------------------------------------------------------------------------------


def test_log_mel_is_librosas_log_mel():
    import librosa

    wave = voice(1.234)
    level = wave / audio.voiced_rms(wave) * 0.05
    mel = librosa.feature.melspectrogram(
        y=level, sr=16_000, n_fft=512, hop_length=160, win_length=400, n_mels=80, fmin=55, fmax=7600
    )
    expected = ((np.log(mel + 1e-5) + 6) / 3).T
    ours = audio.log_mel(wave)
    assert ours.dtype == np.float32 and ours.shape == expected.shape == (1 + len(wave) // 160, 80)
    assert np.abs(ours - expected).max() < 1e-3


def test_log_mel_does_not_depend_on_level_or_on_silence_before():
    wave = voice(2)
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
    wave = np.tile(voice(2), 15)  # 30 s: more than one block
    whole = audio.log_mel(wave)
    part = audio.log_mel(wave[: 24 * RATE_HZ])
    gain = np.log(audio.voiced_rms(wave[: 24 * RATE_HZ]) / audio.voiced_rms(wave))
    assert abs(gain) < 0.01
    assert np.abs(whole[1900:2100] - part[1900:2100]).max() < 0.02


def test_voice_activity_finds_the_voice_and_nothing_in_silence(data):
    speech = audio.load(data / "audio" / "echomimic_jane.wav").samples[: 6 * RATE_HZ]
    gap = np.zeros(2 * RATE_HZ, np.float32)
    activity = audio.voice_activity(np.concatenate([gap, speech, gap]))
    assert activity.dtype == np.float32 and len(activity) == 1 + 10 * FRAME
    assert (activity >= 0).all() and (activity <= 1).all()
    assert activity[220:780].mean() > 0.6
    assert (activity[:195] == 0).all() and (activity[815:] == 0).all()
    again = audio.voice_activity(np.concatenate([gap, speech, gap]))
    assert (activity == again).all()  # no state is carried from call to call


FRAME = audio.FRAME_HZ


def test_voice_activity_of_digital_silence_is_exactly_zero():
    assert (audio.voice_activity(np.zeros(RATE_HZ, np.float32)) == 0).all()
    assert len(audio.voice_activity(np.zeros(1234, np.float32))) == 1 + 1234 // 160
    wave = np.concatenate([voice(1), np.zeros(RATE_HZ, np.float32)])
    assert (audio.voice_activity(wave)[104:] == 0).all()


def test_voice_activity_leaves_torch_threads_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        vad._vad_model.cache_clear()
        audio.voice_activity(voice(0.5))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- findings --------------------------------------------------------------------------------


def test_a_good_recording_has_no_findings(data):
    assert audio.check(audio.load(data / "audio" / "echomimic_jane.wav")) == []


def test_silence_is_a_warning_and_not_an_error(empty_wav):
    found = audio.check(audio.load(empty_wav))
    assert [f.code for f in found] == ["SILENT"] and found[0].level == "warning"
    assert "stay shut" in found[0].message


def test_clipping_is_seen_at_the_source(tmp_path):
    wave = np.clip(voice(2, 48_000, level=0.9) * 6, -1, 1)
    assert "CLIPPED" in codes(audio.load(write_wav(tmp_path / "c.wav", wave, 48_000)))
    assert "CLIPPED" not in codes(
        audio.load(write_wav(tmp_path / "ok.wav", voice(2, 48_000, level=0.99), 48_000))
    )


def test_very_low_level_is_seen(tmp_path):
    assert "LOW_LEVEL" in codes(audio.load(write_wav(tmp_path / "l.wav", voice(2, level=0.004))))
    assert "LOW_LEVEL" not in codes(audio.load(write_wav(tmp_path / "m.wav", voice(2, level=0.4))))


def test_music_and_noise_are_suspected(tmp_path):
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330, 440)) * 0.1
    hiss = 0.1 * np.random.default_rng(0).normal(size=len(t))
    for name, wave in {"chord": chord, "hiss": hiss}.items():
        found = codes(audio.load(write_wav(tmp_path / f"{name}.wav", wave)))
        assert found & {"NO_SPEECH", "NOT_SPEECH"}, name


def test_music_under_speech_is_suspected(tmp_path, data):
    speech = audio.load(data / "audio" / "echomimic_jane.wav").samples
    t = np.arange(len(speech)) / RATE_HZ
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220, 277, 330)).astype(np.float32) * 0.03
    assert "NOISY" in codes(audio.load(write_wav(tmp_path / "m.wav", speech * 0.8 + chord)))


def test_samples_that_are_no_numbers_become_silence_and_are_said(tmp_path):
    wave = voice(2)
    wave[100:200] = np.nan
    wave[300] = np.inf
    speech = audio.load(write_wav(tmp_path / "nan.wav", wave))
    assert np.isfinite(speech.samples).all() and np.isfinite(speech.source.samples).all()
    assert "NOT_NUMBERS" in codes(speech) and speech.replaced == 101


def test_a_recording_streams_more_than_once(tmp_path):
    file = AudioFile(write_wav(tmp_path / "v.wav", voice(2)))
    assert (file.samples == file.samples).all() and file.duration_s == pytest.approx(2, abs=0.001)
