"""Phone recogniser: correct phones at the correct times, reproducibly."""

import threading
import time

import numpy as np
import pytest

from heygem import audio
from heygem.audio import phones, tts


def synthesize_16k(text):
    """Speech float32 [n] at 16 kHz, and its true phones."""
    utterance = tts.synthesize(text, "en-us")
    block = np.asarray(utterance.samples, np.float32)[:, None]
    return audio.to_mono_16k([block], utterance.rate_hz, "mono"), utterance.phones


@pytest.mark.slow
def test_bilabials_are_recognised_at_their_times():
    samples, truth = synthesize_16k("My mother made many more messages about memory and money.")
    activity = phones.activity(samples)[:, phones.PHONES.index("M")]
    times_s = [(start + end) / 2 for start, end, name in truth if name == "m"]
    at_m = np.mean([activity[round(t * 100)] for t in times_s])
    assert len(times_s) >= 6
    assert at_m > 3 * activity.mean()


@pytest.mark.slow
def test_phones_depend_neither_on_earlier_calls_nor_on_level():
    samples, _ = synthesize_16k("Place blue by P two now.")
    first = phones.segments(samples)
    rng = np.random.default_rng(0)
    phones.segments(rng.normal(0, 0.1, 32000).astype(np.float32))
    assert phones.segments(samples) == first
    assert phones.segments(samples * 0.1) == first


@pytest.mark.slow
def test_long_speech_is_recognised_in_pieces_without_a_gap(monkeypatch):
    samples, _ = synthesize_16k("Bin blue at F two now. " * 6)
    monkeypatch.setattr(phones, "MAX_PIECE_S", 4.0)
    monkeypatch.setattr(phones, "CUT_SEARCH_S", 2.0)
    edges = np.array([(start, stop) for start, stop, _ in phones.segments(samples)])
    assert (edges[1:, 0] >= edges[:-1, 1]).all()
    assert (edges[1:, 0] - edges[:-1, 1]).max() <= 5
    assert edges[-1, 1] >= len(samples) / 160 - 10


def test_short_recordings_and_silence():
    for n in (0, 1, 159, 160, 900):
        assert phones.activity(np.zeros(n, np.float32)).shape == (1 + n // 160, len(phones.PHONES))
    quiet = phones.activity(np.zeros(16000, np.float32))
    assert quiet[20:-20, phones.PHONES.index("SIL")].min() > 0.99


def test_other_threads_run_while_phones_are_recognised():
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * 16000).astype(np.float32)
    phones.segments(noise[:16000])  # loads the model
    recognition = threading.Thread(target=phones.segments, args=(noise,))
    began = last = time.perf_counter()
    longest_s = 0.0
    recognition.start()
    while recognition.is_alive():
        now = time.perf_counter()
        longest_s, last = max(longest_s, now - last), now
    assert longest_s < 0.7 * (last - began)
