"""Which triangle covers each pixel, compiled: OpenCV's `fillConvexPoly`, for all triangles at once.

A mesh has some hundred triangles a frame, and OpenCV takes and returns the GIL for each of them, so
that two threads that draw wait for each other. The arithmetic is OpenCV's (`drawing.cpp`: 16
fractional bits, outlines and then the area), pixel by pixel; a test compares both.
"""

from typing import Any

from heygem.core.compiled import compiled

_BITS = 16  # fractional, of the coordinates that are computed with
_ONE = 1 << _BITS
_HALF = _ONE >> 1


@compiled("int64(int64, int64)")
def _quotient(a: int, b: int) -> int:
    """Rounded towards zero, as in C."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


@compiled("void(int16[:,:], int64, int64, int16)")
def _put(labels: Any, x: int, y: int, label: int) -> None:
    if 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]:
        labels[y, x] = label


@compiled("int64(int64, int64, int64, int64)")
def _outside(x: int, y: int, right: int, bottom: int) -> int:
    """On which sides of a picture a point lies, as bits."""
    return (x < 0) + 2 * (x > right) + 4 * (y < 0) + 8 * (y > bottom)


@compiled("UniTuple(int64, 5)(int64, int64, int64, int64, int64, int64)")
def _clipped(
    x1: int, y1: int, x2: int, y2: int, width: int, height: int
) -> tuple[int, int, int, int, int]:
    """1 and the part of a line inside a picture; 0 where there is none."""
    right, bottom = (width << _BITS) - 1, (height << _BITS) - 1
    c1, c2 = _outside(x1, y1, right, bottom), _outside(x2, y2, right, bottom)
    if (c1 & c2) == 0 and (c1 | c2) != 0:
        if c1 & 12:
            a = 0 if c1 < 8 else bottom
            x1 += int(float(a - y1) * float(x2 - x1) / float(y2 - y1))
            y1 = a
            c1 = (x1 < 0) + 2 * (x1 > right)
        if c2 & 12:
            a = 0 if c2 < 8 else bottom
            x2 += int(float(a - y2) * float(x2 - x1) / float(y2 - y1))
            y2 = a
            c2 = (x2 < 0) + 2 * (x2 > right)
        if (c1 & c2) == 0 and (c1 | c2) != 0:
            if c1:
                a = 0 if c1 == 1 else right
                y1 += int(float(a - x1) * float(y2 - y1) / float(x2 - x1))
                x1 = a
                c1 = 0
            if c2:
                a = 0 if c2 == 1 else right
                y2 += int(float(a - x2) * float(y2 - y1) / float(x2 - x1))
                x2 = a
                c2 = 0
    return int((c1 | c2) == 0), x1, y1, x2, y2


@compiled("void(int16[:,:], int64, int64, int64, int64, int16)")
def _draw_line(labels: Any, x1: int, y1: int, x2: int, y2: int, label: int) -> None:
    is_inside, x1, y1, x2, y2 = _clipped(x1, y1, x2, y2, labels.shape[1], labels.shape[0])
    if not is_inside:
        return
    across, down = abs(x2 - x1), abs(y2 - y1)
    if across > down:
        if x2 < x1:
            x1, y1, x2, y2 = x2, y2, x1, y1
        step = _quotient((y2 - y1) << _BITS, across | 1)
        count = (x2 - x1) >> _BITS
    else:
        if y2 < y1:
            x1, y1, x2, y2 = x2, y2, x1, y1
        step = _quotient((x2 - x1) << _BITS, down | 1)
        count = (y2 - y1) >> _BITS
    x1, y1 = x1 + _HALF, y1 + _HALF
    _put(labels, (x2 + _HALF) >> _BITS, (y2 + _HALF) >> _BITS, label)
    if across > down:
        for k in range(count + 1):
            _put(labels, (x1 >> _BITS) + k, (y1 + k * step) >> _BITS, label)
    else:
        for k in range(count + 1):
            _put(labels, (x1 + k * step) >> _BITS, (y1 >> _BITS) + k, label)


@compiled("UniTuple(int64, 5)(int32[:,:], int64, int64, int64, int64, int64)")
def _next_edge(
    corners: Any, shift: int, at: int, step: int, y: int, edges: int
) -> tuple[int, int, int, int, int]:
    """The first edge, from a corner on by `step`, that goes below a row.

    Its x at the upper end, the change of x in a row, the row it reaches, the corner there, and how
    many of the `edges` are left; where none does, the row is `y`.
    """
    up, half = _BITS - shift, (1 << shift) >> 1
    while edges > 0:
        edges -= 1
        following = (at + step) % 3
        end = (corners[following, 1] + half) >> shift
        if end > y:
            x = corners[at, 0] << up
            run = (corners[following, 0] << up) - x
            return x, _quotient(2 * run + (end - y), 2 * (end - y)), end, following, edges
        at = following
    return 0, 0, y, at, 0


@compiled("void(int16[:,:], int32[:,:], int64, int16)")
def _fill_triangle(labels: Any, corners: Any, shift: int, label: int) -> None:
    height, width = labels.shape
    up, half = _BITS - shift, (1 << shift) >> 1
    top, bottom, left, right, first = corners[0, 1], corners[0, 1], corners[0, 0], corners[0, 0], 0
    for i in range(3):
        before = (i + 2) % 3
        _draw_line(
            labels,
            corners[before, 0] << up,
            corners[before, 1] << up,
            corners[i, 0] << up,
            corners[i, 1] << up,
            label,
        )
        if corners[i, 1] < top:
            top, first = corners[i, 1], i
        bottom = max(bottom, corners[i, 1])
        left, right = min(left, corners[i, 0]), max(right, corners[i, 0])
    y, bottom = (top + half) >> shift, (bottom + half) >> shift
    left, right = (left + half) >> shift, (right + half) >> shift
    if right < 0 or bottom < 0 or left >= width or y >= height:
        return
    bottom = min(bottom, height - 1)
    # Two edges go down from the topmost corner: e forwards through the corners, f backwards.
    at_e, until_e, x_e, dx_e = first, y, -_ONE, 0
    at_f, until_f, x_f, dx_f = first, y, -_ONE, 0
    edges = 3
    while y <= bottom:
        if y >= until_e:
            x_e, dx_e, until_e, at_e, edges = _next_edge(corners, shift, at_e, 1, y, edges)
        if y >= until_f:
            x_f, dx_f, until_f, at_f, edges = _next_edge(corners, shift, at_f, 2, y, edges)
        if y >= until_e or y >= until_f:  # below the lowest edge there is an outline alone
            return
        if y >= 0:
            begin = max(0, (min(x_e, x_f) + _HALF) >> _BITS)
            stop = min(width - 1, (max(x_e, x_f) + _HALF) >> _BITS)
            for x in range(begin, stop + 1):
                labels[y, x] = label
        x_e += dx_e
        x_f += dx_f
        y += 1


@compiled("void(int16[:,:], int32[:,:,:], int64)")
def fill_triangles(labels: Any, corners: Any, shift: int) -> None:
    """Write the number of each triangle into its pixels, in order.

    Parameters
    ----------
    labels : int16 [h, w]
        Changed in place.
    corners : int32 [K, 3, 2]
        x and y, pixels with `shift` fractional bits.
    shift : int
    """
    for k in range(len(corners)):
        _fill_triangle(labels, corners[k], shift, k)
