"""Voice activity: speech, silence, threads, and lookup by time."""

from pathlib import Path

import numpy as np
import pytest
from helpers.media import RATE_HZ, sung_notes, synthetic_voice

from heygem import audio
from heygem.audio import embedding, silero, vad
from heygem.core.errors import AssetError

ROOT = Path(__file__).parents[2]


def test_voice_activity_is_high_in_speech_and_zero_in_silence(data):
    speech = audio.load(data / "audio" / "echomimic_jane.wav").samples[: 6 * RATE_HZ]
    gap = np.zeros(2 * RATE_HZ, np.float32)
    activity = audio.voice_activity(np.concatenate([gap, speech, gap]))
    assert activity.dtype == np.float32 and len(activity) == 1 + 10 * audio.FRAME_HZ
    assert (activity >= 0).all() and (activity <= 1).all()
    assert activity[220:780].mean() > 0.6
    assert (activity[:195] == 0).all() and (activity[815:] == 0).all()
    again = audio.voice_activity(np.concatenate([gap, speech, gap]))
    assert (activity == again).all()  # no state is carried from call to call


def test_voice_activity_of_digital_silence_is_exactly_zero():
    assert (audio.voice_activity(np.zeros(RATE_HZ, np.float32)) == 0).all()
    assert len(audio.voice_activity(np.zeros(1234, np.float32))) == 1 + 1234 // 160
    wave = np.concatenate([synthetic_voice(1), np.zeros(RATE_HZ, np.float32)])
    assert (audio.voice_activity(wave)[104:] == 0).all()


def test_the_probabilities_are_those_of_the_package_s_own_model():
    """Also across the boundary of what is computed at once, and for an unfilled last chunk."""
    import torch
    from silero_vad import load_silero_vad

    speech = audio.load(ROOT / "samples" / "speech_en.wav").samples
    samples = np.resize(speech, (silero._BATCH + 20) * silero.CHUNK - 100)
    model, rest = load_silero_vad(), -len(samples) % silero.CHUNK
    with torch.inference_mode():
        chunks = torch.from_numpy(np.pad(samples, (0, rest))).split(silero.CHUNK)
        expected = [model(chunk, RATE_HZ).item() for chunk in chunks]
    np.testing.assert_allclose(silero.speech_probabilities(samples), expected, atol=1e-4)
    assert np.ptp(expected) > 0.8


def test_weights_of_voice_activity_that_cannot_be_read_are_named(monkeypatch):
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    silero._weights.cache_clear()
    with pytest.raises(AssetError, match=r"pip install --force-reinstall silero-vad"):
        audio.voice_activity(synthetic_voice(0.5))


def test_the_mouth_may_move_in_a_song_and_rests_in_its_pauses():
    """Silero VAD finds no speech in long vowels; a song kept the mouth shut from end to end."""
    song = sung_notes(pause_s=0.6)
    assert (audio.voice_activity(song) > vad.IS_SPEECH).mean() < 0.03
    activity = audio.mouth_activity(song)
    assert len(activity) == 1 + len(song) // 160
    for start_s in (0.0, 1.8, 3.6):
        first = round(start_s * 100)
        assert activity[first + 10 : first + 110].mean() > 0.95
        assert (activity[first + 125 : first + 175] == 0).all()
    assert audio.mouth_activity(0.005 * song).max() < vad.IS_SPEECH  # a faint hum moves nothing
    assert (audio.mouth_activity(np.zeros(RATE_HZ, np.float32)) == 0).all()


def test_a_song_is_embedded_once_for_the_gate_and_the_lips(monkeypatch):
    song = sung_notes(pause_s=0.6)[:-77]
    lips = embedding.embed(song, rows=embedding.rows_of(song))
    calls = []
    compute = embedding._at_100_hz
    monkeypatch.setattr(embedding, "_at_100_hz", lambda *args: calls.append(1) or compute(*args))
    assert audio.mouth_activity(song).max() == 1
    np.testing.assert_array_equal(embedding.embed(song, rows=len(lips)), lips)
    assert len(calls) == 1
    embedding.embed(song, rows=len(lips))
    assert len(calls) == 2, "nothing is kept for longer"


def played_notes(seconds=6.0):
    """Three plucked notes a second over a held chord : float32 [n], 16 kHz."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    notes_hz = rng.choice([261.6, 293.7, 329.6, 392.0, 440.0], size=round(3 * seconds) + 1)
    phase = np.cumsum(notes_hz[(3 * t).astype(int)]) / RATE_HZ
    plucked = sum(np.sin(2 * np.pi * h * phase) / h**1.5 for h in range(1, 8))
    chord = sum(
        np.sin(2 * np.pi * f * h * t) / h for f in (130.8, 164.8, 196.0) for h in range(1, 6)
    )
    mixed = plucked * np.exp(-3 * ((3 * t) % 1)) + 0.3 * chord
    return (0.2 * mixed / np.abs(mixed).max()).astype(np.float32)


def test_instruments_alone_move_no_mouth():
    """Voice activity finds as little speech in them as in a song; they moved the mouth as one."""
    assert audio.mouth_activity(played_notes()).max() < vad.IS_SPEECH
    accompanied = sung_notes() + 0.1 * played_notes(5.4)
    activity = audio.mouth_activity(accompanied)
    assert activity[10:110].mean() > 0.8 and activity[190:290].mean() > 0.8


def test_in_speech_the_mouth_follows_the_speech_alone(data):
    speech = audio.load(data / "audio" / "echomimic_jane.wav").samples[: 4 * RATE_HZ]
    recording = np.concatenate([speech, sung_notes()])
    assert (audio.mouth_activity(recording) == audio.voice_activity(recording)).all()


def test_voice_at_takes_the_nearest_frame_or_the_one_before():
    voice = np.arange(10, dtype=np.float32)
    times_s = np.array([-1.0, 0.0, 0.014, 0.016, 0.0299, 5.0])
    assert audio.voice_at(voice, times_s).tolist() == [0, 0, 1, 2, 3, 9]
    assert audio.voice_at(voice, times_s, round_down=True).tolist() == [0, 0, 1, 1, 2, 9]
    # 50 Hz rows fall on every second frame, although 100 i / 50 is not exact in floating point.
    voice = np.arange(20_000)
    rows = np.arange(10_000)
    assert (audio.voice_at(voice, rows / 50) == 2 * rows).all()


def test_speech_is_where_voice_activity_is_above_a_half():
    times_s = np.arange(3) / 100
    assert audio.speech_at(np.array([0.4, 0.5, 0.6]), times_s).tolist() == [False, False, True]
    for unknown in (None, np.zeros(0)):
        assert audio.speech_at(unknown, times_s).all(), "without voice activity everything counts"
