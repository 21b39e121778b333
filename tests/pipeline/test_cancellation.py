"""Every stage of making a video looks whether it was cancelled."""

import threading

import numpy as np
import pytest
from helpers.media import gape, synthetic_voice, tone, write_video
from helpers.rendering import plan

from heygem import audio, media
from heygem.audio import phones
from heygem.config.params import RendererSettings
from heygem.core.errors import Cancelled
from heygem.core.interrupts import cancellation, observes_cancel, raise_if_cancelled
from heygem.core.streaming import prefetch
from heygem.lips.model import LipsModel
from heygem.rendering.warp.renderer import WarpRenderer


@pytest.fixture
def cancelled():
    """An event that is set: the first loop that looks at it ends the work."""
    event = threading.Event()
    event.set()
    return event


def refuses(cancelled, work):
    """Whether the work ends when it was cancelled, and does not when it was not."""
    work()
    with cancellation(cancelled), pytest.raises(Cancelled):
        work()


def test_reading_sound_and_pictures(cancelled, tmp_path):
    video = write_video(tmp_path / "v.mp4", frames=10, audio=tone(0.4))
    refuses(cancelled, lambda: audio.load(video))

    def read():
        with media.VideoReader(video) as reader:
            assert len(list(reader)) == 10

    refuses(cancelled, read)
    refuses(cancelled, lambda: [list(prefetch(iter(media.VideoReader(video))))])


@pytest.mark.slow
def test_the_analysis_of_speech(cancelled):
    voice = synthetic_voice(2)
    refuses(cancelled, lambda: audio.voice_activity(voice))
    refuses(cancelled, lambda: audio.log_mel(voice))
    refuses(cancelled, lambda: phones.segments(voice))


@pytest.mark.slow
def test_the_prediction_of_the_mouth(cancelled):
    model = LipsModel.load()
    features = np.zeros((400, model.networks[0].inputs), np.float32)
    refuses(cancelled, lambda: model.predict_features(features))


@pytest.mark.slow
def test_the_plan_of_the_pictures(cancelled, hopper_avatar):
    renderer = WarpRenderer(hopper_avatar, RendererSettings())
    displacement = gape(np.linspace(0, 0.2, 20), hopper_avatar.rest.neutral)
    refuses(cancelled, lambda: plan(renderer, displacement, np.zeros(20, int)))


def test_the_argument_cancel_of_a_decorated_function(cancelled):
    @observes_cancel
    def work(steps, *, cancel=None):
        for _ in range(steps):
            raise_if_cancelled()
        return steps

    assert work(3) == work(3, cancel=threading.Event()) == 3
    with pytest.raises(Cancelled):
        work(3, cancel=cancelled)
    with cancellation(cancelled), pytest.raises(Cancelled):
        work(3)  # a part of other work
