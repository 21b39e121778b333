"""Correlation of predicted and tracked motion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heygem.core.types import BoolArray, FloatArray
from heygem.lips.av_sync import lag_correlations
from heygem.lips.trajectory import RATE_HZ

MAX_LAG_S = 0.5  # lags searched


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
