"""Recognised phones: the right ones at the right time, the same ones every time."""

import numpy as np

from heygem import audio
from heygem.audio import phones, tts


def spoken(text):
    said = tts.synthesize(text, "en-us")
    layout = np.asarray(said.samples, np.float32)[:, None]
    return audio.to_mono_16k([layout], said.rate_hz, "mono"), said.phones


def test_bilabials_are_heard_where_they_are():
    samples, truth = spoken("My mother made many more messages about memory and money.")
    heard = phones.activity(samples)[:, phones.PHONES.index("M")]
    times = [(a + b) / 2 for a, b, name in truth if name == "m"]
    at_m = np.mean([heard[round(t * 100)] for t in times])
    assert len(times) >= 6
    assert at_m > 3 * heard.mean()


def test_the_same_sound_gives_the_same_phones_whatever_came_before():
    samples, _ = spoken("Place blue by P two now.")
    first = phones.segments(samples)
    rng = np.random.default_rng(0)
    phones.segments(rng.normal(0, 0.1, 32000).astype(np.float32))
    assert phones.segments(samples) == first
    assert phones.segments(samples * 0.1) == first


def test_long_speech_is_heard_in_pieces_without_a_gap(monkeypatch):
    samples, _ = spoken("Bin blue at F two now. " * 6)
    monkeypatch.setattr(phones, "LONGEST_S", 4.0)
    monkeypatch.setattr(phones, "CUT_WITHIN_S", 2.0)
    found = phones.segments(samples)
    edges = np.array([(a, b) for a, b, _ in found])
    assert (edges[1:, 0] >= edges[:-1, 1]).all()
    assert (edges[1:, 0] - edges[:-1, 1]).max() <= 5
    assert edges[-1, 1] >= len(samples) / 160 - 10


def test_odd_lengths_and_silence():
    for n in (0, 1, 159, 160, 900):
        assert phones.activity(np.zeros(n, np.float32)).shape == (1 + n // 160, len(phones.PHONES))
    quiet = phones.activity(np.zeros(16000, np.float32))
    assert quiet[20:-20, phones.PHONES.index("SIL")].min() > 0.99
