"""The file's own lag between audio and picture, estimated on the library part.

Cameras, microphones and converters leave audio and picture up to 120 ms apart. A mouth in sync with
the audio then cannot match the file's own mouth as it stands, and a model that did would be out of
sync in use. So the lag is estimated on the library part, against the model's prediction, and the
held-out part is evaluated a second time with that lag corrected. The lag that remains is the
model's.

A constant lag of the model itself would be absorbed by the estimate, so the mean over many files
has to be read too; it is in the table.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from heygem.core.types import FloatArray
from heygem.lips.trajectory import Trajectory
from heygem.training.dataset import Clip
from heygem.training.sync import check_sync, likeliest_lag


@runtime_checkable
class FeaturePredictor(Protocol):
    """A lips model that predicts from features, as `heygem.lips.model.LipsModel` does.

    Attributes
    ----------
    embedding : str or None
        Projection of the speech embedding in its features; None: none.
    """

    @property
    def embedding(self) -> str | None: ...

    def predict_features(self, features: FloatArray) -> Trajectory:
        """Motion for features at 100 Hz, float32 [2 N, K]: N rows at 50 Hz."""


@dataclass(frozen=True)
class FileLag:
    """A file's own lag.

    Attributes
    ----------
    lag_s : float
        Positive: the mouth is late. 0 where the sound is not that of the picture.
    reliable : bool
        Whether the correlation over lags has one clear peak.
    verdict : str
        `heygem.training.sync.SyncCheck.verdict`: ok, shifted or off.
    corr : float
        Correlation at the peak.
    """

    lag_s: float
    reliable: bool
    verdict: str
    corr: float


def estimate_file_lag(clip: Clip, model: FeaturePredictor) -> FileLag:
    """Estimate a file's lag from the library part, in steps finer than a row of 20 ms.

    Parameters
    ----------
    clip : heygem.training.dataset.Clip
        Of the library part.
    model : FeaturePredictor
    """
    predicted = model.predict_features(clip.features)
    (check,) = check_sync([clip], [predicted])
    if check.verdict == "off" and not check.is_measured:
        return FileLag(0.0, False, check.verdict, check.peak)
    lag_s = likeliest_lag(clip, predicted, refine=True)
    return FileLag(lag_s, check.is_measured, check.verdict, check.peak)
