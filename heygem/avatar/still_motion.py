"""How the head and the eyes of a still portrait move while it speaks.

The curves are random but repeatable: the same seed and the same sound give the same movement. The
head turns as slowly as real heads do: over 13 clips of talking people the spectrum of yaw, pitch
and roll is level up to 0.5 Hz and falls with the fourth power of frequency above; the medians of
their standard deviations are 3.4, 2.1 and 2.2 degrees. A picture cannot be turned as far: half of
that is used. Nods follow the loudness of the voice (Munhall et al., Psychological Science 15(2),
2004). Blinks come 19 times a minute, in a pause where one is near; a lid closes in 0.1 s and opens
in 0.2 s (VanderWerf et al., Journal of Neurophysiology 89(5), 2003). The eyes hold the viewer's
against the turns of the head, and jump a little now and then.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem.core.interpolation import smoothstep
from heygem.core.types import FloatArray

TURN_DEG = (1.7, 1.1, 1.0)  # standard deviation of yaw, pitch and roll
LIMIT_DEG = 3.2  # beyond that a warped picture shows what it cannot know
CUTOFF_HZ = 0.5
NOD_DEG = 0.8  # from the softest to the loudest syllable
NOD_S, PHRASE_S = 0.09, 0.8  # smoothing of the loudness, and of what counts as its usual level
BLINKS_PER_MINUTE = 19.0
MIN_BLINK_INTERVAL_S = 1.0
PAUSE_SEARCH_S = 0.5  # how far a blink is moved into a pause
CLOSING_S, CLOSED_S, OPENING_S = 0.10, 0.04, 0.20
SACCADE_DEG = 1.3  # standard deviation of the gaze
SACCADE_S = (0.6, 2.8)  # between two jumps
GAZE_HOLD = 0.7  # share of a head turn that the eyes undo


@dataclass(frozen=True)
class StillMotion:
    """Movement of a portrait, frame by frame.

    Attributes
    ----------
    turn_deg : float32 [T, 3]
        Yaw (to the picture's right), pitch (down) and roll (clockwise) against the portrait.
    lids : float32 [T]
        How far the eyes are closed, 0..1.
    gaze_deg : float32 [T, 2]
        Turn of the eyes in the head, to the picture's right and down.
    """

    turn_deg: FloatArray
    lids: FloatArray
    gaze_deg: FloatArray

    def __len__(self) -> int:
        return len(self.lids)


def plan_motion(
    loudness: FloatArray, rate_hz: float, amount: float, seed: list[int]
) -> StillMotion:
    """Draw the movement of a portrait that speaks.

    Parameters
    ----------
    loudness : float [T]
        Of the voice at each frame, 0 (silence) to 1 (its loudest).
    rate_hz : float
        Frames per second.
    amount : float
        Factor on the turns of the head and the gaze; blinks are the same for every amount.
    seed : list of int
    """
    count = len(loudness)
    random = np.random.default_rng(seed)
    turn = _slow_noise(random, count, rate_hz) * TURN_DEG
    emphasis = gaussian_filter1d(loudness, NOD_S * rate_hz, mode="nearest")
    usual = gaussian_filter1d(loudness, PHRASE_S * rate_hz, mode="nearest")
    turn[:, 1] += NOD_DEG * (emphasis - usual)
    turn = LIMIT_DEG * np.tanh(amount * turn / LIMIT_DEG)
    lids = _lids(_blink_times(random, loudness, rate_hz), count, rate_hz)
    gaze = amount * _jumps(random, count, rate_hz) - GAZE_HOLD * turn[:, :2]
    return StillMotion(*(np.asarray(curve, np.float32) for curve in (turn, lids, gaze)))


def loudness_of(samples: FloatArray, rate_hz: int, times_s: FloatArray) -> FloatArray:
    """Loudness of a voice at some times, 0..1: RMS over 60 ms against its 95th percentile.

    Parameters
    ----------
    samples : float32 [n]
    rate_hz : int
    times_s : float [T]
    """
    half = round(0.03 * rate_hz)
    energy = np.concatenate([[0.0], np.cumsum(np.asarray(samples, np.float64) ** 2)])
    centre = np.round(np.asarray(times_s) * rate_hz).astype(int)
    first, last = (np.clip(centre + d, 0, len(samples)) for d in (-half, half))
    rms = np.sqrt((energy[last] - energy[first]) / np.maximum(last - first, 1))
    loud = np.quantile(rms, 0.95) if len(rms) else 0.0
    return np.clip(rms / max(loud, 1e-4), 0, 1).astype(np.float32)


def _slow_noise(random: np.random.Generator, count: int, rate_hz: float) -> FloatArray:
    """Noise of standard deviation 1 with the spectrum of heads : float64 [count, 3]."""
    from scipy.signal import butter, sosfiltfilt  # loads 60 MB, which only stills need

    margin = int(4 * rate_hz)  # the filter settles
    white = random.standard_normal((count + 2 * margin, 3))
    # Forwards and backwards: a second-order filter falls with the fourth power, twice in power.
    slow = sosfiltfilt(butter(1, CUTOFF_HZ, fs=rate_hz, output="sos"), white, axis=0)
    # Its power is known from the filter; that of a short piece would be a matter of chance.
    impulse = np.zeros(2 * margin + 1)
    impulse[margin] = 1.0
    response = sosfiltfilt(butter(1, CUTOFF_HZ, fs=rate_hz, output="sos"), impulse)
    return slow[margin : margin + count] / np.sqrt((response**2).sum())


def _blink_times(random: np.random.Generator, loudness: FloatArray, rate_hz: float) -> list[float]:
    """Times at which lids begin to close, in seconds."""
    mean_s = 60.0 / BLINKS_PER_MINUTE
    duration_s = len(loudness) / rate_hz
    time_s, times = random.uniform(0.6, mean_s), list[float]()
    reach = round(PAUSE_SEARCH_S * rate_hz)
    while time_s < duration_s:
        frame = int(time_s * rate_hz)
        first = max(0, frame - reach)
        near = loudness[first : frame + reach + 1]
        quietest = first + int(np.argmin(near))
        if near.min() < 0.5 * loudness[frame]:
            frame = quietest
        if not times or frame / rate_hz - times[-1] >= MIN_BLINK_INTERVAL_S:
            times.append(frame / rate_hz)
        time_s += MIN_BLINK_INTERVAL_S + random.exponential(mean_s - MIN_BLINK_INTERVAL_S)
    return times


def _lids(times: list[float], count: int, rate_hz: float) -> FloatArray:
    """How far the lids are closed, from the times at which they begin to : float64 [count]."""
    ends = np.cumsum([0.0, CLOSING_S, CLOSED_S, OPENING_S])
    frames_s = np.arange(count) / rate_hz
    lids = np.zeros(count)
    for time_s in times:
        share = np.interp(frames_s - time_s, ends, [0.0, 1.0, 1.0, 0.0])
        lids = np.maximum(lids, smoothstep(0, 1, share))
    return lids


def _jumps(random: np.random.Generator, count: int, rate_hz: float) -> FloatArray:
    """Gaze that jumps from one place to another, degrees : float64 [count, 2]."""
    gaze = np.zeros((count, 2))
    frame = int(random.uniform(*SACCADE_S) * rate_hz)
    while frame < count:
        gaze[frame:] = random.normal(0, SACCADE_DEG, 2) * (1.0, 0.5)
        frame += max(1, int(random.uniform(*SACCADE_S) * rate_hz))
    return gaze
