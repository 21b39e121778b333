"""When a mouth may move: in speech, and not in the silence between.

Voice activity flickers; a mouth does not. Hysteresis, a shortest stretch of speech and a longest
breath turn it into stretches of speech, and soft flanks make closing and opening look natural.
"""

import numpy as np

from heygem import audio
from heygem.core.types import BoolArray, FloatArray

HYSTERESIS = 0.2  # speech continues until voice activity falls this far below the threshold
MIN_SPEECH_S = 0.05  # a click is not speech
# A shorter gap is a breath or a stop consonant: the mouth stays free. Real mouths are as open in
# pauses of up to 0.8 s as in speech, and nearly shut only in longer ones; docs/results.md.
MAX_BREATH_S = 0.65
LEAD_S = 0.08  # lips move before the sound does
TRAIL_S = 0.06


def speech_gate(
    voice: FloatArray,
    *,
    rows: int,
    rate_hz: float,
    threshold: float = 0.5,
    fade_ms: float = 120.0,
) -> FloatArray:
    """Where the mouth may move: 1 in speech, 0 in silence, with soft flanks.

    Parameters
    ----------
    voice : float32 [M]
        Voice activity, 0..1 at 100 Hz.
    rows : int
        Length of the result.
    rate_hz : float
        Rate of the result.
    threshold : float
        Speech begins above it, and ends below `threshold - 0.2`.
    fade_ms : float
        Time between 0 and 1.

    Returns
    -------
    float32 [rows]
    """
    voice = np.asarray(voice, np.float32)
    if not len(voice):
        return np.zeros(rows, np.float32)
    speaking = _speaking(voice, threshold)
    free = np.zeros(len(speaking), bool)
    fade_s = fade_ms / 1000
    for start, stop in _runs(speaking):
        # Half of the fade lies outside, so that the mouth is fully free while words sound.
        first = start - (LEAD_S + fade_s / 2) * audio.FRAME_HZ
        last = stop + (TRAIL_S + fade_s / 2) * audio.FRAME_HZ
        free[max(0, round(first)) : max(0, round(last))] = True
    gate = free.astype(np.float64)
    taps = max(1, round(fade_s * audio.FRAME_HZ))
    if taps > 1:
        window = np.hanning(taps + 2)[1:-1]
        padded = np.pad(gate, taps, mode="edge")
        gate = np.convolve(padded, window / window.sum(), "same")[taps:-taps]
    times_s = np.arange(rows) / rate_hz
    return np.interp(times_s, np.arange(len(gate)) / audio.FRAME_HZ, gate).astype(np.float32)


def _speaking(voice: FloatArray, threshold: float) -> BoolArray:
    """Stretches of speech, without clicks and with breaths filled in : bool [M]."""
    speaking = np.zeros(len(voice), bool)
    state, stop_below = False, max(threshold - HYSTERESIS, threshold / 2)
    for i, activity in enumerate(voice):
        state = activity > threshold or (state and activity > stop_below)
        speaking[i] = state
    for value, limit_s in ((True, MIN_SPEECH_S), (False, MAX_BREATH_S)):
        for start, stop in _runs(speaking == value):
            inside = value or (start > 0 and stop < len(speaking))
            if inside and stop - start < limit_s * audio.FRAME_HZ:
                speaking[start:stop] = not value
    return speaking


def _runs(flags: BoolArray) -> list[tuple[int, int]]:
    """Stretches of True, as (start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))
