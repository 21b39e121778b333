"""How well a predicted mouth follows the real one, and whether sound and picture belong."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from heygem.lips.trajectory import RATE_HZ

LONGEST_LAG_S = 0.5  # looked at
MOST_LAG_S = 0.3  # put right; a clip that is further off is left out
CLEAR_PEAK = 0.2  # correlation from which a lag is believed
CLEAR_LEAD = 0.6  # of the peak over everything else, times the root of the seconds it rests on
POOL_BELOW_S = 8.0  # shorter clips of one speaker are judged together


@dataclass(frozen=True)
class Agreement:
    """A predicted curve against the real one.

    correlation : float, -1..1, as it is
    aligned : float, -1..1, at the lag where it is highest
    lag_ms : float, how much later the real mouth is than the predicted one
    ratio : float, spread of the prediction over the real one
    seconds : float
    """

    correlation: float
    aligned: float
    lag_ms: float
    ratio: float
    seconds: float


def lag_curve(said, real, valid, *, longest_s=LONGEST_LAG_S):
    """Correlation of two curves at every lag.

    Parameters
    ----------
    said, real : float [N], 50 Hz
    valid : bool [N]

    Returns
    -------
    (float [L], float [L])
        Lags in seconds (positive: `real` is later), and the correlations.
    """
    most = int(longest_s * RATE_HZ)
    a = np.where(valid, said - said[valid].mean(), 0.0)
    b = np.where(valid, real - real[valid].mean(), 0.0)
    curve = []
    for j in range(-most, most + 1):
        x, y = a[max(0, -j) : len(a) - max(0, j)], b[max(0, j) : len(b) - max(0, -j)]
        scale = np.sqrt((x**2).sum() * (y**2).sum())
        curve.append(float((x * y).sum() / scale) if scale > 0 else 0.0)
    return np.arange(-most, most + 1) / RATE_HZ, np.array(curve)


def agreement(pairs):
    """Agreement over one or more clips of one speaker.

    Parameters
    ----------
    pairs : list of (said float [N], real float [N], valid bool [N])

    Returns
    -------
    Agreement
    """
    pairs = [p for p in pairs if p[2].sum() > RATE_HZ / 2]
    if not pairs:
        return Agreement(0.0, 0.0, 0.0, 0.0, 0.0)
    said = np.concatenate([s[v] - s[v].mean() for s, _, v in pairs])
    real = np.concatenate([r[v] - r[v].mean() for _, r, v in pairs])
    weights = np.array([v.sum() for _, _, v in pairs], float)
    curves = [lag_curve(*p) for p in pairs]
    mean = np.average([c for _, c in curves], axis=0, weights=weights)
    best = int(mean.argmax())
    spread = max(float(real.std()), 1e-9)
    scale = max(float(said.std()), 1e-9) * spread * len(said)
    return Agreement(
        float((said * real).sum() / scale),
        float(mean[best]),
        float(curves[0][0][best] * 1000),
        float(said.std() / spread),
        float(weights.sum() / RATE_HZ),
    )


@dataclass(frozen=True)
class Sync:
    """Whether a clip's sound belongs to its picture.

    lag_s : float, how much later the picture is
    peak : float, correlation at that lag
    lead : float, how far the peak stands out, times the root of the seconds it rests on
    at_zero : float, correlation as it is
    """

    lag_s: float
    peak: float
    lead: float
    at_zero: float

    @property
    def verdict(self):
        """One of ok, shifted (by a lag that is known), off (not to be learnt from)."""
        known = self.peak >= CLEAR_PEAK and self.lead >= CLEAR_LEAD
        if known and abs(self.lag_s) <= MOST_LAG_S:
            return "ok" if abs(self.lag_s) <= 0.02 else "shifted"
        # Too short or too repetitive to tell the lag: taken as it is if that fits at all.
        return "ok" if not known and self.at_zero >= CLEAR_PEAK else "off"

    @property
    def correction_s(self):
        """Lag to be put right."""
        return self.lag_s if self.verdict == "shifted" else 0.0


def check_sync(clips, said):
    """Compare each clip with what a model that never saw its speaker says to its sound.

    A mouth follows its own sound at one lag only, so the correlation has one peak; where it has
    none, sound and picture are not of one piece (dubbed, or somebody else speaks).

    Parameters
    ----------
    clips : list of heygem.training.dataset.Clip
    said : list of float [N]
        Predicted change of the lips' gap for each clip.

    Returns
    -------
    list of Sync
    """
    groups = defaultdict(list)
    for i, clip in enumerate(clips):
        short = clip.duration_s < POOL_BELOW_S
        key = (clip.source.speaker, clip.source.path.suffix) if short else i
        groups[key].append(i)
    result = [None] * len(clips)
    for members in groups.values():
        seconds = np.array([max(clips[i].duration_s, 1e-3) for i in members])
        usable = [i for i in members if clips[i].valid.sum() > RATE_HZ / 2]
        if not usable:
            for i in members:
                result[i] = Sync(0.0, 0.0, 0.0, 0.0)
            continue
        curves = [lag_curve(said[i], clips[i].aperture, clips[i].valid) for i in usable]
        lags = curves[0][0]
        mean = np.average(
            [c for _, c in curves], axis=0, weights=[max(clips[i].duration_s, 1e-3) for i in usable]
        )
        best = int(mean.argmax())
        elsewhere = mean[np.abs(lags - lags[best]) > 0.16]
        lead = (mean[best] - np.quantile(elsewhere, 0.9)) * np.sqrt(min(seconds.sum(), 60))
        at_zero = float(mean[len(mean) // 2])
        found = Sync(float(lags[best]), float(mean[best]), float(lead), at_zero)
        for i in members:
            result[i] = found
    return result
