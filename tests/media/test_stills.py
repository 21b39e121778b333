"""Small copies of frames that are kept while a film is made."""

import numpy as np
from av.video.reformatter import Colorspace

from heygem.media.stills import StillTaker
from heygem.media.yuv import YuvImage

TIMES_S = np.arange(40) / 25


def frame(k):
    return np.full((64, 128, 3), 40 + 4 * k, np.uint8)


def test_stills_are_the_middles_of_equal_parts():
    taker = StillTaker(TIMES_S, 4, 32)
    for k, time_s in enumerate(TIMES_S):
        image = frame(k) if k % 2 else YuvImage.from_rgb(frame(k), Colorspace.ITU709)
        taker(image, float(time_s))
    assert [still.time_s for still in taker.stills] == [0.2, 0.6, 1.0, 1.4]
    assert all(still.image.shape == (16, 32, 3) for still in taker.stills)
    levels = [still.image.mean() for still in taker.stills]
    assert np.abs(np.array(levels) - [60, 100, 140, 180]).max() < 2


def test_frames_that_did_not_pass_by_leave_no_stills():
    taker = StillTaker(TIMES_S, 4, 32)
    for k, time_s in enumerate(TIMES_S[20:], 20):  # the others are of an interrupted run
        taker(frame(k), float(time_s))
    assert taker.stills == ()


def test_a_film_shorter_than_its_parts_repeats_frames():
    taker = StillTaker(TIMES_S[:1], 3, 500)
    taker(frame(0), 0.0)
    assert [still.image.shape for still in taker.stills] == [(64, 128, 3)] * 3, "not enlarged"
    assert StillTaker(TIMES_S, 0, 0).stills == ()
