"""From a predicted trajectory to one person's: amplitude, controls, and limits of the mouth."""

import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.config.params import LipsSettings
from heygem.core.types import FloatArray
from heygem.lips.controls import apply_controls, limit_aperture
from heygem.lips.predictor import LipsPredictor
from heygem.lips.trajectory import Trajectory

SPEAKER_SCALE = (0.7, 1.5)  # limits of a person's own amplitude over the typical one
USUAL_APERTURE = 0.16  # lip gap that speech seldom exceeds [IOD]


def articulate(
    predicted: Trajectory,
    voice: FloatArray | None,
    avatar: Avatar,
    lips: LipsPredictor,
    controls: LipsSettings,
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

    Returns
    -------
    Trajectory
        Scaled to the person's amplitude, with controls applied, within the person's widest
        opening.
    """
    scaled = apply_controls(predicted, controls, voice, opening_scale=speaker_scale(avatar, lips))
    return limit_aperture(scaled, aperture_limit(avatar) * max(1.0, controls.openness_gain))


def speaker_scale(avatar: Avatar, lips: LipsPredictor) -> float:
    """How wide this person opens the mouth in speech, over the model's typical speaker.

    1 where the avatar's video has too little speech to tell, and for a fine-tuned model, which
    predicts the person's own amplitude already.
    """
    if avatar.speech_scale is None or lips.about.get("finetuned"):
        return 1.0
    return float(np.clip(avatar.speech_scale / lips.opening_std, *SPEAKER_SCALE))


def aperture_limit(avatar: Avatar) -> float:
    """Widest opening the person may be drawn with [IOD]: their own widest, or a usual one."""
    return max(USUAL_APERTURE, 1.1 * avatar.report["widest_aperture"])
