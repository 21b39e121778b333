"""Coordinates along and across a mouth, from corner to corner, and its size."""

import numpy as np

from heygem.core.types import FloatArray
from heygem.face import topology as topo

Axes = tuple[FloatArray, FloatArray, FloatArray, float]  # origin, along, across, length


def mouth_axes(upper: FloatArray) -> Axes:
    """Origin, unit vectors along and across, and length, from corner to corner.

    `upper` float32 [11, 2] is the inner contour of the upper lip, in pixels.
    """
    origin, end = upper[0], upper[-1]
    along = end - origin
    length = max(float(np.linalg.norm(along)), 1e-3)
    along = along / length
    return origin, along, np.array([-along[1], along[0]], np.float32), length


def to_mouth_axes(axes: Axes, points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coordinates of points [..., 2] along (0..1) and across (pixels) the mouth."""
    origin, along, across, length = axes
    # Each coordinate on its own: along a last axis of two, NumPy is five times as slow.
    x, y = points[..., 0] - origin[0], points[..., 1] - origin[1]
    return (x * along[0] + y * along[1]) / length, x * across[0] + y * across[1]


def from_mouth_axes(axes: Axes, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x and y [...] of coordinates along (0..1) and across (pixels) the mouth."""
    origin, along, across, length = axes
    u = u * length
    return origin[0] + u * along[0] + v * across[0], origin[1] + u * along[1] + v * across[1]


def contours(
    axes: Axes, upper: FloatArray, lower: FloatArray, u: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Upper and lower inner contour at each place along the mouth, pixels across."""
    edges = []
    for contour in (upper, lower):
        cu, cv = to_mouth_axes(axes, contour)
        order = np.argsort(cu)
        edges.append(np.interp(u, cu[order], cv[order]).astype(np.float32))
    return edges[0], edges[1]


def gap_px(mesh: FloatArray) -> float:
    """Opening of a mesh [n, 2]: between the middles of its inner lips, pixels."""
    upper, lower = topo.LIP_MIDDLE
    return float(np.linalg.norm(mesh[lower] - mesh[upper]))


def iod_px(mesh: FloatArray) -> float:
    """Size of the face of a mesh [n, 2]: between the outer corners of its eyes, pixels."""
    left, right = topo.EYE_OUTER
    return float(np.linalg.norm(mesh[right] - mesh[left]))


def width_px(mesh: FloatArray) -> float:
    """Width of the mouth of a mesh [n, 2]: from corner to corner, pixels."""
    first, last = topo.MOUTH_CORNERS
    return float(np.linalg.norm(mesh[last] - mesh[first]))
