"""The check that sound and picture of a clip are in sync.

A mouth follows its own sound at one lag only. Which one is told by every coefficient of the mouth,
not by the aperture alone: rounded lips mark an instant as well as open ones. And files seldom are
more than a few frames off, so a lag is believed the sooner the smaller it is.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heygem.core.types import FloatArray
from heygem.lips.av_sync import lag_correlations, peak_offset
from heygem.lips.trajectory import RATE_HZ, Trajectory
from heygem.training.clip import Clip
from heygem.training.coefficients import projection
from heygem.training.metrics import MAX_LAG_S, lag_curve

MAX_CORRECTION_S = 0.3  # lags corrected; a clip with a larger one is left out
MIN_PEAK = 0.2  # correlation at the peak for its lag to count as measured
MIN_AT_ZERO = 0.25  # without a measured lag; foreign sound reaches 0.24 in eight seconds by chance
MIN_PROMINENCE = 0.6  # of the peak over other lags, times the root of the seconds it rests on
SIDE_LOBE_S = 0.16  # around the peak, not counted as other lags
MAX_POOLED_S = 60.0  # more footage adds nothing to the prominence
POOL_BELOW_S = 8.0  # shorter clips of one speaker are judged together
# Of the lags of files: a Student t distribution of two degrees of freedom and this scale.
USUAL_LAG_S = 0.06
INDEPENDENT_PER_S = 5.0  # rows of a coefficient that tell something new, as in a few syllables
MAX_CORRELATION = 0.95  # of one coefficient, so that none decides alone


@dataclass(frozen=True)
class SyncCheck:
    """Whether a clip's sound belongs to its picture.

    Attributes
    ----------
    lag_s : float
        How much later the picture is, likeliest by all coefficients of this clip.
    peak : float
        Highest correlation of the aperture at any lag.
    prominence : float
        Height of that peak over other lags, times the root of the seconds it rests on.
    at_zero : float
        Correlation of the aperture without a lag.
    """

    lag_s: float
    peak: float
    prominence: float
    at_zero: float

    @property
    def is_measured(self) -> bool:
        """Whether the correlation has one clear peak, so that the sound is that of the picture."""
        return self.peak >= MIN_PEAK and self.prominence >= MIN_PROMINENCE

    @property
    def verdict(self) -> str:
        """One of `ok`, `shifted` (by a lag), `off` (not to be used for training)."""
        if abs(self.lag_s) > MAX_CORRECTION_S:
            return "off"
        # Too short or too repetitive for a clear peak: used if it correlates at all.
        if not self.is_measured and self.at_zero < MIN_AT_ZERO:
            return "off"
        return "ok" if abs(self.lag_s) <= 0.02 else "shifted"

    @property
    def correction_s(self) -> float:
        """Lag to be corrected."""
        return 0.0 if self.verdict == "off" else self.lag_s


def check_sync(clips: Sequence[Clip], predicted: Sequence[Trajectory]) -> list[SyncCheck]:
    """Compare each clip with what a model that was not trained on its speaker predicts.

    Without a peak of the correlation, the sound is not that of the picture (dubbed, or somebody
    else speaks); short clips of one speaker answer that together. The lag is each clip's own.

    Parameters
    ----------
    clips : sequence of Clip
    predicted : sequence of Trajectory
        At `RATE_HZ`, for each clip.

    Returns
    -------
    list of SyncCheck
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        is_short = clip.duration_s < POOL_BELOW_S
        groups[(clip.source.speaker, clip.source.path.suffix) if is_short else i].append(i)
    checks = [SyncCheck(0.0, 0.0, 0.0, 0.0)] * len(clips)
    for members in groups.values():
        peak = _pooled_peak(
            [clips[i] for i in members],
            [predicted[i].aperture()[: len(clips[i].valid)] for i in members],
        )
        for i in members:
            checks[i] = SyncCheck(likeliest_lag(clips[i], predicted[i]), *peak)
    return checks


def likeliest_lag(clip: Clip, predicted: Trajectory, *, refine: bool = False) -> float:
    """How much later a clip's picture is than its sound [s].

    Coefficients are taken for independent Gaussian processes: the likelihood of a lag is that of
    the correlations that they have there, times the share of files with such a lag. Against the
    lag at which the aperture correlates best, taken where that peak is clear, the correlation on
    other seconds of the same clips rose from 0.726 to 0.774 (28 unseen speakers).

    Parameters
    ----------
    clip : Clip
    predicted : Trajectory
        At `RATE_HZ`, from the clip's sound.
    refine : bool
        Interpolate between rows of 20 ms.

    Returns
    -------
    float
        0 where less than half a second has a face.
    """
    if clip.valid.sum() <= RATE_HZ / 2:
        return 0.0
    max_lag = int(MAX_LAG_S * RATE_HZ)
    lags_s = np.arange(-max_lag, max_lag + 1) / RATE_HZ
    log_probability = -1.5 * np.log1p((lags_s / USUAL_LAG_S) ** 2)
    flat = clip.displacement.reshape(len(clip.displacement), -1)
    real = flat @ projection(predicted.basis)
    pairs = [
        (clip.aperture, predicted.aperture()),
        *zip(real.T, predicted.coefficients.T, strict=True),
    ]
    for mouth, curve in pairs:
        correlations = lag_correlations(mouth, curve[: len(mouth)], max_lag, valid=clip.valid)
        positive = np.clip(correlations, 0, MAX_CORRELATION)
        count = clip.duration_s * INDEPENDENT_PER_S
        log_probability = log_probability - count / 2 * np.log1p(-(positive**2))
    best = int(log_probability.argmax())
    offset = peak_offset(log_probability, best) if refine else 0.0
    return float(lags_s[best] + offset / RATE_HZ)


def _pooled_peak(
    clips: Sequence[Clip], predicted: Sequence[FloatArray]
) -> tuple[float, float, float]:
    """Peak, prominence, and correlation without a lag of the apertures of some clips together."""
    seconds = np.array([max(c.duration_s, 1e-3) for c in clips])
    usable = np.array([c.valid.sum() > RATE_HZ / 2 for c in clips])
    if not usable.any():
        return 0.0, 0.0, 0.0
    curves = [
        lag_curve(p, c.aperture, c.valid)
        for c, p, use in zip(clips, predicted, usable, strict=True)
        if use
    ]
    lags = curves[0][0]
    mean = np.average([c for _, c in curves], axis=0, weights=seconds[usable])
    best = int(mean.argmax())
    elsewhere = mean[np.abs(lags - lags[best]) > SIDE_LOBE_S]
    prominence = mean[best] - np.quantile(elsewhere, 0.9)
    prominence *= np.sqrt(min(seconds.sum(), MAX_POOLED_S))
    return float(mean[best]), float(prominence), float(mean[len(mean) // 2])
