"""Voice activity: the probability that somebody speaks, from Silero VAD."""

import numpy as np

from heygem.audio.features import FRAME_HZ, HOP, RATE_HZ, voiced_rms
from heygem.audio.silero import CHUNK, speech_probabilities
from heygem.audio.singing import voice_probability
from heygem.core.types import BoolArray, FloatArray

IS_SPEECH = 0.5  # voice activity above it is speech
MIN_SPEECH_SHARE = 0.05  # of what sounds; with less, a recording counts as one without speech
MIN_LEVEL_DB = -45.0  # dBFS of the sounding parts; below it a recording is too quiet
MIN_SUNG_SHARE = 0.15  # likewise; with less, a recording is one of instruments
_SILENCE = 1e-5  # peak amplitude of digital silence, -100 dBFS


def voice_activity(samples: FloatArray) -> FloatArray:
    """Probability that somebody speaks, by Silero VAD (its package contains the weights).

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1

    Returns
    -------
    float32 [1 + n // 160]
        0..1 at 100 Hz, frame i centred on i / 100 seconds; exactly 0 in digital silence.
    """
    samples = np.asarray(samples, np.float32)
    frames = 1 + len(samples) // HOP
    audible = _audible(samples, frames)
    if not audible.any():
        return np.zeros(frames, np.float32)
    probabilities = speech_probabilities(samples)
    centres_s = (np.arange(len(probabilities)) + 0.5) * CHUNK / RATE_HZ
    resampled = np.interp(np.arange(frames) / FRAME_HZ, centres_s, probabilities)
    return np.where(audible, resampled, 0).astype(np.float32)


def mouth_activity(samples: FloatArray, voice: FloatArray | None = None) -> FloatArray:
    """Where the mouth that makes a recording may move: where somebody speaks, or sings.

    Silero VAD is trained on speech and takes hardly anything sung for it (sung vowels: 0.01 in the
    mean). In a recording with hardly any speech the mouth may move wherever somebody sings, and
    rests in pauses and while instruments play alone.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono, -1..1
    voice : float32 [1 + n // 160], optional
        Its `voice_activity`, where the caller has it.

    Returns
    -------
    float32 [1 + n // 160]
        0..1 at 100 Hz, as of `voice_activity`; where that finds speech in less than 5 % of the
        sounding frames, 1 for those of them in which a voice sounds and not an instrument
        (`heygem.audio.singing`), and 0 for the others. A frame sounds above -45 dBFS and within
        20 dB of the level of all that is not silence.
    """
    voice = voice_activity(samples) if voice is None else voice
    sounding = _sounding(samples, len(voice))
    if not sounding.any() or (voice[sounding] > IS_SPEECH).mean() >= MIN_SPEECH_SHARE:
        return voice
    sung = sounding & (voice_probability(samples, len(voice)) > IS_SPEECH)
    if sung[sounding].mean() < MIN_SUNG_SHARE:  # an instrument, taken for a voice now and then
        return voice
    return sung.astype(np.float32)


def _sounding(samples: FloatArray, frames: int) -> BoolArray:
    """Whether each frame sounds; see `mouth_activity` : bool [frames]."""
    threshold = max(voiced_rms(samples) / 10, 10 ** (MIN_LEVEL_DB / 20))
    padded = np.pad(np.square(samples), (HOP, HOP + HOP))
    power = padded[: (frames + 1) * HOP].reshape(-1, HOP).mean(1)  # of halves of 20-ms windows
    return (power[:-1] + power[1:]) / 2 > threshold**2


def speech_at(
    voice: FloatArray | None, times_s: FloatArray, *, round_down: bool = False
) -> BoolArray:
    """Whether somebody speaks at given times, bool [T]: `voice_at` above `IS_SPEECH`.

    Without voice activity (None, or of no sound), everything counts as speech.
    """
    if voice is None or not len(voice):
        return np.ones(len(times_s), bool)
    return np.asarray(voice_at(voice, times_s, round_down=round_down) > IS_SPEECH)


def voice_at(voice: FloatArray, times_s: FloatArray, *, round_down: bool = False) -> FloatArray:
    """Voice activity at given times.

    Parameters
    ----------
    voice : float [M]
        From `voice_activity`, at 100 Hz.
    times_s : float [T]
        Times outside the recording take its first or last value.
    round_down : bool
        Take the last frame at or before each time instead of the nearest one.

    Returns
    -------
    float [T]
    """
    index = np.asarray(times_s) * FRAME_HZ
    index = (index if round_down else np.round(index)).astype(int)
    return np.asarray(voice)[np.clip(index, 0, len(voice) - 1)]


def _audible(samples: FloatArray, frames: int) -> BoolArray:
    """Whether a sample above -100 dBFS lies within 15 ms of each frame's centre : bool [frames]."""
    half = HOP // 2
    end = len(samples) // half * half
    rest = np.pad(samples[end:], (0, half - len(samples) + end))
    half_hops = (samples[:end].reshape(-1, half), rest[None])  # [n, half]
    audible = np.concatenate(
        [(block.max(1) > _SILENCE) | (block.min(1) < -_SILENCE) for block in half_hops]
    )
    audible = np.pad(audible, (3, 3))
    centre = np.arange(frames) * 2 + 3  # the half hop that starts at the frame's centre
    return np.any([audible[centre + k] for k in range(-3, 3)], axis=0)
