"""The trajectory of one person: amplitude, controls and limits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.media import gape

from heygem.config.params import LipsSettings
from heygem.lips.trajectory import Trajectory
from heygem.pipeline.articulate import (
    MIN_SPREAD,
    SPEAKER_SCALE,
    USUAL_APERTURE,
    aperture_limit,
    articulate,
    speaker_scale,
)

PLAIN = LipsSettings(silence_gate=False, closure=0)


def person(*, std=None, widest=0.1):
    return SimpleNamespace(speech_scale=std, report={"widest_aperture": widest})


def model(std=0.04, **about):
    return SimpleNamespace(opening_std=std, about=about)


@pytest.fixture
def predicted(hopper_avatar):
    """Openings that swing between 0 and 0.08 IOD."""
    t = np.arange(150) / 50
    swing = (0.04 - 0.04 * np.cos(4 * np.pi * t))[:, None].astype(np.float32)
    return Trajectory(swing, 50.0, gape(np.ones(1), hopper_avatar.rest.neutral))


VOICE = np.ones(300, np.float32)


def test_the_persons_own_amplitude_is_drawn_within_limits(predicted):
    lips = model()
    for own in (0.03, 0.04):
        scale = speaker_scale(predicted, VOICE, person(std=own), lips)
        drawn = articulate(predicted, VOICE, person(std=own), lips, LipsSettings())
        assert SPEAKER_SCALE[0] < scale < SPEAKER_SCALE[1]
        assert np.maximum(drawn.aperture(), 0).std() == pytest.approx(own, rel=0.05)
    assert speaker_scale(predicted, VOICE, person(std=0.5), lips) == SPEAKER_SCALE[1]
    assert speaker_scale(predicted, VOICE, person(std=0.001), lips) == SPEAKER_SCALE[0]


def test_a_sound_with_hardly_any_speech_is_scaled_by_the_models_usual_amplitude(predicted):
    silence = 0 * VOICE
    assert speaker_scale(predicted, silence, person(std=0.05), model(0.04)) == pytest.approx(1.25)


def test_a_monotonous_sound_is_not_made_lively(predicted):
    flat = replace(predicted, coefficients=0.01 * predicted.coefficients)
    scale = speaker_scale(flat, VOICE, person(std=0.02), model(0.04))
    assert scale == pytest.approx(0.02 / (MIN_SPREAD * 0.04))


def test_without_speech_or_with_a_fine_tuned_model_the_scale_is_one(predicted):
    assert speaker_scale(predicted, VOICE, person(std=None), model()) == 1
    assert speaker_scale(predicted, VOICE, person(std=0.08), model(finetuned=True)) == 1


def test_the_limit_is_the_persons_own_or_the_usual_one():
    assert aperture_limit(person(widest=0.02)) == USUAL_APERTURE
    assert aperture_limit(person(widest=0.3)) == pytest.approx(0.33)


def test_a_person_of_unknown_amplitude_without_controls_gets_what_was_predicted(predicted):
    motion = articulate(predicted, None, person(std=None), model(0.04), PLAIN)
    assert np.allclose(motion.aperture(), predicted.aperture(), atol=1e-6)


def test_scale_and_gain_multiply_and_the_limit_grows_with_the_gain(predicted):
    louder = PLAIN.model_copy(update={"openness_gain": 2.0})
    scale = speaker_scale(predicted, None, person(std=0.035), model(0.04))
    motion = articulate(predicted, None, person(std=0.035), model(0.04), louder)
    assert scale > 1.05 and motion.aperture().max() == pytest.approx(0.08 * scale * 2, rel=0.01)


def test_no_opening_exceeds_the_persons_widest(predicted):
    wide = articulate(predicted, None, person(std=0.4, widest=0.01), model(0.02), PLAIN)
    assert wide.aperture().max() <= USUAL_APERTURE


def test_the_gate_shuts_the_mouth_in_silence(predicted):
    voice = np.zeros(300, np.float32)
    gated = articulate(predicted, voice, person(std=0.04), model(0.04), LipsSettings())
    assert np.abs(gated.aperture()).max() < 1e-6
