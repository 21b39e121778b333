"""Conversion of windows between 4:2:0 planes and RGB, with chroma sited as H.264 sites it.

Horizontally, a chroma value stands at the left one of its two pixels, vertically between both (the
default of ITU-T H.264, annex E). swscale decodes with that siting and encodes with another, which
moves colours by half a pixel; it also makes tables for each new size. The conversion to RGB differs
from swscale's by a level at most.
"""

from typing import Any

import numpy as np

from heygem.core.compiled import compiled
from heygem.core.types import FloatArray, Image


@compiled("u1(f4)")
def _level(value: Any) -> Any:
    """A value, half a level too high, cut to 0..255."""
    return np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))


@compiled("void(u1[:,:], u1[:,:], u1[:,:], i8, i8, f4[::1], u1[:,:,::1])")
def to_rgb(y: Image, u: Image, v: Image, top: int, left: int, c: FloatArray, out: Image) -> None:
    """Convert a window of the planes.

    Parameters
    ----------
    y : uint8 [H, W]
    u, v : uint8 [H / 2, W / 2]
    top, left : int
        First pixel of the window.
    c : float32 [5]
        See `heygem.media.colour.rgb_factors`.
    out : uint8 [h, w, 3]
    """
    half = np.float32(0.5)
    height, width = out.shape[:2]
    last_row, last_column = u.shape[0] - 1, u.shape[1] - 1
    first, stop = left // 2, min((left + width) // 2 + 1, last_column + 1)
    count, offset = stop - first, left - 2 * first
    cb, cr = np.empty(count + 1, np.float32), np.empty(count + 1, np.float32)
    blue, red = np.empty(2 * count, np.float32), np.empty(2 * count, np.float32)  # for each pixel
    channels = np.empty((3, width), np.uint8)
    near, far = np.float32(0.75), np.float32(0.25)
    # Loops over slices from 0 on, without branches: the compiler turns them into vectors.
    for i in range(height):
        row = (top + i) // 2
        other = min(max(row - 1 if (top + i) % 2 == 0 else row + 1, 0), last_row)
        u_near, u_far, v_near, v_far = (
            u[row, first:stop],
            u[other, first:stop],
            v[row, first:stop],
            v[other, first:stop],
        )
        for k in range(count):
            cb[k] = near * np.float32(u_near[k]) + far * np.float32(u_far[k]) - np.float32(128)
            cr[k] = near * np.float32(v_near[k]) + far * np.float32(v_far[k]) - np.float32(128)
        cb[count], cr[count] = cb[count - 1], cr[count - 1]
        for k in range(count):
            blue[2 * k], red[2 * k] = cb[k], cr[k]
            blue[2 * k + 1] = half * (cb[k] + cb[k + 1])
            red[2 * k + 1] = half * (cr[k] + cr[k + 1])
        greys, blues, reds = y[top + i, left : left + width], blue[offset:], red[offset:]
        for j in range(width):
            grey = c[0] * (np.float32(greys[j]) - np.float32(16)) + half
            channels[0, j] = _level(grey + c[1] * reds[j])
            channels[1, j] = _level(grey + c[2] * blues[j] + c[3] * reds[j])
            channels[2, j] = _level(grey + c[4] * blues[j])
        pixels = out[i]
        for j in range(width):
            pixels[j, 0] = channels[0, j]
            pixels[j, 1] = channels[1, j]
            pixels[j, 2] = channels[2, j]


@compiled("void(u1[:,:,:], u1[:,::1], f4[:,::1], u1[:,:], u1[:,:], u1[:,:])")
def from_rgb(pixels: Image, mask: Image, matrix: FloatArray, y: Image, u: Image, v: Image) -> None:
    """Write RGB into planes where a mask is set; chroma where any of its 2x2 pixels is.

    Parameters
    ----------
    pixels : uint8 [h, w, 3]
        A window with even borders.
    mask : uint8 [h, w]
    matrix : float32 [3, 3]
        Y, Cb and Cr (rows) of R, G and B; see `heygem.media.colour.ycbcr_factors`.
    y : uint8 [h, w]
        The window in the planes, written.
    u, v : uint8 [h / 2, w / 2]
        Likewise.
    """
    height, width = mask.shape
    for i in range(0, height, 2):
        for j in range(0, width, 2):
            any_set = mask[i, j] | mask[i, j + 1] | mask[i + 1, j] | mask[i + 1, j + 1]
            if any_set == 0:
                continue
            # One, two and one parts of the pixels around the left column, of both rows.
            before = max(j - 1, 0)
            blue, red = np.float32(0), np.float32(0)
            for c in range(3):
                total = (
                    np.int32(pixels[i, before, c])
                    + 2 * np.int32(pixels[i, j, c])
                    + np.int32(pixels[i, j + 1, c])
                    + np.int32(pixels[i + 1, before, c])
                    + 2 * np.int32(pixels[i + 1, j, c])
                    + np.int32(pixels[i + 1, j + 1, c])
                )
                blue += matrix[1, c] * np.float32(total)
                red += matrix[2, c] * np.float32(total)
            u[i // 2, j // 2] = np.uint8(np.int32(blue / np.float32(8) + np.float32(128.5)))
            v[i // 2, j // 2] = np.uint8(np.int32(red / np.float32(8) + np.float32(128.5)))
            for r in range(2):
                for s in range(2):
                    if mask[i + r, j + s] != 0:
                        grey = matrix[0, 0] * np.float32(pixels[i + r, j + s, 0])
                        grey += matrix[0, 1] * np.float32(pixels[i + r, j + s, 1])
                        grey += matrix[0, 2] * np.float32(pixels[i + r, j + s, 2])
                        y[i + r, j + s] = np.uint8(np.int32(grey + np.float32(16.5)))
