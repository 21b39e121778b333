"""Which frame is shown when, against orders written out by hand."""

import threading
import time
import weakref
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from heygem.avatar import timeline as timeline_module
from heygem.avatar.timeline import Timeline, build_timeline, frames_in_order
from heygem.config.params import MediaSettings


def avatar(times_s, rate=10):
    track = SimpleNamespace(times_s=np.asarray(times_s, float))
    info = SimpleNamespace(video=SimpleNamespace(rate=Fraction(rate)))
    return SimpleNamespace(track=track, info=info, is_still=len(times_s) == 1)


FOUR = avatar([0.5, 0.6, 0.7, 0.8])  # the stream starts late: only differences count


def test_a_shorter_sound_ends_the_video():
    timeline = build_timeline(FOUR, 0.25, MediaSettings())
    assert timeline.order.tolist() == [0, 1, 2] and timeline.spoken == 3
    assert timeline.times_s == pytest.approx([0, 0.1, 0.2])
    assert timeline.duration_s == pytest.approx(0.3)


def test_the_rest_of_the_video_can_stay():
    timeline = build_timeline(FOUR, 0.25, MediaSettings(tail="keep"))
    assert len(timeline) == 4 and timeline.spoken == 3


@pytest.mark.parametrize(
    "extend, order",
    [
        ("pingpong", [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]),
        ("loop", [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]),
        ("freeze", [0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3]),
    ],
)
def test_a_longer_sound_goes_on_as_asked(extend, order):
    timeline = build_timeline(FOUR, 1.05, MediaSettings(extend=extend))
    assert timeline.order.tolist() == order and timeline.spoken == 11
    assert np.diff(timeline.times_s) == pytest.approx(np.full(10, 0.1))


def test_uneven_frames_keep_their_distances_when_played_backwards():
    timeline = build_timeline(avatar([0, 0.1, 0.4, 0.5]), 0.95, MediaSettings())
    assert timeline.order.tolist() == [0, 1, 2, 3, 2, 1]
    assert timeline.times_s == pytest.approx([0, 0.1, 0.4, 0.5, 0.6, 0.9])


def test_a_still_portrait_is_shown_at_25_frames_a_second():
    timeline = build_timeline(avatar([0]), 0.5, MediaSettings())
    assert timeline.order.tolist() == [0] * 13 and timeline.rate == 25
    assert timeline.times_s[-1] == pytest.approx(0.48)


def test_a_part_keeps_its_times_and_counts_its_spoken_frames():
    whole = Timeline(np.arange(10), np.arange(10) / 10, Fraction(10), spoken=6)
    part = whole.part(np.arange(4, 9))
    assert part.order.tolist() == [4, 5, 6, 7, 8] and part.spoken == 2
    assert part.times_s[0] == pytest.approx(0.4)


def test_movement_that_is_shorter_than_the_sound_goes_back_and_forth():
    moving = avatar(np.arange(4) / 25)
    moving.is_still = True
    timeline = build_timeline(moving, 0.4, MediaSettings())
    assert timeline.order.tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]


class Decoded:
    """A picture that counts how many copies of its kind are in memory."""

    held, most = 0, 0

    def __init__(self, number):
        self.number = number

    def copy(self):
        copied = Decoded(self.number)
        Decoded.held += 1
        Decoded.most = max(Decoded.most, Decoded.held)
        weakref.finalize(copied, self._forget)
        return copied

    @staticmethod
    def _forget():
        Decoded.held -= 1


@pytest.fixture
def a_long_take(monkeypatch):
    """An avatar of 100 frames, of which 20 are decoded at once to be played backwards."""
    monkeypatch.setattr(timeline_module, "BACKWARD_BYTES", 20 * 64 * 48 * 3)
    monkeypatch.setattr(Decoded, "held", 0)
    monkeypatch.setattr(Decoded, "most", 0)
    monkeypatch.setattr(
        timeline_module, "_decode", lambda _, first, last, __: map_numbers(first, last)
    )
    track = SimpleNamespace(width=64, height=48)
    return SimpleNamespace(track=track, animation=None)


def map_numbers(first, last):
    for number in range(first, last + 1):
        yield Decoded(number)


def test_one_chunk_and_a_few_frames_are_in_memory_while_a_video_goes_backwards(a_long_take):
    shown = []
    for picture in frames_in_order(a_long_take, np.arange(99, -1, -1)):
        shown.append(picture.number)
        time.sleep(0.001)  # whoever decodes ahead has time to take too much
    assert shown == list(range(99, -1, -1))
    assert 20 <= Decoded.most <= 20 + timeline_module.BACKWARD_AHEAD


@pytest.mark.parametrize("taken", [1, 15, 25])
def test_playing_backwards_can_be_given_up_at_any_time(a_long_take, taken):
    frames = frames_in_order(a_long_take, np.arange(99, -1, -1))
    for _ in range(taken):
        next(frames)
    closing = threading.Thread(target=frames.close)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
