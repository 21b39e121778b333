"""Metrics of mouth motion: what moved, when and how far, compared with the real mouth.

All of them take points that were tracked on pictures and freed of head motion
(`heygem.face.pose.to_canonical`), never the curve that a model predicted: a metric of the model's
own output does not include what the renderer lost. Distances are in inter-ocular distances (IOD,
outer eye corners), so faces of every size can be averaged.

Arguments named `rendered` and `real` are the mouth to be evaluated and the reference.
"""

from dataclasses import dataclass

import numpy as np

from heygem.core.interpolation import interpolate_at_times
from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.face import pose
from heygem.face import topology as topo
from heygem.lips.av_sync import Lag, correlation, lag_correlations, parabola_vertex

LIPS = np.array(sorted(set(topo.LIPS_OUTER) | set(topo.LIPS_INNER)))

MAX_LAG_MS = 400  # SyncNet searches 15 frames of 25 Hz each way; speech gives no cue past this
EQUAL_PEAK = 0.95  # a peak this high, relative to the highest one, counts as equally high
SHIFT_GUARD_S = 1.0  # a shift under a second still shares syllables with the original
CLOSED_FRACTION = 0.2  # of the way from the person's closed to the person's open mouth
CLOSURE_TOLERANCE_MS = 60  # about one frame and a half: viewers accept such a closure as on time
DRIFT_MIN_S = 60.0  # under a minute the lag of a window is noisier than any real drift
DRIFT_OVER_S = 600.0


@dataclass(frozen=True)
class MouthCurves:
    """One mouth over time, head motion removed.

    Attributes
    ----------
    times_s : float64 [T]
        Strictly increasing.
    aperture : float32 [T], IOD
        Gap between the inner lips.
    width : float32 [T], IOD
        Distance between the mouth corners.
    lips : float32 [T, 40, 2], IOD
        Lip points in the canonical frame.
    """

    times_s: FloatArray
    aperture: FloatArray
    width: FloatArray
    lips: FloatArray

    @property
    def rate_hz(self) -> float:
        """Median frame rate."""
        return float(1.0 / np.median(np.diff(self.times_s)))

    def __len__(self) -> int:
        return len(self.times_s)

    def at(self, times_s: FloatArray) -> "MouthCurves":
        """The same mouth at other moments, interpolated linearly between frames."""
        times_s = np.asarray(times_s, np.float64)
        points = self.lips.reshape(len(self), -1)
        lips = interpolate_at_times(points, self.times_s, times_s)
        return MouthCurves(
            times_s,
            np.interp(times_s, self.times_s, self.aperture).astype(np.float32),
            np.interp(times_s, self.times_s, self.width).astype(np.float32),
            lips.reshape(len(times_s), *self.lips.shape[1:]).astype(np.float32),
        )

    def part(self, keep: slice | BoolArray | IntArray) -> "MouthCurves":
        """The same mouth at some frames only."""
        return MouthCurves(
            self.times_s[keep], self.aperture[keep], self.width[keep], self.lips[keep]
        )


def mouth_curves(canonical: FloatArray, times_s: FloatArray) -> MouthCurves:
    """Aperture, width and lip points of canonical meshes.

    Parameters
    ----------
    canonical : float32 [T, 468, 3], IOD
    times_s : float64 [T]
    """
    points = np.asarray(canonical, np.float32)
    # x and y only: the mesh estimates z from the same pixels, with several times the noise.
    right, left = topo.MOUTH_CORNERS
    corners = points[:, left, :2] - points[:, right, :2]
    return MouthCurves(
        np.asarray(times_s, np.float64),
        pose.aperture(points),
        np.linalg.norm(corners, axis=-1).astype(np.float32),
        points[:, LIPS, :2],
    )


def _resample(times_s: FloatArray, curve: FloatArray, rate_hz: float) -> FloatArray:
    grid = np.arange(times_s[0], times_s[-1] + 1e-9, 1.0 / rate_hz)
    return np.interp(grid, times_s, curve)


