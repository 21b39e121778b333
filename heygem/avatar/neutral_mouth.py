"""Closing a rest shape that is open: for a person who shows the teeth in every frame."""

from dataclasses import replace

import numpy as np

from heygem.face import topology as topo
from heygem.face.pose import aperture
from heygem.face.rest import RestShape
from heygem.face.topology import LOWER

MAX_REST_APERTURE = 0.004  # IOD; a rest mouth that is open by more is closed
UPPER_LIP_SHARE, LOWER_LIP_SHARE = 0.33, 0.65  # of the gap, as a jaw would divide it


def close_rest(rest: RestShape) -> RestShape:
    """Close the mouth of a rest shape by moving its lips together.

    The lower lip takes two thirds of the way; the skin around follows, less with distance.
    A mouth that is closed already is returned as it is.
    """
    if float(aperture(rest.neutral)) <= MAX_REST_APERTURE:
        return rest
    neutral = rest.neutral.copy()
    gap = np.maximum(neutral[topo.INNER_LOWER, 1] - neutral[topo.INNER_UPPER, 1], 0)
    gap_x = neutral[topo.INNER_UPPER, 0]
    order = np.argsort(gap_x)
    middle_y = float(neutral[list(topo.LIP_MIDDLE), 1].mean())
    inner_ring = set(topo.LIPS_INNER[1:10]) | set(topo.LIPS_INNER[11:])
    for i in LOWER:
        x, y = neutral[i, 0], neutral[i, 1]
        gap_here = np.interp(x, gap_x[order], gap[order], left=0, right=0)
        follows = 1.0 if i in inner_ring else float(np.clip(0.85 - abs(y - middle_y) / 0.5, 0, 1))
        if y < middle_y:
            neutral[i, 1] += UPPER_LIP_SHARE * gap_here * follows
        else:
            neutral[i, 1] -= LOWER_LIP_SHARE * gap_here * follows
    return replace(rest, neutral=neutral)
