"""Speech to mouth movement, and the knobs on it.

A temporal network reads log-mel spectra and recognised phones, and says how the lower face is
displaced from the person's neutral mouth, 50 times a second, as coefficients of a basis of mesh
displacements in the canonical face frame. It never sees pixels, so nothing of the source video's
own speech can leak in, and what comes out can be plotted, edited and compared.

The answer is the mean of a few networks trained on different speakers: their errors differ more
than their answers do."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem import audio
from heygem.lips.speech_gate import speech_gate
from heygem.lips.trajectory import aperture_direction, width_direction

CLOSED_SHARE = 0.1  # of speech at least has its lips shut
DEEPEST_PRESS = 0.05  # what never comes nearer to shut is not made to [eye distances]


def apply_controls(trajectory, knobs, voice=None, *, opening_scale=1.0):
    """Apply the knobs; every one is exact and takes no time.

    Parameters
    ----------
    trajectory : Trajectory
    knobs : heygem.config.params.LipsSettings
        `openness_gain` and `width_gain` scale the lips' gap and the mouth's width, each leaving
        the other as it is; `closure` shuts the narrowest tenth of speech; `smoothing_ms` is the
        full width at half height of a zero-phase Gaussian; `silence_gate` rests the mouth where
        nobody speaks, over `fade_ms`; `offset_ms` is how much later the mouth comes than the sound.
    voice : float32 [M], optional
        Voice activity, 0..1 at 100 Hz. Without it the gate is not applied.
    opening_scale : float
        How far this person opens the mouth, over what the model's typical speaker does.

    Returns
    -------
    Trajectory
    """
    c = np.array(trajectory.coefficients, np.float32) * np.float32(opening_scale)
    rate = trajectory.rate_hz
    measures = np.stack([aperture_direction(trajectory.basis), width_direction(trajectory.basis)])
    # The smallest change of all coefficients that changes one measure and not the other.
    moves = np.linalg.pinv(measures)  # [K, 2]
    more = np.array([knobs.openness_gain - 1, knobs.width_gain - 1], np.float32)
    c += (((c @ measures.T) * more) @ moves.T).astype(np.float32)
    if knobs.closure > 0 and len(c):
        press = knobs.closure * _press(c @ measures[0], rate, voice)
        c -= (press[:, None] * moves[:, 0]).astype(np.float32)
    if knobs.smoothing_ms > 0 and len(c):
        sigma = knobs.smoothing_ms / 1000 * rate / 2.3548  # full width at half height
        c = gaussian_filter1d(c, sigma, axis=0, mode="nearest")
    if knobs.silence_gate and voice is not None and len(c):
        open_share = speech_gate(
            voice, rows=len(c), rate_hz=rate, threshold=knobs.silence_threshold,
            fade_ms=knobs.fade_ms,
        )  # fmt: skip
        c = c * open_share[:, None]
    shaped = replace(trajectory, coefficients=c)
    if knobs.offset_ms:
        shaped = replace(
            shaped,
            coefficients=shaped.coefficients_at(trajectory.times_s - knobs.offset_ms / 1000),
        )
    return shaped


def _press(gap, rate_hz, voice):
    """How far each gap has to go for the narrowest tenth of speech to be shut : float [N].

    Real lips are shut in a sixth of the frames of speech. A network's answer is a mean over what
    the sound leaves open, which is never quite shut, and its gain lifts it further. Fades out
    upwards: open mouths stay as open.
    """
    speech = np.ones(len(gap), bool)
    if voice is not None and len(voice):
        speech = audio.voice_at(voice, np.arange(len(gap)) / rate_hz) > 0.5
    if not speech.any():
        return np.zeros(len(gap))
    # A held vowel has no closures: what does not vary is not pressed.
    most = min(DEEPEST_PRESS, float(gap[speech].std()))
    depth = max(min(float(np.quantile(gap[speech], CLOSED_SHARE)), most), 1e-6)
    fade = np.exp(-np.square(np.maximum(gap - depth, 0) / (2 * depth)) / 2)
    return np.minimum(np.maximum(gap, 0), depth * fade)


def limit_aperture(trajectory, widest):
    """Keep a mouth from opening further than this person does.

    Parameters
    ----------
    trajectory : Trajectory
    widest : float
        Widest change of the lip gap the person was seen with, in eye distances.

    Returns
    -------
    Trajectory
        Openings up to three quarters of `widest` are untouched; what lies beyond is bent towards
        it (tanh), the whole mouth shape in proportion.
    """
    gap = trajectory.aperture()
    knee = 0.75 * widest
    over = np.maximum(gap - knee, 0)
    bent = knee + (widest - knee) * np.tanh(over / (widest - knee))
    factor = np.where(over > 0, bent / np.maximum(gap, 1e-6), 1).astype(np.float32)
    return replace(trajectory, coefficients=trajectory.coefficients * factor[:, None])
