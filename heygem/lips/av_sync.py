"""How a mouth movement agrees with its audio, and the lag between two curves.

Sign convention, everywhere in heygem: a lag is positive where the signal is late against its
reference, so an audio-visual offset is positive where the mouth is late against the sound.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from heygem import audio
from heygem.core.types import BoolArray, FloatArray
from heygem.lips.trajectory import Trajectory

MAX_OFFSET_S = 0.16  # a syllable takes 0.2 to 0.3 s: further off, the next one is matched
SILENCE = 0.1  # voice activity below


class SpokenAudio(Protocol):
    """What `av_agreement` needs of an `EncodedAudio`."""

    @property
    def speech(self) -> audio.Speech:
        """Samples, 16 kHz mono."""

    @property
    def voice(self) -> FloatArray:
        """Voice activity, 0..1 at 100 Hz : float32 [M]."""


@dataclass(frozen=True)
class Lag:
    """Where two curves agree best.

    Attributes
    ----------
    lag_s : float
        Positive: the signal is late against the reference.
    corr : float
        Correlation at that lag.
    """

    lag_s: float
    corr: float

    @property
    def lag_ms(self) -> float:
        """The lag in milliseconds."""
        return self.lag_s * 1e3


def lag_correlations(
    signal: FloatArray,
    reference: FloatArray,
    max_lag: int,
    *,
    valid: BoolArray | None = None,
    fixed_window: bool = False,
) -> FloatArray:
    """Correlation of two curves at every lag from `-max_lag` to `max_lag` rows.

    Parameters
    ----------
    signal, reference : float [N]
        At the same rate. At lag k, `signal[i + k]` is compared with `reference[i]`.
    max_lag : int
    valid : bool [N], optional
        Rows that count. The means are then taken over them once, and other rows contribute
        nothing. Default: Pearson correlation of the rows that overlap.
    fixed_window : bool
        Compare the same rows of `reference` at every lag, those that overlap at all lags.

    Returns
    -------
    float64 [2 max_lag + 1]
        NaN where a curve is constant (0 with `valid`).
    """
    n = len(signal)
    if valid is not None:
        signal = np.where(valid, signal - signal[valid].mean(), 0.0)
        reference = np.where(valid, reference - reference[valid].mean(), 0.0)
    correlations = []
    for k in range(-max_lag, max_lag + 1):
        if fixed_window:
            x, y = signal[max_lag + k : n - max_lag + k], reference[max_lag : n - max_lag]
        else:
            x, y = signal[max(k, 0) : n + min(k, 0)], reference[max(-k, 0) : n - max(k, 0)]
        correlations.append(correlation(x, y) if valid is None else _cosine(x, y))
    return np.array(correlations)


def correlation(x: FloatArray, y: FloatArray) -> float:
    """Pearson correlation of two curves [N]; NaN where either is constant."""
    a = np.asarray(x, np.float64) - np.mean(x)
    b = np.asarray(y, np.float64) - np.mean(y)
    power = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / power) if power > 1e-12 else float("nan")


def _cosine(x: FloatArray, y: FloatArray) -> float:
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def parabola_vertex(left: float, mid: float, right: float) -> float:
    """Where a parabola through three samples has its maximum: -0.5..0.5 steps from the middle."""
    bend = left - 2 * mid + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < -1e-12 else 0.0


def peak_offset(values: FloatArray, peak: int) -> float:
    """Offset of the true maximum from the sampled one at index `peak`, in rows; 0 at the ends."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    return parabola_vertex(*values[peak - 1 : peak + 2])


def estimate_lag(
    signal: FloatArray,
    reference: FloatArray,
    rate_hz: float,
    max_lag_s: float,
    *,
    valid: BoolArray | None = None,
    fixed_window: bool = False,
    refine: bool = False,
) -> Lag | None:
    """The lag at which two curves correlate best.

    Parameters
    ----------
    signal, reference, valid, fixed_window
        As in `lag_correlations`.
    rate_hz : float
        Rows per second.
    max_lag_s : float
    refine : bool
        Interpolate the lag between rows.

    Returns
    -------
    Lag or None
        None where no lag has a correlation (constant curves).
    """
    max_lag = int(max_lag_s * rate_hz)
    correlations = lag_correlations(
        signal, reference, max_lag, valid=valid, fixed_window=fixed_window
    )
    if np.isnan(correlations).all():
        return None
    best = int(np.nanargmax(correlations))
    offset = peak_offset(correlations, best) if refine else 0.0
    return Lag(float((best - max_lag) / rate_hz + offset / rate_hz), float(correlations[best]))


def av_agreement(trajectory: Trajectory, encoded: SpokenAudio) -> dict[str, float]:
    """How a mouth movement agrees with its audio, from these two alone.

    Parameters
    ----------
    trajectory : Trajectory
    encoded : EncodedAudio

    Returns
    -------
    dict of str to float
        `av_corr` and `av_offset_ms`: peak of the correlation between lip aperture and loudness
        within 160 ms, and its lag (positive: the mouth is late; in real speech too, opening leads
        or follows loudness by up to 100 ms). `silence_leakage`: spread of the aperture in silence
        over that in speech. A measure that is not defined (no speech, no silence) is left out.
    """
    rate_hz, aperture = trajectory.rate_hz, trajectory.aperture()
    hop = int(audio.RATE_HZ / rate_hz)
    samples = encoded.speech.samples
    blocks = samples[: len(samples) // hop * hop].reshape(-1, hop)
    loudness = np.log10((blocks**2).mean(1) + 1e-6)
    voice = audio.voice_at(encoded.voice, trajectory.times_s)
    n = min(len(aperture), len(loudness))
    aperture, loudness, voice = aperture[:n], loudness[:n], voice[:n]
    measures = {}
    long_enough = n > 8 * int(MAX_OFFSET_S * rate_hz)
    if long_enough and aperture.std() > 1e-6 and loudness.std() > 1e-6:
        lag = estimate_lag(aperture, loudness, rate_hz, MAX_OFFSET_S, fixed_window=True)
        if lag is not None:
            measures["av_corr"] = round(lag.corr, 3)
            measures["av_offset_ms"] = round(lag.lag_ms, 1)
    speaking, silent = voice > audio.IS_SPEECH, voice < SILENCE
    if speaking.sum() > rate_hz / 2 and silent.sum() > rate_hz / 5:
        leakage = float(aperture[silent].std()) / max(float(aperture[speaking].std()), 1e-6)
        measures["silence_leakage"] = round(leakage, 3)
    return measures
