"""Controls on a trajectory: gains, closure, smoothing, silence gate, offset, widest aperture."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem import audio
from heygem.config.params import LipsSettings
from heygem.core.types import BoolArray, FloatArray
from heygem.lips.speech_gate import speech_gate
from heygem.lips.trajectory import Trajectory, aperture_direction, width_direction

CLOSED_QUANTILE = 0.1  # share of speech that has the lips closed, at least
MAX_CLOSURE_OFFSET = 0.05  # IOD; a mouth that never comes nearer to closed is not closed by more
KNEE = 0.75  # of the widest aperture, from which `limit_aperture` bends
FWHM_OVER_SIGMA = 2.3548  # of a Gaussian


def apply_controls(
    trajectory: Trajectory,
    controls: LipsSettings,
    voice: FloatArray | None = None,
    *,
    opening_scale: float = 1.0,
    posture: FloatArray | None = None,
) -> Trajectory:
    """Apply the controls of `lips` in the parameters; in closed form, in milliseconds.

    Parameters
    ----------
    trajectory : Trajectory
    controls : LipsSettings
        `openness_gain` and `width_gain` scale aperture and mouth width, each leaving the other as
        it is; `closure` closes the narrowest tenth of speech; `smoothing_ms` is the full width at
        half maximum of a zero-phase Gaussian; `silence_gate` brings the mouth to rest in silence,
        over `fade_ms`; `offset_ms` delays the mouth against the sound.
    voice : float32 [M], optional
        Voice activity, 0..1 at 100 Hz. Without it the gate is not applied.
    opening_scale : float
        The person's spread of the aperture over that of the model's typical speaker.
    posture : float32 [K], optional
        Coefficients by which the person's mean mouth in speech differs from the predicted one.
        Its aperture is added in proportion to the predicted one up to the mean, so that lips that
        close stay closed.

    Returns
    -------
    Trajectory
    """
    c = np.array(trajectory.coefficients, np.float32) * np.float32(opening_scale)
    rate_hz = trajectory.rate_hz
    measures = np.stack([aperture_direction(trajectory.basis), width_direction(trajectory.basis)])
    # The smallest change of all coefficients that changes one measure and not the other.
    changes = np.linalg.pinv(measures)  # [K, 2]
    excess = np.array([controls.openness_gain - 1, controls.width_gain - 1], np.float32)
    c += (((c @ measures.T) * excess) @ changes.T).astype(np.float32)
    speech = audio.speech_at(voice, trajectory.times_s)
    if controls.closure > 0 and len(c):
        offset = controls.closure * _closure_offset(c @ measures[0], speech)
        c -= (offset[:, None] * changes[:, 0]).astype(np.float32)
    if posture is not None and len(c):
        c += _posture_change(c @ measures[0], speech, posture, measures[0], changes[:, 0])
    if controls.smoothing_ms > 0 and len(c):
        sigma = controls.smoothing_ms / 1000 * rate_hz / FWHM_OVER_SIGMA
        c = gaussian_filter1d(c, sigma, axis=0, mode="nearest")
    if controls.silence_gate and voice is not None and len(c):
        gate = speech_gate(
            voice,
            rows=len(c),
            rate_hz=rate_hz,
            threshold=controls.silence_threshold,
            fade_ms=controls.fade_ms,
        )
        c = c * gate[:, None]
    controlled = replace(trajectory, coefficients=c)
    if controls.offset_ms:
        source_s = trajectory.times_s - controls.offset_ms / 1000
        controlled = replace(controlled, coefficients=controlled.coefficients_at(source_s))
    return controlled


def _closure_offset(aperture: FloatArray, speech: BoolArray) -> FloatArray:
    """Reduction of each aperture that closes the narrowest tenth of speech : float [N], IOD.

    Real lips are closed in a sixth of the frames of speech. A network predicts the mean over what
    the audio leaves open, which is never quite closed, and its gain lifts it further. The offset
    fades out with the aperture: wide mouths stay as wide.
    """
    if not speech.any():
        return np.zeros(len(aperture))
    # A sustained vowel has no closures: an aperture that does not vary is not reduced.
    limit = min(MAX_CLOSURE_OFFSET, float(aperture[speech].std()))
    depth = max(min(float(np.quantile(aperture[speech], CLOSED_QUANTILE)), limit), 1e-6)
    fade = np.exp(-np.square(np.maximum(aperture - depth, 0) / (2 * depth)) / 2)
    return np.minimum(np.maximum(aperture, 0), depth * fade)


def _posture_change(
    aperture: FloatArray,
    speech: BoolArray,
    posture: FloatArray,
    direction: FloatArray,
    change: FloatArray,
) -> FloatArray:
    """What a posture adds to each row of coefficients : float32 [N, K].

    `direction` [K] gives a row's aperture, `change` [K] alters the aperture by 1 and nothing else.
    """
    opening = np.maximum(aperture, 0)
    mean = float(opening[speech].mean()) if speech.any() else 0.0
    share = np.minimum(opening / max(mean, 1e-6), 1)
    wider = float(posture @ direction)
    still = posture - wider * change
    return (still + np.outer(share * wider, change)).astype(np.float32)


def limit_aperture(trajectory: Trajectory, widest: float) -> Trajectory:
    """Keep a mouth from opening further than the person does.

    Parameters
    ----------
    trajectory : Trajectory
    widest : float
        Widest lip aperture, IOD.

    Returns
    -------
    Trajectory
        Apertures up to three quarters of `widest` are unchanged; beyond, they approach it (tanh),
        and the whole mouth shape is scaled in proportion.
    """
    aperture = trajectory.aperture()
    knee = KNEE * widest
    excess = np.maximum(aperture - knee, 0)
    limited = knee + (widest - knee) * np.tanh(excess / (widest - knee))
    factor = np.where(excess > 0, limited / np.maximum(aperture, 1e-6), 1).astype(np.float32)
    return replace(trajectory, coefficients=trajectory.coefficients * factor[:, None])
