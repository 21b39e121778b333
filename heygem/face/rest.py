"""Head pose and the canonical face frame.

A mesh in the picture is explained as `scale * canonical @ rotation.T + offset` (weak perspective):
a rotation, a scale and a shift fitted on points that follow the skull, so that what is left in the
canonical frame is what the face itself does. The fit is Umeyama's closed form of the orthogonal
Procrustes problem (IEEE TPAMI 13(4), 1991), for all frames at once."""

from dataclasses import dataclass

import numpy as np

from heygem.face import topology as topo
from heygem.face.pose import aperture, mouth_width
from heygem.face.topology import LOWER

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
