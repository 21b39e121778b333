"""Measures on mouth motion: what moved, when, how far, compared with the real mouth.

Everything here takes points that were tracked on pictures and freed of head motion
(`heygem.face.pose.to_canonical`), never the curve a model meant to draw: a measure
on the model's own output does not see what the renderer lost. Distances are in units of
the distance between the outer eye corners, so faces of every size can be averaged.
"""

from dataclasses import dataclass

import numpy as np

from heygem.core.interpolation import interpolate_at_times
from heygem.face import pose
from heygem.face import topology as topo

LIPS = np.array(sorted(set(topo.LIPS_OUTER) | set(topo.LIPS_INNER)))

LAG_RANGE_MS = 400  # SyncNet looks 15 frames of 25 Hz each way; speech gives no cue past this
NEARLY = 0.95  # of the highest peak: as good as it
SHIFT_GUARD_S = 1.0  # a shift under a second still shares syllables with the original
CLOSED_SHARE = 0.2  # of the way from the person's closed to the person's open mouth
CLOSURE_TOLERANCE_MS = 60  # about one frame and a half: closing is seen as on time
DRIFT_MIN_S = 60.0  # under a minute the lag of a window is noisier than any real drift
DRIFT_OVER_S = 600.0


@dataclass(frozen=True)
class MouthCurves:
    """One mouth over time, head motion removed.

    Attributes
    ----------
    times_s : float64 [T], strictly rising
    aperture : float32 [T], gap between the inner lips, eye-corner distances
    width : float32 [T], distance of the mouth corners, eye-corner distances
    lips : float32 [T, 40, 2], lip points in the canonical frame
    """

    times_s: np.ndarray
    aperture: np.ndarray
    width: np.ndarray
    lips: np.ndarray

    @property
    def rate_hz(self):
        """Median frame rate."""
        return float(1.0 / np.median(np.diff(self.times_s)))

    def __len__(self):
        return len(self.times_s)

    def at(self, times_s):
        """The same mouth at other moments, between frames by straight lines."""
        times_s = np.asarray(times_s, np.float64)
        points = self.lips.reshape(len(self), -1)
        lips = interpolate_at_times(points, self.times_s, times_s)
        return MouthCurves(
            times_s,
            np.interp(times_s, self.times_s, self.aperture).astype(np.float32),
            np.interp(times_s, self.times_s, self.width).astype(np.float32),
            lips.reshape(len(times_s), *self.lips.shape[1:]).astype(np.float32),
        )

    def part(self, keep):
        """The same mouth at some frames only; `keep` is a slice, mask or index array."""
        return MouthCurves(
            self.times_s[keep], self.aperture[keep], self.width[keep], self.lips[keep]
        )


def mouth_curves(canonical, times_s):
    """Read gap, width and lip points off canonical meshes.

    Parameters
    ----------
    canonical : float32 [T, 468, 3], eye-corner distances
    times_s : float64 [T]
    """
    points = np.asarray(canonical, np.float32)
    # x and y only: the mesh guesses z from the same pixels, with several times the noise.
    right, left = topo.MOUTH_CORNERS
    corners = points[:, left, :2] - points[:, right, :2]
    return MouthCurves(
        np.asarray(times_s, np.float64),
        pose.aperture(points),
        np.linalg.norm(corners, axis=-1).astype(np.float32),
        points[:, LIPS, :2],
    )


def correlation(generated, real):
    """Pearson correlation of two curves [T]; NaN where either stands still."""
    a = np.asarray(generated, np.float64) - np.mean(generated)
    b = np.asarray(real, np.float64) - np.mean(real)
    power = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / power) if power > 1e-12 else float("nan")


def _uniform(times_s, curve, rate_hz):
    grid = np.arange(times_s[0], times_s[-1] + 1e-9, 1.0 / rate_hz)
    return np.interp(grid, times_s, curve)


