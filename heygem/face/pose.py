"""Head pose and the canonical face frame.

A mesh in the image is modelled as `scale * canonical @ rotation.T + offset` (weak perspective):
a rotation, a scale and a shift fitted on points that follow the skull, so that what remains in the
canonical frame is the movement of the face itself. The fit is Umeyama's closed form of the
orthogonal Procrustes problem (IEEE TPAMI 13(4), 1991), for all frames at once.

Canonical lengths are in inter-ocular distances (IOD) of the outer eye corners; x points to the
picture's right, y down, z away from the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.face import topology as topo

MAX_TEMPLATE_FRAMES = 400  # in the generalised Procrustes fit of a person's canonical mesh
TEMPLATE_ROUNDS = 3


@dataclass(frozen=True)
class Pose:
    """Where the head is in each frame.

    Attributes
    ----------
    rotation : float32 [T, 3, 3]
        Canonical to image axes.
    scale : float32 [T]
        Pixels per IOD of the person.
    offset : float32 [T, 3]
        Image position of the canonical origin (between the eyes), in pixels.
    """

    rotation: FloatArray
    scale: FloatArray
    offset: FloatArray

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, frames: IntArray | BoolArray | slice) -> "Pose":
        return Pose(self.rotation[frames], self.scale[frames], self.offset[frames])

    @property
    def angles_deg(self) -> FloatArray:
        """Yaw (to the picture's right), pitch (down) and roll (clockwise) : float32 [T, 3]."""
        r = self.rotation
        yaw = np.arctan2(-r[..., 0, 2], r[..., 2, 2])
        pitch = np.arcsin(np.clip(-r[..., 1, 2], -1, 1))
        roll = np.arctan2(r[..., 1, 0], r[..., 1, 1])
        return np.degrees(np.stack([yaw, pitch, roll], -1)).astype(np.float32)


def tilt_deg(points: FloatArray) -> FloatArray:
    """How far faces are turned in the picture's plane.

    Parameters
    ----------
    points : float [T, 468, 2 or more], pixels

    Returns
    -------
    float [T]
        Degrees between the direction from forehead to chin and straight down: 0 for a head that
        is upright, 180 for one that stands on its crown.
    """
    across, down = np.moveaxis(points[:, topo.CHIN, :2] - points[:, topo.FOREHEAD, :2], -1, 0)
    return np.degrees(np.abs(np.arctan2(across, down)))


def umeyama(source: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least-squares similarity transforms from one point set to each of several.

    Parameters
    ----------
    source : float [n, 3]
    target : float [T, n, 3]

    Returns
    -------
    (float [T, 3, 3], float [T], float [T, 3])
        Rotation (never a reflection), scale and offset:
        `target = scale * source @ rotation.T + offset`.
    """
    mean_s, mean_t = source.mean(0), target.mean(1)
    s, t = source - mean_s, target - mean_t[:, None]
    covariance = np.einsum("tni,nj->tij", t, s) / len(s)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.ones_like(d)
    sign[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = np.einsum("tij,tj,tjk->tik", u, sign, vt)
    scale = (d * sign).sum(1) / (s**2).sum(1).mean()
    offset = mean_t - scale[:, None] * np.einsum("tij,j->ti", rotation, mean_s)
    return rotation, scale, offset


def _anatomical_frame(shape: FloatArray) -> FloatArray:
    """A mesh `float [468, 3]` in the frame given by its own eyes, forehead and chin."""
    right, left = shape[topo.EYE_OUTER[0]], shape[topo.EYE_OUTER[1]]
    x = left - right
    unit = np.linalg.norm(x)
    x = x / unit
    origin = (left + right) / 2
    down = shape[topo.CHIN] - shape[topo.FOREHEAD]
    y = down - (down @ x) * x
    y = y / np.linalg.norm(y)
    return (shape - origin) @ np.stack([x, y, np.cross(x, y)], 1) / unit


def smooth(values: FloatArray, runs: Sequence[tuple[int, int]], sigma_frames: float) -> FloatArray:
    """Zero-phase Gaussian smoothing along time, never across the borders of `runs`.

    Parameters
    ----------
    values : float [T, ...]
    runs : list of (start, stop)
        Frame ranges without a cut or a lost face in them.
    sigma_frames : float
        0 smooths nothing.

    Returns
    -------
    float64 [T, ...]
    """
    out = np.array(values, dtype=np.float64)
    if sigma_frames > 0:
        for start, stop in runs:
            out[start:stop] = gaussian_filter1d(
                out[start:stop], sigma_frames, axis=0, mode="nearest"
            )
    return out


def fit_pose(
    points: FloatArray,
    *,
    runs: Sequence[tuple[int, int]] | None = None,
    sigma_frames: float = 1.0,
    template: FloatArray | None = None,
) -> tuple[Pose, FloatArray]:
    """Fit the head pose in every frame.

    Parameters
    ----------
    points : float32 [T, 468, 3]
        Meshes in pixels; frames without a face must be left out.
    runs : list of (start, stop), optional
        Uninterrupted frame ranges; smoothing restarts between them. Default: one run.
    sigma_frames : float
        Smoothing of the stable points before the fit, so that the mesh's noise does not shake the
        alignment. Zero-phase: head turns are not delayed.
    template : float32 [468, 3], optional
        The person's canonical mesh. Default: `fit_canonical_mesh` of `points`.

    Returns
    -------
    (Pose, float32 [468, 3])
        The poses, and the canonical mesh they refer to.
    """
    points = np.asarray(points)
    if template is None:
        template = fit_canonical_mesh(points)
    template = np.asarray(template, np.float32)
    stable = points[:, topo.STABLE]
    return fit_to(stable, template, runs=runs, sigma_frames=sigma_frames), template


def fit_canonical_mesh(points: FloatArray) -> FloatArray:
    """A person's canonical mesh, by generalised Procrustes analysis.

    Parameters
    ----------
    points : float32 [T, 468, 3]
        Meshes in pixels.

    Returns
    -------
    float64 [468, 3]
    """
    # Begin with the most frontal frame: its axes are the least bent by the model's depth.
    eyes = points[:, topo.EYE_OUTER]
    span = np.linalg.norm(eyes[:, 1, :2] - eyes[:, 0, :2], axis=1)
    depth = np.abs(eyes[:, 1, 2] - eyes[:, 0, 2])
    frontal = np.argmin(depth / np.maximum(span, 1e-6))
    mesh = _anatomical_frame(points[frontal].astype(np.float64))
    count = min(len(points), MAX_TEMPLATE_FRAMES)
    subset = points[np.linspace(0, len(points) - 1, count).astype(int)].astype(np.float64)
    for _ in range(TEMPLATE_ROUNDS):
        rotation, scale, offset = umeyama(mesh[topo.STABLE], subset[:, topo.STABLE])
        centred = subset - offset[:, None]
        canonical = np.einsum("tij,tni->tnj", rotation, centred) / scale[:, None, None]
        mesh = _anatomical_frame(np.median(canonical, 0))
    return mesh


def fit_to(
    stable: FloatArray,
    template: FloatArray,
    *,
    runs: Sequence[tuple[int, int]] | None = None,
    sigma_frames: float = 1.0,
) -> Pose:
    """Fit the pose to a given canonical mesh, from the points that follow the skull.

    Parameters
    ----------
    stable : float32 [T, len(topo.STABLE), 3]
        These points of the mesh, in pixels.
    template : float32 [468, 3]
        The person's canonical mesh.
    runs, sigma_frames
        As in `fit_pose`.

    Returns
    -------
    Pose
    """
    runs = runs if runs is not None else [(0, len(stable))]
    rotation, scale, offset = umeyama(
        np.asarray(template, np.float64)[topo.STABLE], smooth(stable, runs, sigma_frames)
    )
    return Pose(rotation.astype(np.float32), scale.astype(np.float32), offset.astype(np.float32))


def to_canonical(points: FloatArray, pose: Pose) -> FloatArray:
    """Image to canonical frame: `float [T, n, 3]` pixels to `float32 [T, n, 3]` IOD."""
    centred = points - pose.offset[:, None]
    rotated = np.einsum("tij,tni->tnj", pose.rotation, centred)
    return (rotated / pose.scale[:, None, None]).astype(np.float32)


def from_canonical(shape: FloatArray, pose: Pose) -> FloatArray:
    """Canonical frame to image: `float [T, n, 3]` IOD to `float32 [T, n, 3]` pixels."""
    rotated = np.einsum("tij,tnj->tni", pose.rotation, shape)
    return (rotated * pose.scale[:, None, None] + pose.offset[:, None]).astype(np.float32)


def aperture(shape: FloatArray) -> FloatArray:
    """Gap between the inner lips on the mid-line, `[..., 468, 3]` canonical to `[...]` IOD."""
    upper, lower = topo.LIP_MIDDLE
    return shape[..., lower, 1] - shape[..., upper, 1]


def mouth_width(shape: FloatArray) -> FloatArray:
    """Distance of the mouth corners, `[..., 468, 3]` canonical to `[...]` IOD."""
    right, left = topo.MOUTH_CORNERS
    return np.linalg.norm(shape[..., left, :] - shape[..., right, :], axis=-1)
