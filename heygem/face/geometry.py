"""Head pose and the canonical face frame.

A mesh in the picture is explained as `scale * canonical @ rotation.T + offset` (weak perspective):
a rotation, a scale and a shift fitted on points that follow the skull, so that what is left in the
canonical frame is what the face itself does. The fit is Umeyama's closed form of the orthogonal
Procrustes problem (IEEE TPAMI 13(4), 1991), for all frames at once.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from heygem.face import topology as topo


def _lower_face():
    """Indices of the points that speech moves, and how fully each of them follows it (0..1)."""
    # Distance, in edges, from the lips and from the jaw's front; everything within reach belongs.
    neighbours = [set() for _ in range(topo.POINTS)]
    for a, b, c in topo.TRIANGLES:
        neighbours[a] |= {b, c}
        neighbours[b] |= {a, c}
        neighbours[c] |= {a, b}
    core = set(topo.LIPS_OUTER) | set(topo.LIPS_INNER)
    chin = set(topo.JAW[5:-5])
    fixed = set(topo.STABLE) | {1, 2, 19, 44, 45, 94, 97, 98, 274, 275, 326, 327}  # and the nose
    distance = {i: 0 for i in core | chin}
    ring = set(distance)
    for step in range(1, 5):
        ring = {n for i in ring for n in neighbours[i]} - set(distance) - fixed
        distance |= {i: step for i in ring}
    weight_of = {0: 1.0, 1: 1.0, 2: 0.85, 3: 0.5, 4: 0.2}
    indices = np.array(sorted(distance))
    return indices, np.array([weight_of[distance[i]] for i in indices], np.float32)


LOWER, LOWER_WEIGHT = _lower_face()


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


# What makes a mouth unlike one at rest, each worth as much as the other [eye distances].
PARTED, TOO_NARROW, TOO_WIDE = 0.008, 0.03, 0.08
MOVING = 0.5  # of that, for lips as fast as usual
RIDGE_DEG2 = 30.0  # a head that turns less than this (squared degrees) teaches little bend


@dataclass(frozen=True)
class RestShape:
    """The closed, relaxed mouth of one person, and how the mesh model bends it with head pose.

    A mesh model's mouth moves a little when only the head turns. That part is a function of pose
    alone, so it is learnt as one (linear in the rotation) and belongs to the rest shape; if it
    depended on anything else, the source's own speech would leak into the result.

    Attributes
    ----------
    neutral : float32 [468, 3]
        Canonical mesh with the mouth at rest.
    pose_mean : float32 [3]
        Mean yaw, pitch, roll in degrees, for which `neutral` holds.
    pose_reach : float32 [3]
        How far from it the bend was seen, in degrees; beyond, it stays what it is there.
    bend : float32 [3, len(LOWER), 3]
        Change of the lower face per degree of yaw, pitch and roll. The gap between the inner lips
        is no part of it: a mouth at rest is shut in every pose.
    """

    neutral: np.ndarray
    pose_mean: np.ndarray
    pose_reach: np.ndarray
    bend: np.ndarray

    def at(self, pose):
        """Rest shape of the lower face in each pose : float32 [T, len(LOWER), 3]."""
        delta = np.clip(pose.angles_deg - self.pose_mean, -self.pose_reach, self.pose_reach)
        return self.neutral[LOWER] + np.einsum("ta,anj->tnj", delta, self.bend)


def fit_rest(canonical, pose):
    """Find the mouth at rest from meshes of a person who may be talking.

    Parameters
    ----------
    canonical : float32 [T, 468, 3]
    pose : Pose

    Returns
    -------
    RestShape
    """
    lower = canonical[:, LOWER]
    gap, width = aperture(canonical), mouth_width(canonical)
    # The bend is learnt where the mouth is nearly shut: whoever nods on stressed syllables, or
    # smiles to one side, would teach it words and smiles.
    quiet = np.argsort(gap, kind="stable")[: max(1, len(gap) // 4)]
    angles = pose.angles_deg[quiet]
    mean = np.median(angles, 0)
    delta = angles - mean
    flat = (lower[quiet] - np.median(lower[quiet], 0)).reshape(len(quiet), -1)
    gram = delta.T @ delta + RIDGE_DEG2 * len(delta) * np.eye(3)
    bend = np.linalg.solve(gram, delta.T @ flat).reshape(3, len(LOWER), 3)
    for up, low in zip(topo.INNER_UPPER[1:-1], topo.INNER_LOWER[1:-1], strict=True):
        u, v = np.searchsorted(LOWER, [up, low])
        bend[:, [u, v]] = bend[:, [u, v]].mean(1, keepdims=True)
    shut = _relaxed(canonical, width)
    reach = np.quantile(np.abs(delta), 0.95, axis=0)
    away = np.clip(pose.angles_deg[shut] - mean, -reach, reach)
    neutral = np.median(canonical, 0)
    neutral[LOWER] = np.median(lower[shut] - np.einsum("ta,anj->tnj", away, bend), 0)
    return RestShape(*(np.asarray(v, np.float32) for v in (neutral, mean, reach, bend)))


def _relaxed(canonical, width):
    """Frames that look most like a pause, for want of a word for silence : int [n].

    Shut along the whole line of the lips (a pout is shut in the mesh's middle only, if there); of
    the usual width, rather wider than narrower, since who never pauses shuts the mouth for b, m
    and p, pursed; and not on the way to somewhere else.
    """
    inner = canonical[:, topo.INNER_LOWER[1:-1], 1] - canonical[:, topo.INNER_UPPER[1:-1], 1]
    gap = np.maximum(inner, 0).mean(1)
    # Not below what 2 % of the frames have: the mesh misreads some.
    open_by = np.maximum(gap - np.quantile(gap, 0.02), 0)
    usual = np.median(width)
    off = np.where(width < usual, (usual - width) / TOO_NARROW, (width - usual) / TOO_WIDE)
    lips = canonical[:, np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER]), :2]
    step = np.abs(np.diff(lips, axis=0, prepend=lips[:1], append=lips[-1:])).mean((1, 2))
    speed = (step[1:] + step[:-1]) / 2
    moving = np.minimum(speed / max(float(np.median(speed)), 1e-6), 3)
    cost = open_by / PARTED + off + MOVING * moving
    return np.argsort(cost, kind="stable")[: max(3, int(0.04 * len(cost)))]
