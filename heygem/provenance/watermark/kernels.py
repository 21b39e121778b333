"""The watermark's loop over the pixels of a frame."""

import numpy as np

from heygem.core.compiled import compiled
from heygem.core.types import FloatArray, Image


@compiled("void(u1[:,:], f4[:,::1], f4[:,::1], f4, f4)")
def add_pattern(
    luma: Image, level: FloatArray, pattern: FloatArray, sign: float, share: float
) -> None:
    """Add `sign * level * pattern` in whole grey levels, as luma, cut to 0..255, in place.

    Rounded in grey levels first, as in RGB: rounded in luma alone, a tenth of it would be lost. A
    grey level is less than a step of luma; rounding up each one would add a seventh to the pattern
    in even pictures, so a lattice over the pixels decides which are rounded up (M. Roberts, "The
    unreasonable effectiveness of quasirandom sequences", 2018).

    Parameters
    ----------
    luma : uint8 [H, W]
    level : float32 [h, W]
        Interpolated vertically, as OpenCV does.
    pattern : float32 [H, W]
    sign : float
    share : float
        Steps of luma in a grey level.
    """
    height, width = luma.shape
    rows = level.shape[0]
    ratio = np.float32(rows) / np.float32(height)
    for i in range(height):
        place = (np.float32(i) + np.float32(0.5)) * ratio - np.float32(0.5)
        above = int(np.floor(place))
        weight = np.float32(place - above)
        below = min(above + 1, rows - 1)
        above = max(above, 0)
        threshold = np.float32(i) * np.float32(0.56984029)
        threshold -= np.floor(threshold)
        for j in range(width):
            here = level[above, j] + weight * (level[below, j] - level[above, j])
            step = share * np.rint(sign * here * pattern[i, j])
            threshold += np.float32(0.75487767)
            if threshold >= np.float32(1):
                threshold -= np.float32(1)
            value = np.floor(np.float32(luma[i, j]) + threshold + step)
            luma[i, j] = np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))
