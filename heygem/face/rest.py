"""The rest shape: the closed, relaxed mouth of one person.

It is the zero of all mouth movement: a trajectory displaces it, and the person's own movement is
measured from it.
"""

from dataclasses import dataclass

import numpy as np

from heygem.core.types import FloatArray, IntArray
from heygem.face import topology as topo
from heygem.face.pose import Pose, aperture, mouth_width
from heygem.face.topology import LOWER, lower_rows

# Deviations from a mouth at rest that count equally [IOD].
PARTED, TOO_NARROW, TOO_WIDE = 0.008, 0.03, 0.08
MOTION_WEIGHT = 0.5  # of that, for lips that move at the median speed
MAX_MOTION = 3.0  # times the median speed
RELAXED_SHARE = 0.04  # of the frames, of which the rest shape is the median
QUIET_SHARE = 0.25  # of the frames, the most closed ones, on which the bend is fitted
MISREAD_SHARE = 0.02  # of the frames, whose gap may be too small by an error of the mesh
RIDGE_DEG2 = 30.0  # a head that turns by less than this (squared degrees) gives little bend


@dataclass(frozen=True)
class RestShape:
    """The closed, relaxed mouth of one person, and how the mesh model bends it with head pose.

    A mesh model's mouth moves a little when only the head turns. That part is fitted as a function
    of pose alone (linear in the angles) and belongs to the rest shape; if it depended on anything
    else, the source video's own speech would be carried over into the result.

    Attributes
    ----------
    neutral : float32 [468, 3]
        Canonical mesh with the mouth at rest.
    pose_mean : float32 [3]
        Mean yaw, pitch, roll in degrees, for which `neutral` holds.
    pose_reach : float32 [3]
        Deviation from it, in degrees, up to which the bend was fitted; constant beyond.
    bend : float32 [3, len(LOWER), 3]
        Change of the lower face per degree of yaw, pitch and roll. The gap between the inner lips
        is no part of it: a mouth at rest is closed in every pose.
    """

    neutral: FloatArray
    pose_mean: FloatArray
    pose_reach: FloatArray
    bend: FloatArray

    def at(self, pose: Pose) -> FloatArray:
        """Rest shape of the lower face in each pose : float32 [T, len(LOWER), 3]."""
        delta = np.clip(pose.angles_deg - self.pose_mean, -self.pose_reach, self.pose_reach)
        return self.neutral[LOWER] + np.einsum("ta,anj->tnj", delta, self.bend)


def fit_rest(canonical: FloatArray, pose: Pose) -> RestShape:
    """Estimate the mouth at rest from meshes of a person who may be talking.

    Parameters
    ----------
    canonical : float32 [T, 468, 3]
    pose : Pose
    """
    lower = canonical[:, LOWER]
    gap, width = aperture(canonical), mouth_width(canonical)
    # Nearly closed mouths only: nods on stressed syllables, or smiles to one side, would be fitted
    # as an effect of pose otherwise.
    quiet = np.argsort(gap, kind="stable")[: max(1, int(len(gap) * QUIET_SHARE))]
    angles = pose.angles_deg[quiet]
    mean = np.median(angles, 0)
    delta = angles - mean
    bend = _fit_bend(lower[quiet], delta)
    relaxed = _relaxed_frames(canonical, width)
    reach = np.quantile(np.abs(delta), 0.95, axis=0)
    turn = np.clip(pose.angles_deg[relaxed] - mean, -reach, reach)
    neutral = np.median(canonical, 0)
    neutral[LOWER] = np.median(lower[relaxed] - np.einsum("ta,anj->tnj", turn, bend), 0)
    return RestShape(*(np.asarray(v, np.float32) for v in (neutral, mean, reach, bend)))


def _fit_bend(lower: FloatArray, delta: FloatArray) -> FloatArray:
    """Ridge regression of shapes [n, len(LOWER), 3] on angles [n, 3] : [3, len(LOWER), 3]."""
    flat = (lower - np.median(lower, 0)).reshape(len(lower), -1)
    gram = delta.T @ delta + RIDGE_DEG2 * len(delta) * np.eye(3)
    bend = np.linalg.solve(gram, delta.T @ flat).reshape(3, len(LOWER), 3)
    for upper_point, lower_point in zip(
        topo.INNER_UPPER[1:-1], topo.INNER_LOWER[1:-1], strict=True
    ):
        pair = lower_rows([upper_point, lower_point])
        bend[:, pair] = bend[:, pair].mean(1, keepdims=True)
    return bend


def _relaxed_frames(canonical: FloatArray, width: FloatArray) -> IntArray:
    """Frames that look most like a pause in speech : int [n].

    Closed along the whole contour (a pout is closed in the middle at most); of the usual width,
    rather wider than narrower, since a person who never pauses closes the mouth for b, m and p,
    pursed; and slow.
    """
    inner = canonical[:, topo.INNER_LOWER[1:-1], 1] - canonical[:, topo.INNER_UPPER[1:-1], 1]
    gap = np.maximum(inner, 0).mean(1)
    parted = np.maximum(gap - np.quantile(gap, MISREAD_SHARE), 0) / PARTED
    usual = np.median(width)
    off_width = np.where(width < usual, (usual - width) / TOO_NARROW, (width - usual) / TOO_WIDE)
    lips = canonical[:, np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER]), :2]
    step = np.abs(np.diff(lips, axis=0, prepend=lips[:1], append=lips[-1:])).mean((1, 2))
    speed = (step[1:] + step[:-1]) / 2
    motion = np.minimum(speed / max(float(np.median(speed)), 1e-6), MAX_MOTION)
    cost = parted + off_width + MOTION_WEIGHT * motion
    return np.argsort(cost, kind="stable")[: max(3, int(RELAXED_SHARE * len(cost)))]
