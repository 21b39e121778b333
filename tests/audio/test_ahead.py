"""A sound that is listened to before the models are there."""

import threading
import weakref

import numpy as np
import pytest

from heygem import audio
from heygem.audio import ahead, phones
from heygem.config.params import AudioSettings
from heygem.core.errors import Cancelled
from heygem.core.interrupts import cancellation

SETTINGS = AudioSettings()


def test_a_sound_that_was_started_is_the_one_that_is_loaded(wav, monkeypatch):
    expected = audio.load(wav).samples
    recognised = phones.activity(expected)
    calls, segments = [], phones.segments
    monkeypatch.setattr(
        phones, "segments", lambda samples: calls.append(samples) or segments(samples)
    )
    ahead.start(wav, SETTINGS)
    speech = ahead.take(wav, SETTINGS)
    assert np.array_equal(speech.samples, expected)
    assert np.array_equal(phones.activity(speech.samples), recognised)
    assert len(calls) == 1 and calls[0] is speech.samples


def test_it_is_taken_once_and_for_its_settings_alone(wav):
    ahead.start(wav, SETTINGS)
    assert ahead.take(wav, AudioSettings(denoise=True)) is None
    assert ahead.take(wav.parent / "." / wav.name, SETTINGS) is not None
    assert ahead.take(wav, SETTINGS) is None


@pytest.mark.fault
def test_a_file_without_sound_is_left_to_whoever_loads_it(tmp_path):
    broken = tmp_path / "text.wav"
    broken.write_text("no sound")
    ahead.start(broken, SETTINGS)
    assert ahead.take(broken, SETTINGS) is None


@pytest.mark.fault
def test_a_cancelled_job_does_not_wait_for_phones(monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def recognise(samples):
        begun.set()
        go_on.wait(30)
        return []

    monkeypatch.setattr(phones, "segments", recognise)
    samples, cancel = np.zeros(16000, np.float32), threading.Event()
    phones.start(samples)
    assert begun.wait(30)
    cancel.set()
    with cancellation(cancel), pytest.raises(Cancelled):
        phones.activity(samples)
    go_on.set()


@pytest.mark.fault
def test_what_fails_while_phones_are_recognised_is_told(monkeypatch):
    def fail(samples):
        raise RuntimeError("no model")

    monkeypatch.setattr(phones, "segments", fail)
    samples = np.zeros(16000, np.float32)
    phones.start(samples)
    with pytest.raises(RuntimeError, match="no model"):
        phones.activity(samples)


def test_sounds_that_nobody_asks_for_are_not_kept(monkeypatch):
    monkeypatch.setattr(phones, "segments", lambda samples: [])
    sounds = [np.zeros(1600, np.float32) for _ in range(3 * phones.MAX_STARTED)]
    kept = [weakref.ref(sound) for sound in sounds]
    for sound in sounds:
        phones.start(sound)
        assert phones.activity(sound).shape[0] == 11  # also where it was not begun before
    for sound in sounds:
        phones.start(sound)
    del sound, sounds
    for thread in threading.enumerate():
        if thread.name == "phones":
            thread.join(30)
    assert sum(ref() is not None for ref in kept) <= phones.MAX_STARTED