def best_lag(
    rendered: FloatArray, real: FloatArray, times_s: FloatArray, *, max_lag_ms: float = MAX_LAG_MS
) -> Lag:
    """The lag at which two curves correlate best; of peaks equally high, the one nearest zero.

    Refined below a frame by a parabola through its neighbours. Curves of a variable frame rate are
    resampled to a uniform grid of the median rate first.

    Parameters
    ----------
    rendered, real : float [T]
    times_s : float [T]
    max_lag_ms : float

    Returns
    -------
    Lag
        NaN twice where no positive peak lies inside the range: a static or unrelated mouth has no
        lag.
    """
    undefined = Lag(float("nan"), float("nan"))
    times_s = np.asarray(times_s, np.float64)
    rate_hz = float(1.0 / np.median(np.diff(times_s)))
    a = _resample(times_s, rendered, rate_hz)
    b = _resample(times_s, real, rate_hz)
    # A third of the clip must stay in the overlap, or chance peaks win.
    reach = min(int(round(max_lag_ms / 1e3 * rate_hz)), len(a) // 3)
    if reach < 1 or np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return undefined
    shifts = np.arange(-reach, reach + 1)
    corrs = lag_correlations(a, b, reach)
    if not np.isfinite(corrs).any():
        return undefined
    best = int(np.nanargmax(corrs))
    if corrs[best] <= 0 or best in (0, len(corrs) - 1):
        return undefined
    # Syllables are nearly periodic, so a peak one syllable off may be slightly higher.
    inner = np.arange(1, len(corrs) - 1)
    peaks = inner[(corrs[1:-1] >= corrs[:-2]) & (corrs[1:-1] >= corrs[2:])]
    peaks = peaks[corrs[peaks] >= EQUAL_PEAK * corrs[best]]
    best = int(peaks[np.abs(shifts[peaks]).argmin()])
    offset = parabola_vertex(*corrs[best - 1 : best + 2])
    return Lag(float((shifts[best] + offset) / rate_hz), float(corrs[best]))


def lag_ms(
    rendered: FloatArray, real: FloatArray, times_s: FloatArray, *, max_lag_ms: float = MAX_LAG_MS
) -> float:
    """By how much the rendered mouth is late, in milliseconds; see `best_lag`."""
    return best_lag(rendered, real, times_s, max_lag_ms=max_lag_ms).lag_ms


def drift_ms(
    rendered: FloatArray, real: FloatArray, times_s: FloatArray, *, windows: int = 8
) -> float:
    """By how much the lag grows over ten minutes, from the lags of successive windows.

    A median of pairwise slopes (Theil-Sen), so that one window with a chance peak does
    not make a drift. NaN for less than a minute.
    """
    times_s = np.asarray(times_s, np.float64)
    if times_s[-1] - times_s[0] < DRIFT_MIN_S:
        return float("nan")
    middles, lags = [], []
    for part in window_slices(len(times_s), windows):
        lag = lag_ms(rendered[part], real[part], times_s[part])
        if np.isfinite(lag):
            middles.append(float(times_s[part].mean()))
            lags.append(lag)
    if len(lags) < 4:
        return float("nan")
    i, j = np.triu_indices(len(lags), 1)
    slopes = (np.array(lags)[j] - np.array(lags)[i]) / (np.array(middles)[j] - np.array(middles)[i])
    return float(np.median(slopes) * DRIFT_OVER_S)


def amplitude_ratio(rendered: FloatArray, real: FloatArray) -> float:
    """Standard deviation of the rendered aperture over that of the real one; ideal is 1."""
    spread = float(np.std(real))
    return float(np.std(rendered) / spread) if spread > 1e-9 else float("nan")


def closed_gap(person_aperture: FloatArray) -> float:
    """The aperture under which this person's mouth counts as closed, from their real video.

    One threshold per person, from all real frames: a window in which the mouth never closes must
    not define a closed mouth of its own.
    """
    low, high = np.percentile(person_aperture, (2, 95))
    return float(low + CLOSED_FRACTION * (high - low))


def closure_f1(
    rendered: FloatArray,
    real: FloatArray,
    times_s: FloatArray,
    threshold: float,
    *,
    speech: BoolArray | None = None,
) -> float:
    """F1 score of lip closures (p, b, m): closed when the real lips are, and only then.

    Counted in frames, with a tolerance of 60 ms. Pauses are left out where `speech` (bool [T]) is
    given, since any mouth at rest would score there.

    Returns
    -------
    float
        0..1; NaN when the real mouth never closes in the frames counted.
    """
    times_s = np.asarray(times_s, np.float64)
    counted = np.ones(len(times_s), bool) if speech is None else np.asarray(speech, bool)
    closed, real_closed = np.asarray(rendered) < threshold, np.asarray(real) < threshold
    if not (real_closed & counted).any():
        return float("nan")
    reach = int(round(CLOSURE_TOLERANCE_MS / 1e3 / np.median(np.diff(times_s))))
    kernel = np.ones(2 * reach + 1)

    def near(mask: BoolArray) -> BoolArray:
        return np.convolve(mask, kernel, "same") > 0.5

    precision = (closed & counted & near(real_closed)).sum() / max((closed & counted).sum(), 1)
    recall = (real_closed & counted & near(closed)).sum() / (real_closed & counted).sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def landmark_distance(rendered: FloatArray, real: FloatArray) -> float:
    """Mean distance of lip points, IOD.

    rendered, real : float32 [T, 40, 2], canonical, so head motion is already removed.
    """
    return float(np.linalg.norm(rendered - real, axis=-1).mean())


def motion_energy(lips: FloatArray, rate_hz: float) -> float:
    """Mean squared speed of the lip points, (IOD / s)^2.

    The mean position of all lip points is subtracted per frame: a mouth that changes its shape
    remains, the residue of an inexact head pose does not. A mean over three frames comes first,
    because the tracker's noise is independent between frames.

    lips : float32 [T, 40, 2]; NaN for fewer than five frames.
    """
    shape = lips - lips.mean(axis=1, keepdims=True)
    if len(shape) < 5:
        return float("nan")
    smooth = (shape[:-2] + shape[1:-1] + shape[2:]) / 3
    return float(((np.diff(smooth, axis=0) * rate_hz) ** 2).sum(-1).mean())


def energy_ratio(rendered: FloatArray, reference: FloatArray, rate_hz: float) -> float:
    """Motion energy over the reference's: silence leakage in silence, articulation in speech."""
    base = motion_energy(reference, rate_hz)
    return motion_energy(rendered, rate_hz) / base if base > 1e-12 else float("nan")


def jitter_ratio(rendered: FloatArray, real: FloatArray) -> float:
    """Mean length of the lip points' second difference over the real mouth's; [T, 40, 2] each."""

    def roughness(lips: FloatArray) -> float:
        return float(np.linalg.norm(np.diff(lips, n=2, axis=0), axis=-1).mean())

    base = roughness(real)
    return roughness(rendered) / base if base > 1e-12 else float("nan")


@dataclass(frozen=True)
class AudioDependence:
    """Whether the motion depends on this audio.

    Attributes
    ----------
    gap : float
        Correlation with the real mouth minus the mean correlation over shifts in time.
    p : float
        Fraction of shifts that correlate at least as well, the unshifted one included.
    shifts : int
    """

    gap: float
    p: float
    shifts: int


def audio_dependence(
    rendered: FloatArray,
    real: FloatArray,
    times_s: FloatArray,
    *,
    guard_s: float = SHIFT_GUARD_S,
) -> AudioDependence:
    """Permutation test on circular shifts of a second and more.

    A mouth that moves at the rate of syllables whatever the audio matches the real mouth as well
    when it is shifted.
    """
    rate_hz = 1.0 / np.median(np.diff(np.asarray(times_s, np.float64)))
    guard = int(np.ceil(guard_s * rate_hz))
    shifts = range(guard, len(real) - guard + 1)
    unshifted = correlation(rendered, real)
    if len(shifts) < 5 or not np.isfinite(unshifted):
        return AudioDependence(float("nan"), float("nan"), max(len(shifts), 0))
    shifted = np.array([correlation(np.roll(rendered, s), real) for s in shifts])
    p = (1 + int((shifted >= unshifted).sum())) / (1 + len(shifted))
    return AudioDependence(float(unshifted - shifted.mean()), float(p), len(shifted))


def window_slices(length: int, count: int = 4) -> list[slice]:
    """Divide [0, length) into `count` windows whose lengths differ by one at most."""
    edges = np.linspace(0, length, count + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
