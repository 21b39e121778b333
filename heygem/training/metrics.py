"""Correlation of predicted and tracked motion, and the check that sound and picture are in sync."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heygem.core.types import BoolArray, FloatArray
from heygem.lips.av_sync import lag_correlations
from heygem.lips.trajectory import RATE_HZ
from heygem.training.clip import Clip

MAX_LAG_S = 0.5  # lags searched
MAX_CORRECTION_S = 0.3  # lags corrected; a clip with a larger one is left out
MIN_PEAK = 0.2  # correlation at the peak for its lag to count as measured
MIN_AT_ZERO = 0.25  # without a measured lag; foreign sound reaches 0.24 in eight seconds by chance
MIN_PROMINENCE = 0.6  # of the peak over other lags, times the root of the seconds it rests on
SIDE_LOBE_S = 0.16  # around the peak, not counted as other lags
MAX_POOLED_S = 60.0  # more footage adds nothing to the prominence
POOL_BELOW_S = 8.0  # shorter clips of one speaker are judged together


@dataclass(frozen=True)
class Agreement:
    """A predicted curve compared with the tracked one.

    Attributes
    ----------
    correlation : float
        -1..1, without a lag.
    aligned : float
        -1..1, at the lag where it is highest.
    lag_ms : float
        That lag: how much later the tracked mouth is than the predicted one.
    ratio : float
        Amplitude ratio: standard deviation of the prediction over that of the tracked curve.
    seconds : float
    """

    correlation: float
    aligned: float
    lag_ms: float
    ratio: float
    seconds: float


def lag_curve(
    predicted: FloatArray, real: FloatArray, valid: BoolArray, *, max_lag_s: float = MAX_LAG_S
) -> tuple[FloatArray, FloatArray]:
    """Correlation of two curves at every lag.

    Parameters
    ----------
    predicted, real : float [N], 50 Hz
    valid : bool [N]
    max_lag_s : float

    Returns
    -------
    (float [L], float [L])
        Lags in seconds (positive: `real` is later), and the correlations.
    """
    max_lag = int(max_lag_s * RATE_HZ)
    correlations = lag_correlations(real, predicted, max_lag, valid=valid)
    return np.arange(-max_lag, max_lag + 1) / RATE_HZ, correlations


def agreement(pairs: Sequence[tuple[FloatArray, FloatArray, BoolArray]]) -> Agreement:
    """Compare predicted with tracked curves of one speaker, over one or more clips.

    Parameters
    ----------
    pairs : sequence of (predicted float [N], real float [N], valid bool [N])
        Each clip's mean is taken out; clips with less than half a second are left out.

    Returns
    -------
    Agreement
    """
    pairs = [p for p in pairs if p[2].sum() > RATE_HZ / 2]
    if not pairs:
        return Agreement(0.0, 0.0, 0.0, 0.0, 0.0)
    predicted = np.concatenate([p[v] - p[v].mean() for p, _, v in pairs])
    real = np.concatenate([r[v] - r[v].mean() for _, r, v in pairs])
    scale = float(np.sqrt((predicted**2).sum() * (real**2).sum()))
    # The same statistic at every lag, so that the best is no lower than that without a lag.
    pooled: FloatArray = np.zeros(1)
    lags_s: FloatArray = np.zeros(1)
    for p, r, v in pairs:
        lags_s, curve = lag_curve(p, r, v)
        power = np.sqrt(((p[v] - p[v].mean()) ** 2).sum() * ((r[v] - r[v].mean()) ** 2).sum())
        pooled = pooled + curve * power / max(scale, 1e-18)
    best = int(pooled.argmax())
    std = max(float(real.std()), 1e-9)
    return Agreement(
        float((predicted * real).sum() / max(scale, 1e-18)),
        float(pooled[best]),
        float(lags_s[best] * 1000),
        float(predicted.std() / std),
        float(len(real) / RATE_HZ),
    )


@dataclass(frozen=True)
class SyncCheck:
    """Whether a clip's sound belongs to its picture.

    Attributes
    ----------
    lag_s : float
        How much later the picture is.
    peak : float
        Correlation at that lag.
    prominence : float
        Height of the peak over other lags, times the root of the seconds it rests on.
    at_zero : float
        Correlation without a lag.
    """

    lag_s: float
    peak: float
    prominence: float
    at_zero: float

    @property
    def is_measured(self) -> bool:
        """Whether the correlation has one clear peak, so that the lag can be trusted."""
        return self.peak >= MIN_PEAK and self.prominence >= MIN_PROMINENCE

    @property
    def verdict(self) -> str:
        """One of `ok`, `shifted` (by a measured lag), `off` (not to be used for training)."""
        if self.is_measured and abs(self.lag_s) <= MAX_CORRECTION_S:
            return "ok" if abs(self.lag_s) <= 0.02 else "shifted"
        # Too short or too repetitive to measure a lag: used as it is if it correlates at all.
        return "ok" if not self.is_measured and self.at_zero >= MIN_AT_ZERO else "off"

    @property
    def correction_s(self) -> float:
        """Lag to be corrected."""
        return self.lag_s if self.verdict == "shifted" else 0.0


def check_sync(clips: Sequence[Clip], predicted: Sequence[FloatArray]) -> list[SyncCheck]:
    """Compare each clip with what a model that was not trained on its speaker predicts.

    A mouth correlates with its own sound at one lag only, so the correlation has one peak; without
    one, the sound is not that of the picture (dubbed, or somebody else speaks).

    Parameters
    ----------
    clips : sequence of Clip
    predicted : sequence of float [N]
        Predicted change of the lip aperture for each clip.

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
        check = _check_group([clips[i] for i in members], [predicted[i] for i in members])
        for i in members:
            checks[i] = check
    return checks


def _check_group(clips: Sequence[Clip], predicted: Sequence[FloatArray]) -> SyncCheck:
    """One check of several clips together."""
    seconds = np.array([max(c.duration_s, 1e-3) for c in clips])
    usable = np.array([c.valid.sum() > RATE_HZ / 2 for c in clips])
    if not usable.any():
        return SyncCheck(0.0, 0.0, 0.0, 0.0)
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
    return SyncCheck(
        float(lags[best]), float(mean[best]), float(prominence), float(mean[len(mean) // 2])
    )