@dataclass(frozen=True)
class Peak:
    """Where two curves agree best: `lag_ms`, positive when the first is late, and `r` there."""

    lag_ms: float
    r: float


def peak(generated, real, times_s, *, range_ms=LAG_RANGE_MS):
    """Where the cross-correlation of two curves is highest, near lag nought if that is no worse.

    Refined below a frame by a parabola through its neighbours. Curves of a variable frame
    rate are read on a uniform grid of the median rate first.

    Returns
    -------
    Peak
        NaN twice where no positive peak lies inside the range: a still or unrelated mouth has
        no lag.
    """
    nothing = Peak(float("nan"), float("nan"))
    times_s = np.asarray(times_s, np.float64)
    rate_hz = 1.0 / np.median(np.diff(times_s))
    a = _uniform(times_s, generated, rate_hz)
    b = _uniform(times_s, real, rate_hz)
    # A third of the clip must stay in the overlap, or chance peaks win.
    reach = min(int(round(range_ms / 1e3 * rate_hz)), len(a) // 3)
    if reach < 1 or np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return nothing
    shifts = np.arange(-reach, reach + 1)
    scores = np.array(
        [
            correlation(a[max(s, 0) : len(a) + min(s, 0)], b[max(-s, 0) : len(b) - max(s, 0)])
            for s in shifts
        ]
    )
    if not np.isfinite(scores).any():
        return nothing
    best = int(np.nanargmax(scores))
    if scores[best] <= 0 or best in (0, len(scores) - 1):
        return nothing
    # Syllables come at a beat: of peaks nearly as high, the nearest is the one.
    inner = np.arange(1, len(scores) - 1)
    tops = inner[(scores[1:-1] >= scores[:-2]) & (scores[1:-1] >= scores[2:])]
    tops = tops[scores[tops] >= NEARLY * scores[best]]
    best = int(tops[np.abs(shifts[tops]).argmin()])
    left, mid, right = scores[best - 1 : best + 2]
    bend = left - 2 * mid + right
    offset = 0.5 * (left - right) / bend if bend < -1e-12 else 0.0
    return Peak(float((shifts[best] + np.clip(offset, -0.5, 0.5)) / rate_hz * 1e3), float(mid))


def lag_ms(generated, real, times_s, *, range_ms=LAG_RANGE_MS):
    """By how much the generated curve is late, in milliseconds; see `peak`."""
    return peak(generated, real, times_s, range_ms=range_ms).lag_ms


def drift_ms(generated, real, times_s, *, windows=8):
    """How much later the mouth gets over ten minutes, from the lags of successive windows.

    A median of pairwise slopes (Theil-Sen), so that one window with a chance peak does
    not make a drift. NaN under a minute of material.
    """
    times_s = np.asarray(times_s, np.float64)
    if times_s[-1] - times_s[0] < DRIFT_MIN_S:
        return float("nan")
    middles, lags = [], []
    for part in window_slices(len(times_s), windows):
        lag = lag_ms(generated[part], real[part], times_s[part])
        if np.isfinite(lag):
            middles.append(float(times_s[part].mean()))
            lags.append(lag)
    if len(lags) < 4:
        return float("nan")
    i, j = np.triu_indices(len(lags), 1)
    slopes = (np.array(lags)[j] - np.array(lags)[i]) / (np.array(middles)[j] - np.array(middles)[i])
    return float(np.median(slopes) * DRIFT_OVER_S)


def open_ratio(generated, real):
    """Spread of the generated aperture over the real one's; 1 is right, peers reach about 0.5."""
    spread = float(np.std(real))
    return float(np.std(generated) / spread) if spread > 1e-9 else float("nan")


def closed_gap(person_aperture):
    """The gap under which this person's mouth counts as closed, from their own real video.

    One threshold per person, taken from everything real there is of them: a window in
    which the mouth never closes must not invent a closed mouth of its own.
    """
    low, high = np.percentile(person_aperture, (2, 95))
    return float(low + CLOSED_SHARE * (high - low))


def closure_f1(generated, real, times_s, threshold, *, speech=None):
    """Are the lips shut when the real ones are (p, b, m), and only then?

    Frames, with a tolerance of 60 ms. Pauses are left out where `speech` (bool [T]) is
    given, since any mouth at rest would pass there.

    Returns
    -------
    float
        0..1; NaN when the real mouth never closes in the frames looked at.
    """
    times_s = np.asarray(times_s, np.float64)
    use = np.ones(len(times_s), bool) if speech is None else np.asarray(speech, bool)
    made, true = np.asarray(generated) < threshold, np.asarray(real) < threshold
    if not (true & use).any():
        return float("nan")
    reach = int(round(CLOSURE_TOLERANCE_MS / 1e3 / np.median(np.diff(times_s))))
    kernel = np.ones(2 * reach + 1)

    def near(mask):
        return np.convolve(mask, kernel, "same") > 0.5

    hits = (made & use & near(true)).sum()
    precision = hits / max((made & use).sum(), 1)
    recall = (true & use & near(made)).sum() / (true & use).sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def landmark_distance(generated, real):
    """Mean distance of lip points, eye-corner distances.

    generated, real : float32 [T, 40, 2], canonical, so head motion is out already.
    """
    return float(np.linalg.norm(generated - real, axis=-1).mean())


def motion_energy(lips, rate_hz):
    """Mean squared speed of the lip points, (eye-corner distances / s)^2.

    The mean position of all lip points is taken out per frame: what is left is a mouth
    changing shape, not the residue of a head pose that was fitted a little off. A
    three-frame mean comes first, because the tracker's own noise lives in single frames.
    """
    shape = lips - lips.mean(axis=1, keepdims=True)
    if len(shape) < 5:
        return float("nan")
    smooth = (shape[:-2] + shape[1:-1] + shape[2:]) / 3
    return float(((np.diff(smooth, axis=0) * rate_hz) ** 2).sum(-1).mean())


def energy_ratio(generated, reference, rate_hz):
    """Mouth energy over the reference mouth's: leak in silence, articulation in speech."""
    base = motion_energy(reference, rate_hz)
    return motion_energy(generated, rate_hz) / base if base > 1e-12 else float("nan")


def jitter_ratio(generated, real):
    """Mean length of the lip points' second difference, over the real mouth's. [T, 40, 2]"""

    def roughness(lips):
        return float(np.linalg.norm(np.diff(lips, n=2, axis=0), axis=-1).mean())

    base = roughness(real)
    return roughness(generated) / base if base > 1e-12 else float("nan")


@dataclass(frozen=True)
class AudioDependence:
    """Does the mouth belong to this sound? `gap`: correlation won over shifted sound."""

    gap: float
    p: float
    shifts: int


def audio_dependence(generated, real, times_s, *, guard_s=SHIFT_GUARD_S):
    """Matched against shifted: a permutation test on circular shifts of a second and more.

    A mouth that flaps at speech rate without listening matches a shifted face as well as
    its own; p is the share of shifts that do at least as well, counting the true one.
    """
    rate_hz = 1.0 / np.median(np.diff(np.asarray(times_s, np.float64)))
    guard = int(np.ceil(guard_s * rate_hz))
    shifts = range(guard, len(real) - guard + 1)
    matched = correlation(generated, real)
    if len(shifts) < 5 or not np.isfinite(matched):
        return AudioDependence(float("nan"), float("nan"), max(len(shifts), 0))
    others = np.array([correlation(np.roll(generated, s), real) for s in shifts])
    p = (1 + int((others >= matched).sum())) / (1 + len(others))
    return AudioDependence(float(matched - others.mean()), float(p), len(others))


def window_slices(length, count=4):
    """Cut [0, length) into `count` equal windows; the last takes the rest."""
    edges = np.linspace(0, length, count + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
