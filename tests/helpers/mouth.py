"""Meshes with a mouth of known opening."""

import numpy as np

from heygem.evaluation import motion_metrics
from heygem.face import topology as topo


def mouth(gap, times, width=None):
    """Canonical meshes whose lips open by `gap`: [T, 468, 3]."""
    face = np.zeros((len(gap), 468, 3), np.float32)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for ring, half in ((topo.LIPS_OUTER, 0.4), (topo.LIPS_INNER, 0.3)):
        # Both rings start at the corner of the picture's left and run over the upper lip.
        face[:, ring, 0] = -half * np.cos(angle) * (1 if width is None else width[:, None])
        face[:, ring, 1] = 1.2 - np.sin(angle) * gap[:, None] / 2
    return motion_metrics.mouth_curves(face, times)
