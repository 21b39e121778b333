"""Meshes with a mouth of known opening."""

import numpy as np

from heygem.evaluation import motion_metrics
from heygem.face import topology as topo


def lip_mesh(gap):
    """Canonical meshes of lips that are `gap` [T] apart, the other points zero: [T, 468, 3]."""
    face = np.zeros((len(gap), 468, 3), np.float32)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for ring, half_width in ((topo.LIPS_OUTER, 0.4), (topo.LIPS_INNER, 0.3)):
        # Both rings start at the corner on the picture's left and run over the upper lip.
        face[:, ring, 0] = -half_width * np.cos(angle)
        face[:, ring, 1] = 1.2 - np.sin(angle) * gap[:, None] / 2
    return face


def mouth(gap, times):
    """The `MouthCurves` of such lips."""
    return motion_metrics.mouth_curves(lip_mesh(gap), times)
