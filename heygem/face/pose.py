"""Head pose and the canonical face frame.

A mesh in the picture is explained as `scale * canonical @ rotation.T + offset` (weak perspective):
a rotation, a scale and a shift fitted on points that follow the skull, so that what is left in the
canonical frame is what the face itself does. The fit is Umeyama's closed form of the orthogonal
Procrustes problem (IEEE TPAMI 13(4), 1991), for all frames at once."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem.face import topology as topo


@dataclass(frozen=True)
class Pose:
    """Where the head is in each frame.

    Attributes
    ----------
    rotation : float32 [T, 3, 3]
        Canonical to picture axes.
    scale : float32 [T]
        Pixels per canonical unit; the unit is the person's own distance of the outer eye corners.
    offset : float32 [T, 3]
        Picture position of the canonical origin (between the eyes), in pixels.
    """

    rotation: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    def __len__(self):
        return len(self.scale)

    def __getitem__(self, which):
        return Pose(self.rotation[which], self.scale[which], self.offset[which])

    @property
    def angles_deg(self):
        """Yaw (to the picture's right), pitch (down) and roll (clockwise) : float32 [T, 3]."""
        r = self.rotation
        yaw = np.arctan2(-r[..., 0, 2], r[..., 2, 2])
        pitch = np.arcsin(np.clip(-r[..., 1, 2], -1, 1))
        roll = np.arctan2(r[..., 1, 0], r[..., 1, 1])
        return np.degrees(np.stack([yaw, pitch, roll], -1)).astype(np.float32)


def _umeyama(source, target):
    """Least-squares similarity from `source [n, 3]` to each of `target [T, n, 3]`."""
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


def _anatomical_axes(shape):
    """Put a mesh into the canonical frame by its own eyes, forehead and chin : `float [n, 3]`."""
    right, left = shape[topo.EYE_OUTER[0]], shape[topo.EYE_OUTER[1]]
    x = left - right
    unit = np.linalg.norm(x)
    x = x / unit
    origin = (left + right) / 2
    down = shape[topo.CHIN] - shape[topo.FOREHEAD]
    y = down - (down @ x) * x
    y = y / np.linalg.norm(y)
    return (shape - origin) @ np.stack([x, y, np.cross(x, y)], 1) / unit


def smooth(values, runs, sigma_frames):
    """Zero-phase Gaussian smoothing along time, never across the borders of `runs`.

    Parameters
    ----------
    values : float [T, ...]
    runs : list of (start, stop)
        Frame ranges without a cut or a loss in them.
    sigma_frames : float
    """
    out = np.array(values, dtype=np.float64)
    if sigma_frames > 0:
        for start, stop in runs:
            out[start:stop] = gaussian_filter1d(
                out[start:stop], sigma_frames, axis=0, mode="nearest"
            )
    return out


def fit_pose(points, *, runs=None, sigma_frames=1.0, template=None):
    """Fit the head's pose in every frame.

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
        The person's canonical mesh. Default: found from `points` by generalised Procrustes.

    Returns
    -------
    (Pose, float32 [468, 3])
        The poses, and the person's canonical mesh they refer to.
    """
    points = np.asarray(points)
    stable = points[:, topo.STABLE]
    if template is None:
        # Begin with the most frontal frame: its axes are the least bent by the model's depth.
        eyes = points[:, topo.EYE_OUTER]
        span = np.linalg.norm(eyes[:, 1, :2] - eyes[:, 0, :2], axis=1)
        depth = np.abs(eyes[:, 1, 2] - eyes[:, 0, 2])
        frontal = np.argmin(depth / np.maximum(span, 1e-6))
        template = _anatomical_axes(points[frontal].astype(np.float64))
        subset = np.linspace(0, len(points) - 1, min(len(points), 400)).astype(int)
        some = points[subset].astype(np.float64)
        for _ in range(3):
            r, s, o = _umeyama(template[topo.STABLE], some[:, topo.STABLE])
            canonical = np.einsum("tij,tni->tnj", r, some - o[:, None]) / s[:, None, None]
            template = _anatomical_axes(np.median(canonical, 0))
    template = np.asarray(template, np.float32)
    return fit_to(stable, template, runs=runs, sigma_frames=sigma_frames), template


def fit_to(stable, template, *, runs=None, sigma_frames=1.0):
    """Fit the pose of a known person from the skull's points alone.

    Parameters
    ----------
    stable : float32 [T, len(topo.STABLE), 3]
        Those points of the mesh, in pixels.
    template : float32 [468, 3]
        The person's canonical mesh.
    runs, sigma_frames
        As in `fit_pose`.

    Returns
    -------
    Pose
    """
    runs = runs if runs is not None else [(0, len(stable))]
    rotation, scale, offset = _umeyama(
        np.asarray(template, np.float64)[topo.STABLE], smooth(stable, runs, sigma_frames)
    )
    return Pose(rotation.astype(np.float32), scale.astype(np.float32), offset.astype(np.float32))


def to_canonical(points, pose):
    """Picture to canonical frame: `float [T, n, 3]` pixels to `float32 [T, n, 3]` eye distances."""
    centred = points - pose.offset[:, None]
    turned = np.einsum("tij,tni->tnj", pose.rotation, centred)
    return (turned / pose.scale[:, None, None]).astype(np.float32)


def from_canonical(shape, pose):
    """Canonical frame to picture: `float [T, n, 3]` eye distances to `float32 [T, n, 3]` pixels."""
    turned = np.einsum("tij,tnj->tni", pose.rotation, shape)
    return (turned * pose.scale[:, None, None] + pose.offset[:, None]).astype(np.float32)


def aperture(shape):
    """Gap between the inner lips on the mid-line, `[..., 468, 3]` canonical to `[...]` units."""
    upper, lower = topo.LIP_MIDDLE
    return shape[..., lower, 1] - shape[..., upper, 1]


def mouth_width(shape):
    """Distance of the mouth corners, `[..., 468, 3]` canonical to `[...]` units."""
    right, left = topo.MOUTH_CORNERS
    return np.linalg.norm(shape[..., left, :] - shape[..., right, :], axis=-1)
