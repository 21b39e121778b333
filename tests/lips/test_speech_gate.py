"""When the mouth may move."""

import numpy as np

from heygem.lips.speech_gate import speech_gate


def test_flanks_last_as_long_as_the_fade():
    voice = np.zeros(400, np.float32)
    voice[150:250] = 1
    gate = speech_gate(voice, rows=200, rate_hz=50.0, fade_ms=120.0)
    rising = gate[:100]
    frames = ((rising > 0.02) & (rising < 0.98)).sum()
    assert 3 <= frames <= 7  # rows of 20 ms: 60 to 140 ms
    assert (np.diff(rising) >= -1e-6).all()
    assert gate[75:125].min() > 0.999


def test_gate_does_not_toggle_around_its_threshold():
    voice = 0.5 + 0.08 * np.sin(np.arange(600))
    voice[:100] = 0
    gate = speech_gate(voice.astype(np.float32), rows=300, rate_hz=50.0)
    assert (np.abs(np.diff((gate > 0.5).astype(int))).sum()) <= 1


def test_no_voice_is_no_movement():
    assert not speech_gate(np.zeros(0, np.float32), rows=10, rate_hz=50.0).any()
    assert not speech_gate(np.zeros(300, np.float32), rows=150, rate_hz=50.0).any()
