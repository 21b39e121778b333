"""From a predicted trajectory to one person's: amplitude, controls, and limits of the mouth."""

import numpy as np

from heygem import audio
from heygem.avatar.avatar import Avatar
from heygem.config.params import LipsSettings
from heygem.core.types import FloatArray
from heygem.lips.controls import apply_controls, limit_aperture
from heygem.lips.predictor import LipsPredictor
from heygem.lips.trajectory import Trajectory

SPEAKER_SCALE = (0.5, 1.5)  # limits of a person's own amplitude over the predicted one
MIN_SPEECH_S = 1.0  # below, the amplitude of a sound's prediction is taken to be the usual one
MIN_SPREAD = 0.5  # of the usual one: a monotonous sound is not made lively
USUAL_APERTURE = 0.16  # lip gap that speech seldom exceeds [IOD]


def articulate(
    predicted: Trajectory,
    voice: FloatArray | None,
    avatar: Avatar,
    lips: LipsPredictor,
    controls: LipsSettings,
    *,
    scale: float | None = None,
) -> Trajectory:
    """Adapt a predicted trajectory to a person and apply the controls.

    Parameters
    ----------
    predicted : Trajectory
        What the model predicts, for a typical speaker or for this one.
    voice : float32 [n] or None
        Voice activity, 0..1 at 100 Hz; None leaves out what depends on it (the silence gate).
    avatar : Avatar
    lips : LipsPredictor
        The model that predicted it; it states the amplitude of a typical speaker.
    controls : LipsSettings
    scale : float, optional
        The `speaker_scale` of the other arguments, where it is known; it takes as long as the rest.

    Returns
    -------
    Trajectory
        Scaled to the person's amplitude, with controls applied, within the person's widest
        opening.
    """
    if scale is None:
        scale = speaker_scale(predicted, voice, avatar, lips)
    scaled = apply_controls(predicted, controls, voice, opening_scale=scale)
    return limit_aperture(scaled, aperture_limit(avatar) * max(1.0, controls.openness_gain))


def speaker_scale(
    predicted: Trajectory, voice: FloatArray | None, avatar: Avatar, lips: LipsPredictor
) -> float:
    """Factor that gives a prediction the amplitude of this person's own speech.

    1 where the avatar's video has too little speech to tell, and for a fine-tuned model, which
    predicts the person's own amplitude already. Other arguments as of `articulate`.
    """
    if avatar.speech_scale is None or lips.about.get("finetuned"):
        return 1.0
    return amplitude_scale(avatar.speech_scale, predicted, voice, lips.opening_std)


def amplitude_scale(
    own_std: float, predicted: Trajectory, voice: FloatArray | None, usual_std: float
) -> float:
    """Factor that brings the spread of a prediction, with the usual controls, to a person's own.

    How wide a model opens depends on the voice it listens to, not only on who is to speak: with
    the model's mean spread in place of this sound's, the drawn mouth opened 1.13 times as far as
    the real one (median of 17 people), with this sound's 1.04 times.

    Parameters
    ----------
    own_std : float
        Spread (std) of the aperture in the person's own speech, IOD.
    predicted : Trajectory
    voice : float32 [n] or None
        Voice activity, 0..1 at 100 Hz; None counts all of the sound as speech.
    usual_std : float
        Spread that the model predicts for a typical sound, IOD.
    """
    aperture = np.maximum(apply_controls(predicted, LipsSettings(), voice).aperture(), 0)
    speech = audio.speech_at(voice, predicted.times_s)
    spread = usual_std
    if np.count_nonzero(speech) >= MIN_SPEECH_S * predicted.rate_hz:
        spread = max(float(aperture[speech].std()), MIN_SPREAD * usual_std)
    return float(np.clip(own_std / spread, *SPEAKER_SCALE))


def aperture_limit(avatar: Avatar) -> float:
    """Widest opening the person may be drawn with [IOD]: their own widest, or a usual one."""
    return max(USUAL_APERTURE, 1.1 * avatar.report["widest_aperture"])
