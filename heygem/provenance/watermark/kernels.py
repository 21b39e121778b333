"""The watermark's loops over the pixels of a frame.

They are written so that the compiler turns the innermost loops into vector instructions.
"""

import numpy as np

from heygem.core.compiled import compiled
from heygem.core.types import BoolArray, FloatArray, Image

BLOCK = 64, 8  # columns and rows of a block that is changed, or left, as a whole
LATTICE = 0.75487767, 0.56984029  # steps across and down, see `add_pattern`
KERNEL = 7  # pixels across and down of the mean in `fine_contrast`


@compiled("void(f4[:,::1], f4, b1[:,::1])")
def find_blocks(pattern: FloatArray, threshold: float, blocks: BoolArray) -> None:
    """Which blocks of a pattern hold a value of at least `threshold`.

    Parameters
    ----------
    pattern : float32 [H, W]
    threshold : float
    blocks : bool [ceil(H / BLOCK[1]), ceil(W / BLOCK[0])]
        Written.
    """
    height, width = pattern.shape
    blocks[:] = False
    for i in range(height):
        for block in range(blocks.shape[1]):
            row = pattern[i, block * BLOCK[0] : min((block + 1) * BLOCK[0], width)]
            count = 0
            for j in range(len(row)):
                count += abs(row[j]) >= threshold
            if count:
                blocks[i // BLOCK[1], block] = True


@compiled("f4[:,::1](f4[:,::1], f4[:,::1], f4[:,::1], f8, f8, f8)")
def grey(
    y: FloatArray, u: FloatArray, v: FloatArray, luma: float, cb: float, cr: float
) -> FloatArray:
    """Grey of RGB, 0..255, from planes float32 [h, w]; see `heygem.media.colour.grey_factors`."""
    height, width = y.shape
    out = np.empty((height, width), np.float32)
    for i in range(height):
        for j in range(width):
            value = luma * (y[i, j] - 16) + cb * (u[i, j] - 128) + cr * (v[i, j] - 128)
            out[i, j] = min(max(value, 0.0), 255.0)
    return out


@compiled("void(u1[:,:], u1[:,::1])")
def fine_contrast(luma: Image, out: Image) -> None:
    """Distance of each value from the mean of the 7x7 around it; the border is mirrored.

    Parameters
    ----------
    luma : uint8 [H, W]
        At least 4 x 4.
    out : uint8 [H, W]
        Written.
    """
    height, width = luma.shape
    half = KERNEL // 2
    columns = np.zeros(width + 2 * half, np.uint16)  # sums of seven rows
    rounding = np.float32(1 / KERNEL**2)
    for i in range(-half, half + 1):
        row = luma[abs(i)]
        for j in range(width):
            columns[half + j] += row[j]
    for i in range(height):
        for k in range(1, half + 1):
            columns[half - k] = columns[half + k]
            columns[half + width - 1 + k] = columns[half + width - 1 - k]
        row, out_row = luma[i], out[i]
        for j in range(width):
            total = columns[j] + columns[j + 1] + columns[j + 2] + columns[j + 3]
            total += columns[j + 4] + columns[j + 5] + columns[j + 6]
            mean = np.int32(np.float32(np.int32(total)) * rounding + np.float32(0.5))
            out_row[j] = np.uint8(abs(np.int32(row[j]) - mean))
        below = i + half + 1
        if below >= height:
            below = 2 * (height - 1) - below
        leaving, entering = luma[abs(i - half)], luma[below]
        for j in range(width):
            columns[half + j] += np.uint16(entering[j]) - np.uint16(leaving[j])


@compiled("void(u1[:,:], f4[:,::1], f4[:,::1], b1[:,::1], f4, f4)")
def add_pattern(
    luma: Image,
    level: FloatArray,
    pattern: FloatArray,
    blocks: BoolArray,
    sign: float,
    share: float,
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
    blocks : bool [ceil(H / BLOCK[1]), ceil(W / BLOCK[0])]
        From `find_blocks`; the others are left as they are.
    sign : float
    share : float
        Steps of luma in a grey level.
    """
    height, width = luma.shape
    rows = level.shape[0]
    ratio = np.float32(rows) / np.float32(height)
    across = np.empty(width, np.float32)
    for j in range(width):
        place_in_lattice = (j + 1) * LATTICE[0]
        across[j] = np.float32(place_in_lattice - np.floor(place_in_lattice))
    for i in range(height):
        place = (np.float32(i) + np.float32(0.5)) * ratio - np.float32(0.5)
        above = int(np.floor(place))
        weight = np.float32(place - above)
        upper, lower = level[max(above, 0)], level[min(above + 1, rows - 1)]
        down = np.float32(i * LATTICE[1] - np.floor(i * LATTICE[1]))
        for block in range(blocks.shape[1]):
            if not blocks[i // BLOCK[1], block]:
                continue
            part = slice(block * BLOCK[0], min((block + 1) * BLOCK[0], width))
            row, signs, lattice = luma[i, part], pattern[i, part], across[part]
            first, second = upper[part], lower[part]
            for j in range(len(row)):
                here = first[j] + weight * (second[j] - first[j])
                threshold = lattice[j] + down
                threshold -= np.floor(threshold)
                step = threshold + share * np.rint(sign * here * signs[j])
                value = np.floor(np.float32(row[j]) + step)
                row[j] = np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))
