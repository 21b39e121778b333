"""The trajectory of one person: amplitude, controls and limits."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.media import gape

from heygem.config.params import LipsSettings
from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.lips.trajectory import Trajectory, aperture_of, width_of
from heygem.pipeline.articulate import (
    MIN_SPREAD,
    SPEAKER_SCALE,
    USUAL_APERTURE,
    aperture_limit,
    articulate,
    speaker_style,
    with_expression,
)

PLAIN = LipsSettings(silence_gate=False, closure=0)


def person(*, std=None, widest=0.1, posture=None, speech_s=1e6):
    return SimpleNamespace(
        speech_scale=std,
        report={"widest_aperture": widest},
        speech_posture=posture,
        speech_s=speech_s,
    )


def model(std=0.04, **about):
    return SimpleNamespace(opening_std=std, about=about)


def scale_of(*args):
    return speaker_style(*args).opening_scale


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
        scale = scale_of(predicted, VOICE, person(std=own), lips)
        drawn = articulate(predicted, VOICE, person(std=own), lips, LipsSettings())
        assert SPEAKER_SCALE[0] < scale < SPEAKER_SCALE[1]
        assert np.maximum(drawn.aperture(), 0).std() == pytest.approx(own, rel=0.05)
    assert scale_of(predicted, VOICE, person(std=0.5), lips) == SPEAKER_SCALE[1]
    assert scale_of(predicted, VOICE, person(std=0.001), lips) == SPEAKER_SCALE[0]


def test_a_sound_with_hardly_any_speech_is_scaled_by_the_models_usual_amplitude(predicted):
    silence = 0 * VOICE
    assert scale_of(predicted, silence, person(std=0.05), model(0.04)) == pytest.approx(1.25)


def test_a_monotonous_sound_is_not_made_lively(predicted):
    flat = replace(predicted, coefficients=0.01 * predicted.coefficients)
    scale = scale_of(flat, VOICE, person(std=0.02), model(0.04))
    assert scale == pytest.approx(0.02 / (MIN_SPREAD * 0.04))


def test_without_speech_or_with_a_fine_tuned_model_the_scale_is_one(predicted):
    assert scale_of(predicted, VOICE, person(std=None), model()) == 1
    assert scale_of(predicted, VOICE, person(std=0.08), model(finetuned=True)) == 1


def test_the_limit_is_the_persons_own_or_the_usual_one():
    assert aperture_limit(person(widest=0.02)) == USUAL_APERTURE
    assert aperture_limit(person(widest=0.3)) == pytest.approx(0.33)


def test_a_person_of_unknown_amplitude_without_controls_gets_what_was_predicted(predicted):
    motion = articulate(predicted, None, person(std=None), model(0.04), PLAIN)
    assert np.allclose(motion.aperture(), predicted.aperture(), atol=1e-6)


def test_scale_and_gain_multiply_and_the_limit_grows_with_the_gain(predicted):
    louder = PLAIN.model_copy(update={"openness_gain": 2.0})
    scale = scale_of(predicted, None, person(std=0.035), model(0.04))
    motion = articulate(predicted, None, person(std=0.035), model(0.04), louder)
    assert scale > 1.05 and motion.aperture().max() == pytest.approx(0.08 * scale * 2, rel=0.01)


def test_no_opening_exceeds_the_persons_widest(predicted):
    wide = articulate(predicted, None, person(std=0.4, widest=0.01), model(0.02), PLAIN)
    assert wide.aperture().max() <= USUAL_APERTURE


def test_the_gate_shuts_the_mouth_in_silence(predicted):
    voice = np.zeros(300, np.float32)
    gated = articulate(predicted, voice, person(std=0.04), model(0.04), LipsSettings())
    assert np.abs(gated.aperture()).max() < 1e-6


@pytest.fixture
def two_ways(predicted):
    """The same openings, in a basis whose second displacement moves the corners apart."""
    wider = np.zeros_like(predicted.basis)
    for point, x in zip(topo.MOUTH_CORNERS, (-0.5, 0.5), strict=True):
        wider[0, list(LOWER).index(point), 0] = x
    coefficients = np.pad(predicted.coefficients, ((0, 0), (0, 1)))
    return Trajectory(coefficients, 50.0, np.concatenate([predicted.basis, wider]))


def test_the_mean_mouth_in_speech_is_the_persons_own(two_ways):
    own = np.array([0.06, 0.03], np.float32)
    speech = replace(two_ways, coefficients=np.tile(two_ways.coefficients, (100, 1)))  # 5 minutes
    speaker = person(std=0.028, posture=np.tensordot(own, two_ways.basis, 1))
    drawn = articulate(speech, None, speaker, model(0.028), LipsSettings())
    without = articulate(speech, None, person(std=0.028), model(0.028), LipsSettings())
    assert without.width() == pytest.approx(0, abs=1e-6)
    assert drawn.width() == pytest.approx(0.03, abs=1e-3)
    difference = 0.06 - without.aperture().mean()
    assert difference > 0.01
    # Nothing is added where the lips are closed, so that the mean is not reached quite.
    assert 0.5 * difference < (drawn.aperture() - without.aperture()).mean() < difference
    assert drawn.aperture().std() == pytest.approx(0.028, rel=0.2)  # the amplitude is still theirs
    closed = without.aperture() < 1e-3
    assert closed.any() and drawn.aperture()[closed] == pytest.approx(0, abs=2e-3)


def test_a_posture_seen_for_two_seconds_is_half_believed(two_ways):
    own = np.tensordot(np.array([0, 0.03], np.float32), two_ways.basis, 1)
    for speech_s, share in ((1e6, 3 / 5), (2.0, 1 / 2), (0.5, 1 / 5)):  # the sound lasts 3 s
        speaker = person(std=0.028, posture=own, speech_s=speech_s)
        style = speaker_style(two_ways, VOICE, speaker, model(0.028))
        assert style.posture[1] == pytest.approx(0.03 * share, rel=0.01)


def test_a_posture_does_not_show_in_silence(two_ways):
    own = np.tensordot(np.array([0.05, 0.03], np.float32), two_ways.basis, 1)
    voice = np.where(np.arange(300) < 150, 1, 0).astype(np.float32)
    drawn = articulate(two_ways, voice, person(std=0.028, posture=own), model(), LipsSettings())
    assert drawn.width()[:50].min() > 0.01 and np.abs(drawn.coefficients[120:]).max() < 1e-6
    nothing = articulate(two_ways, 0 * voice, person(std=0.028, posture=own), model(), PLAIN)
    assert nothing.width() == pytest.approx(0, abs=1e-6)


def test_corners_follow_the_frames_expression_and_the_aperture_does_not(two_ways):
    corners = np.zeros((4, 2, 2), np.float32)
    corners[2] = [[-0.02, 0], [0.02, 0]]
    speaker = SimpleNamespace(expression=corners)
    order, times_s = np.array([0, 2, 3, 2]), np.array([0.0, 0.1, 0.2, 0.3])
    for share in (1.0, 0.5):
        controls = LipsSettings(expression=share)
        motion = with_expression(two_ways, speaker, order, controls).for_frames(times_s)[:]
        plain = two_ways.for_frames(times_s)[:]
        width = width_of(motion) - width_of(plain)
        assert width == pytest.approx([0, 0.04 * share, 0, 0.04 * share], abs=1e-6)
        assert aperture_of(motion) == pytest.approx(aperture_of(plain), abs=1e-6)
    off = LipsSettings(expression=0)
    assert with_expression(two_ways, speaker, order, off) is two_ways
    still = SimpleNamespace(expression=None)
    assert with_expression(two_ways, still, order, LipsSettings()) is two_ways
