"""How far a file's own sound and picture are apart, found where nothing is judged.

Cameras, microphones and converters leave sound and picture up to 120 ms apart. A mouth that is in
sync with the sound then cannot match the file's own mouth as it stands, and a model that did would
be out of sync in use. So the lag is measured on the part that is learnt from, by what the model
says to its sound, and the held-out part is judged a second time with that lag put right. What
offset remains there is the model's.

A constant lag of the model itself would hide in it: the mean over many files has to be looked at
too, and is in the table.
"""

from dataclasses import dataclass

import numpy as np

from heygem.lips.trajectory import RATE_HZ
from heygem.training import metrics


@dataclass(frozen=True)
class OwnLag:
    """What the learnt part tells of a file's sync.

    Attributes
    ----------
    lag_s : float
        How much later the picture is than the sound; 0 where it cannot be told.
    known : bool
        Whether the correlation over lags has one clear peak.
    verdict : str
        `heygem.training.metrics.Sync.verdict`: ok, shifted or off.
    r : float
        Correlation at the peak.
    """

    lag_s: float
    known: bool
    verdict: str
    r: float


def own_lag(clip, model):
    """Measure a file's lag.

    Parameters
    ----------
    clip : heygem.training.dataset.Clip
        Of the part learnt from.
    model : heygem.lips.model.LipsModel

    Returns
    -------
    OwnLag
    """
    said = model.predict_features(clip.heard).aperture()
    (sync,) = metrics.check_sync([clip], [said])
    known = sync.peak >= metrics.CLEAR_PEAK and sync.lead >= metrics.CLEAR_LEAD
    if not known:
        return OwnLag(0.0, False, sync.verdict, sync.peak)
    lags, curve = metrics.lag_curve(said, clip.aperture, clip.valid)
    best = int(np.argmax(curve))
    step = 0.0
    if 0 < best < len(curve) - 1:  # a parabola through the peak: finer than a step of 20 ms
        left, mid, right = curve[best - 1 : best + 2]
        bend = left - 2 * mid + right
        step = 0.5 * (left - right) / bend if bend < -1e-9 else 0.0
    return OwnLag(
        float(lags[best] + np.clip(step, -0.5, 0.5) / RATE_HZ), True, sync.verdict, sync.peak
    )
