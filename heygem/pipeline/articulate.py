"""From a predicted trajectory to one person's: amplitude, controls, and limits of the mouth."""

from dataclasses import dataclass, replace

import numpy as np

from heygem import audio
from heygem.avatar.avatar import Avatar
from heygem.config.params import LipsSettings
from heygem.core.types import FloatArray, IntArray
from heygem.lips.controls import apply_controls, limit_aperture
from heygem.lips.motion import Motion
from heygem.lips.predictor import LipsPredictor
from heygem.lips.trajectory import (
    ExpressiveTrajectory,
    Trajectory,
    coefficients_of,
    corner_changes,
)

SPEAKER_SCALE = (0.5, 1.5)  # limits of a person's own amplitude over the predicted one
MIN_SPEECH_S = 1.0  # below, the amplitude of a sound's prediction is taken to be the usual one
MIN_SPREAD = 0.5  # of the usual one: a monotonous sound is not made lively
USUAL_APERTURE = 0.16  # lip gap that speech seldom exceeds [IOD]
POSTURE_PRIOR_S = 2.0  # with as much speech, half of a person's own posture is believed


@dataclass(frozen=True)
class SpeakerStyle:
    """How a person speaks, relative to what the model predicts for a sound.

    Attributes
    ----------
    opening_scale : float
        Factor on the movement.
    posture : float32 [K] or None
        Coefficients by which the person's mean mouth in speech differs: wider, as in a smile,
        higher corners, lips further apart. None: nothing is known of it.
    """

    opening_scale: float = 1.0
    posture: FloatArray | None = None


def articulate(
    predicted: Trajectory,
    voice: FloatArray | None,
    avatar: Avatar,
    lips: LipsPredictor,
    controls: LipsSettings,
    *,
    style: SpeakerStyle | None = None,
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
    style : SpeakerStyle, optional
        The `speaker_style` of the other arguments, where it is known; it takes as long as the rest.

    Returns
    -------
    Trajectory
        With the person's amplitude and posture, with controls applied, within the person's widest
        opening.
    """
    if style is None:
        style = speaker_style(predicted, voice, avatar, lips)
    styled = apply_controls(
        predicted, controls, voice, opening_scale=style.opening_scale, posture=style.posture
    )
    return limit_aperture(styled, aperture_limit(avatar) * max(1.0, controls.openness_gain))


def with_expression(
    trajectory: Trajectory, avatar: Avatar, order: IntArray, controls: LipsSettings
) -> Motion:
    """The trajectory, with the corners of the mouth where each frame's slow expression has them.

    Parameters
    ----------
    trajectory : Trajectory
        Of `articulate`.
    avatar : Avatar
    order : int [T]
        The avatar's frame that each output frame shows.
    controls : LipsSettings
        `expression` says how far the mouth follows it.

    Returns
    -------
    Motion
        For output frames in that very order. Their apertures are those of the trajectory.
    """
    if avatar.expression is None or controls.expression == 0:
        return trajectory
    corners = controls.expression * avatar.expression[order]
    changes = np.einsum("tcx,kcx->tk", corners, corner_changes(trajectory.basis))
    return ExpressiveTrajectory(trajectory, changes.astype(np.float32))


def speaker_style(
    predicted: Trajectory, voice: FloatArray | None, avatar: Avatar, lips: LipsPredictor
) -> SpeakerStyle:
    """How this person's own speech differs from a prediction; arguments as of `articulate`.

    The usual style where the avatar's video has too little speech to tell, and for a fine-tuned
    model, which predicts the person's own amplitude and posture already.
    """
    if avatar.speech_scale is None or lips.about.get("finetuned"):
        return SpeakerStyle()
    spoken = spoken_rows(predicted, voice)
    scale = amplitude_scale(avatar.speech_scale, spoken, lips.opening_std)
    if avatar.speech_posture is None:  # analysed by an earlier version
        return SpeakerStyle(scale)
    seconds = min(avatar.speech_s, len(spoken) / spoken.rate_hz)
    share = seconds / (seconds + POSTURE_PRIOR_S)
    own = coefficients_of(avatar.speech_posture, predicted.basis)
    usual = spoken.coefficients.mean(axis=0) if len(spoken) else 0 * own
    posture = share * (own - scale * usual)
    # A posture with lips further apart is no constant: where they close, it adds nothing. So it
    # alters the amplitude as well.
    spoken = spoken_rows(predicted, voice, posture=posture / scale)
    scale = amplitude_scale(avatar.speech_scale, spoken, lips.opening_std)
    return SpeakerStyle(scale, share * (own - scale * usual))


def amplitude_scale(own_std: float, spoken: Trajectory, usual_std: float) -> float:
    """Factor that brings the spread of a prediction, with the usual controls, to a person's own.

    How wide a model opens depends on the voice it listens to, not only on who is to speak: with
    the model's mean spread in place of this sound's, the drawn mouth opened 1.13 times as far as
    the real one (median of 17 people), with this sound's 1.04 times.

    Parameters
    ----------
    own_std : float
        Spread (std) of the aperture in the person's own speech, IOD.
    spoken : Trajectory
        Rows of speech of the prediction, with the usual controls.
    usual_std : float
        Spread that the model predicts for a typical sound, IOD.
    """
    spread = usual_std
    if len(spoken) >= MIN_SPEECH_S * spoken.rate_hz:
        spread = max(float(np.maximum(spoken.aperture(), 0).std()), MIN_SPREAD * usual_std)
    return float(np.clip(own_std / spread, *SPEAKER_SCALE))


def spoken_rows(
    predicted: Trajectory, voice: FloatArray | None, *, posture: FloatArray | None = None
) -> Trajectory:
    """The rows of a prediction in which there is speech, with the usual controls applied.

    voice : float32 [n] or None
        Voice activity, 0..1 at 100 Hz; None counts all of the sound as speech.
    posture : float32 [K], optional
        As of `heygem.lips.apply_controls`.
    """
    controlled = apply_controls(predicted, LipsSettings(), voice, posture=posture)
    speech = audio.speech_at(voice, controlled.times_s)
    return replace(controlled, coefficients=controlled.coefficients[speech])


def aperture_limit(avatar: Avatar) -> float:
    """Widest opening the person may be drawn with [IOD]: their own widest, or a usual one."""
    return max(USUAL_APERTURE, 1.1 * avatar.report["widest_aperture"])
