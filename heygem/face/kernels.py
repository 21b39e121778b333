"""Loops over the values of a feature map, compiled by Numba."""

import numpy as np

from heygem.core.compiled import compiled
from heygem.core.types import FloatArray


@compiled("void(f4[:,:,:], f8[:,::1], f4[:,::1])")
def sample_bilinear(feature: FloatArray, positions: FloatArray, values: FloatArray) -> None:
    """Bilinear samples of all channels of a feature map; zero outside of it.

    Parameters
    ----------
    feature : float32 [h, w, c]
    positions : float64 [n, 2]
        x, y; the centre of the first cell is 0, 0.
    values : float32 [n, c]
        Written.
    """
    last_x, last_y = feature.shape[1] - 1, feature.shape[0] - 1
    one = np.float32(1)
    for k in range(len(positions)):
        px, py = positions[k]
        out = values[k]
        if px < 0 or py < 0 or px > last_x or py > last_y:
            out[:] = 0
            continue
        x, y = min(int(px), last_x - 1), min(int(py), last_y - 1)
        fx, fy = np.float32(px - x), np.float32(py - y)
        first, second = feature[y, x], feature[y, x + 1]
        third, fourth = feature[y + 1, x], feature[y + 1, x + 1]
        for c in range(len(out)):
            upper = first[c] * (one - fx) + second[c] * fx
            lower = third[c] * (one - fx) + fourth[c] * fx
            out[c] = upper * (one - fy) + lower * fy
