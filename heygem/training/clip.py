"""A clip of training data: audio features of one talking person beside the motion of the mouth."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem import audio
from heygem.avatar import close_rest
from heygem.core.errors import InputError
from heygem.core.interpolation import blend_neighbours, interpolate_at_positions
from heygem.core.types import BoolArray, FloatArray
from heygem.face.pose import fit_pose, to_canonical
from heygem.face.rest import fit_rest
from heygem.face.topology import LOWER
from heygem.face.tracking import Track
from heygem.lips.features import extract_features
from heygem.lips.trajectory import RATE_HZ, aperture_of

POSE_SIGMA_S = 0.04  # smoothing of poses, as for an avatar
MAX_GAP_S = 0.2  # without a face, that is interpolated; a longer gap is invalid
MIN_DURATION_S = 1.0


@dataclass(frozen=True)
class Source:
    """A video to train on.

    Attributes
    ----------
    path : Path
    speaker : str
        Speakers, not clips, are held out.
    split : str
        Only "train" is trained on.
    licence_class, licence, origin : str
        For the model card.
    sync : str
        Known synchrony ("ok", "unsure", "off", "lag 2 frames"); for the record.
    """

    path: Path
    speaker: str
    split: str = "train"
    licence_class: str = "unstated"
    licence: str = ""
    origin: str = ""
    sync: str = ""


@dataclass(frozen=True)
class Clip:
    """One talking person.

    Attributes
    ----------
    source : Source
    sha256 : str
    features : float32 [2 N, inputs]
        `heygem.lips.features.extract_features` at 100 Hz.
    voice : float32 [2 N]
        Voice activity, 0..1 at 100 Hz.
    displacement : float32 [N, len(LOWER), 3]
        Lower face relative to rest at 50 Hz, in inter-ocular distances (IOD).
    valid : bool [N]
        Where a face was tracked.
    iod_px : float
        Inter-ocular distance (outer corners) in the picture, in pixels.
    lag_s : float
        How much later the picture is than the sound; already corrected in `displacement`.
    augmented_embeddings : float16 [V, 2 N, EMBEDDING_DIM], optional
        Speech embedding of the same sound in other rooms, noise and voices, for training.
    """

    source: Source
    sha256: str
    features: FloatArray
    voice: FloatArray
    displacement: FloatArray
    valid: BoolArray
    iod_px: float = 0.0
    lag_s: float = 0.0
    augmented_embeddings: FloatArray | None = None

    @property
    def duration_s(self) -> float:
        """Seconds with a face."""
        return float(self.valid.sum() / RATE_HZ)

    @property
    def aperture(self) -> FloatArray:
        """Change of the lip aperture from rest : float32 [N], IOD."""
        return aperture_of(self.displacement)

    @property
    def speaking(self) -> BoolArray:
        """Rows with a face and a voice : bool [N]."""
        times_s = np.arange(len(self.valid)) / RATE_HZ
        return self.valid & audio.speech_at(self.voice, times_s)

    def shifted(self, lag_s: float) -> "Clip":
        """The clip with its picture moved earlier by `lag_s`."""
        if abs(lag_s) * RATE_HZ < 0.25:
            return replace(self, lag_s=lag_s)
        rows = np.arange(len(self.displacement))
        at = np.clip(rows + lag_s * RATE_HZ, 0, len(rows) - 1)
        displacement = interpolate_at_positions(self.displacement, at)
        inside = (rows + lag_s * RATE_HZ >= 0) & (rows + lag_s * RATE_HZ <= len(rows) - 1)
        valid = self.valid[np.minimum(at.astype(int), len(rows) - 2)] & inside
        return replace(self, displacement=displacement, valid=valid, lag_s=lag_s)


def from_track(
    source: Source,
    track: Track,
    samples: FloatArray,
    *,
    sha256: str = "",
    embedding: str | None = None,
) -> Clip:
    """Bring a face track and its sound to one clock.

    Parameters
    ----------
    source : Source
    track : heygem.face.tracking.Track
    samples : float32 [n], 16 kHz
    sha256 : str
        Of the video.
    embedding : str, optional
        Projection of the speech embedding in the features; None: none.

    Returns
    -------
    Clip

    Raises
    ------
    InputError
        Less than a second with a face.
    """
    tracked = np.flatnonzero(track.detected)
    if len(tracked) < 2 or track.times_s[tracked[-1]] - track.times_s[tracked[0]] < MIN_DURATION_S:
        raise InputError(
            f"{source.path.name} shows too little of a face",
            seen=f"{len(tracked)} of {len(track)} frames",
            remedy="use a video in which one person faces the camera",
        )
    rows = len(samples) // int(audio.RATE_HZ / RATE_HZ)
    displacement, valid, iod_px = _resample_motion(track, tracked, rows)
    voice = audio.voice_activity(samples)[: 2 * rows]
    return Clip(
        source,
        sha256,
        extract_features(samples, rows=rows, embedding=embedding).astype(np.float32),
        np.pad(voice, (0, 2 * rows - len(voice))).astype(np.float32),
        displacement,
        valid,
        iod_px,
    )


def _resample_motion(
    track: Track, tracked: np.ndarray, rows: int
) -> tuple[FloatArray, BoolArray, float]:
    """Displacement of the lower face at 50 Hz, where it is valid, and the median IOD in pixels."""
    times = track.times_s[tracked]
    rate = (len(tracked) - 1) / (times[-1] - times[0])
    breaks = (np.diff(times) > MAX_GAP_S) | track.cut[tracked[1:]]
    edges = [0, *(np.flatnonzero(breaks) + 1), len(tracked)]
    runs = list(zip(edges[:-1], edges[1:], strict=True))
    pose, _ = fit_pose(track.points[tracked], runs=runs, sigma_frames=POSE_SIGMA_S * rate)
    canonical = to_canonical(track.points[tracked], pose)
    rest = close_rest(fit_rest(canonical, pose))
    displacement = (canonical[:, LOWER] - rest.at(pose)).astype(np.float32)
    grid = np.arange(rows) / RATE_HZ
    flat = displacement.reshape(len(displacement), -1)
    at = np.clip(np.searchsorted(times, grid) - 1, 0, len(times) - 2)
    part = np.clip((grid - times[at]) / np.maximum(np.diff(times)[at], 1e-6), 0, 1)
    resampled = blend_neighbours(flat, at, part)
    valid = np.zeros(rows, bool)
    for start, stop in runs:
        valid |= (grid >= times[start] - 0.5 / rate) & (grid <= times[stop - 1] + 0.5 / rate)
    return (
        resampled.reshape(rows, len(LOWER), 3).astype(np.float32),
        valid,
        float(np.median(pose.scale)),
    )
