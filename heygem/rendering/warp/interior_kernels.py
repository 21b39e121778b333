"""Where a mouth's interior comes from, pixel by pixel of the opening, compiled by Numba.

In NumPy these are some forty calls on small arrays for each picture, which hold the GIL.
"""

import numpy as np

from heygem.core.compiled import compiled
from heygem.core.types import FloatArray

# Of a picture's teeth, those count that its lips leave free.
UNDER_LIP = 0.008  # above this, its last row under the lip is drawn on: the lip hid the rest [IOD]
HIDDEN = (0.030, 0.070)  # hidden height from which, until which, teeth go with the lip [IOD]
MIDDLE = (0.25, 0.75)  # of the mouth's width, where it is measured
OVER_LIP = 0.008  # distance from the lower lip over which it fades [IOD]
FROM_CORNER = 0.04  # likewise along the mouth, of its width
# A picture's lower teeth, deeper in its opening than they would be drawn, are no upper teeth.
LOWER_ROW = (0.55, 0.75)  # depth in the picture's opening from which, until which
TOO_HIGH = (0.10, 0.25)  # by how much deeper than in the frame's
SLIT = (0.006, 0.020)  # in an opening lower than this, the interior moves with the lips [IOD]
LOWER_PART = (0.4, 0.75)  # depth from which, until which, the interior moves with the lower lip
MIN_HEIGHT_PX = 1e-3


@compiled("UniTuple(f8, 5)(f4[:,::1])")
def _axes(upper: FloatArray) -> tuple[float, float, float, float, float]:
    """Origin, unit vector along, and length of a mouth; see `mouth_axes.mouth_axes`."""
    x, y = float(upper[0, 0]), float(upper[0, 1])
    along_x, along_y = float(upper[-1, 0]) - x, float(upper[-1, 1]) - y
    length = max(np.hypot(along_x, along_y), 1e-3)
    return x, y, along_x / length, along_y / length, length


@compiled("f8[:,::1](f4[:,::1], f4[:,::1])")
def _contour(points: FloatArray, upper: FloatArray) -> FloatArray:
    """A contour along and across a mouth, in the order along it : float64 [2, n]."""
    x, y, along_x, along_y, length = _axes(upper)
    contour = np.empty((2, len(points)))
    for k in range(len(points)):
        dx, dy = points[k, 0] - x, points[k, 1] - y
        along = (dx * along_x + dy * along_y) / length
        place = k  # nearly all are in order already
        while place > 0 and contour[0, place - 1] > along:
            contour[:, place] = contour[:, place - 1]
            place -= 1
        contour[0, place], contour[1, place] = along, dy * along_x - dx * along_y
    return contour


@compiled("f8(f8[:,::1], f8)")
def _across_at(contour: FloatArray, along: float) -> float:
    """A contour's place across the mouth, linear between its points, as `numpy.interp`."""
    last = contour.shape[1] - 1
    if along <= contour[0, 0]:
        return contour[1, 0]
    if along >= contour[0, last]:
        return contour[1, last]
    k = 0
    while along >= contour[0, k + 1]:
        k += 1
    slope = (contour[1, k + 1] - contour[1, k]) / (contour[0, k + 1] - contour[0, k])
    return contour[1, k] + slope * (along - contour[0, k])


@compiled("f8(UniTuple(f8, 2), f8)")
def _ramp(between: tuple[float, float], value: float) -> float:
    """See `interpolation.linear_ramp`."""
    return min(max((value - between[0]) / (between[1] - between[0]), 0.0), 1.0)


@compiled("f4[:,:,::1](i8, i8, i8, i8, f4[:,::1], f4[:,::1])")
def opening_coordinates(
    x0: int, y0: int, width: int, height: int, upper: FloatArray, lower: FloatArray
) -> FloatArray:
    """The pixels of a window in coordinates of the mouth whose inner contours are given.

    Parameters
    ----------
    x0, y0, width, height : int
        The window.
    upper, lower : float32 [11, 2]
        Corner to corner, pixels.

    Returns
    -------
    float32 [4, height, width]
        Place along the mouth, 0..1 from corner to corner, and across it, pixels; the inner lips
        at that place, pixels across.
    """
    ox, oy, along_x, along_y, length = _axes(upper)
    top, bottom = _contour(upper, upper), _contour(lower, upper)
    out = np.empty((4, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            dx, dy = x0 + column - ox, y0 + row - oy
            u = (dx * along_x + dy * along_y) / length
            out[0, row, column] = u
            out[1, row, column] = dy * along_x - dx * along_y
            out[2, row, column] = _across_at(top, u)
            out[3, row, column] = _across_at(bottom, u)
    return out


@compiled("f4[:,:,::1](f4[:,:,::1], f4[:,::1], f4[:,::1], f8)")
def lip_layers(
    opening: FloatArray, upper: FloatArray, lower: FloatArray, zoom: float
) -> FloatArray:
    """Places in a picture whose upper and lower interior move with upper and lower lip.

    Parameters
    ----------
    opening : float32 [4, h, w]
        From `opening_coordinates`.
    upper, lower : float32 [11, 2]
        The picture's inner contours, corner to corner.
    zoom : float
        Target scale over that of the picture.

    Returns
    -------
    float32 [6, h, w]
        x, y and opacity of what moves with the upper lip, which is opaque, and with the lower.
    """
    ox, oy, along_x, along_y, length = _axes(upper)
    contour_top, contour_bottom = _contour(upper, upper), _contour(lower, upper)
    height, width = opening.shape[1:]
    out = np.empty((6, height, width), np.float32)
    for row in range(height):
        for column in range(width):
            u, v = float(opening[0, row, column]), float(opening[1, row, column])
            drawn_top, drawn_bottom = opening[2, row, column], opening[3, row, column]
            drawn_height = max(drawn_bottom - drawn_top, MIN_HEIGHT_PX)
            top, bottom = _across_at(contour_top, u), _across_at(contour_bottom, u)
            rate = min(1.0 / max(zoom, 1e-6), max(bottom - top, MIN_HEIGHT_PX) / drawn_height)
            with_upper = top + (v - drawn_top) * rate
            with_lower = bottom - (drawn_bottom - v) * rate
            x, y = ox + u * length * along_x, oy + u * length * along_y
            out[0, row, column] = x - with_upper * along_y
            out[1, row, column] = y + with_upper * along_x
            out[2, row, column] = 1
            out[3, row, column] = x - with_lower * along_y
            out[4, row, column] = y + with_lower * along_x
            share = _ramp(LOWER_PART, min(max((v - drawn_top) / drawn_height, 0.0), 1.0))
            out[5, row, column] = share * share * (3 - 2 * share)
    return out


@compiled("f4[:,:,::1](f4[:,:,::1], i8, i8, f4[:,::1], f4[:,::1], f4[:,::1], f8, f8)")
def skull_layer(
    opening: FloatArray,
    x0: int,
    y0: int,
    upper: FloatArray,
    lower: FloatArray,
    matrix: FloatArray,
    scale: float,
    frame_scale: float,
) -> FloatArray:
    """Places in a picture that stay with the skull.

    Where the picture's upper lip hid a little of the teeth, their last row is drawn on, or they
    would be seen twice: with the lip, and below it with the skull. Where it hid much, and towards
    the lower lip, the corners, and in a mere slit, the layer is transparent.

    Parameters
    ----------
    opening : float32 [4, h, w]
        From `opening_coordinates`, of a window that begins at `x0` and `y0`.
    upper, lower : float32 [11, 2]
        The picture's inner contours, corner to corner.
    matrix, scale, frame_scale
        Of a `teeth_anchor.SkullMap`.

    Returns
    -------
    float32 [3, h, w]
        x, y and opacity.
    """
    ox, oy, along_x, along_y, length = _axes(upper)
    contour_top, contour_bottom = _contour(upper, upper), _contour(lower, upper)
    height, width = opening.shape[1:]
    out = np.empty((3, height, width), np.float32)
    hidden = 0.0
    for row in range(height):
        for column in range(width):
            x = matrix[0, 0] * (x0 + column) + (matrix[0, 1] * (y0 + row) + matrix[0, 2])
            y = matrix[1, 0] * (x0 + column) + (matrix[1, 1] * (y0 + row) + matrix[1, 2])
            u = ((x - ox) * along_x + (y - oy) * along_y) / length
            v = (y - oy) * along_x - (x - ox) * along_y
            top, bottom = _across_at(contour_top, u), _across_at(contour_bottom, u)
            room = max(bottom - top, MIN_HEIGHT_PX)
            raised = max(min(UNDER_LIP * scale, 0.3 * room) - (v - top), 0.0)
            drawn_u, drawn_v = opening[0, row, column], opening[1, row, column]
            drawn_top, drawn_bottom = opening[2, row, column], opening[3, row, column]
            if MIDDLE[0] < drawn_u < MIDDLE[1] and drawn_v > drawn_top:
                hidden = max(hidden, raised)
            v += raised
            share = min(max((bottom - v) / (OVER_LIP * scale), 0.0), 1.0)
            share *= min(max(min(u, 1 - u) / FROM_CORNER, 0.0), 1.0)
            depth = (v - top) / room
            drawn_depth = (drawn_v - drawn_top) / max(drawn_bottom - drawn_top, MIN_HEIGHT_PX)
            share *= 1 - _ramp(LOWER_ROW, depth) * _ramp(TOO_HIGH, depth - drawn_depth)
            share *= _ramp(SLIT, (drawn_bottom - drawn_top) / frame_scale)
            out[0, row, column] = x - raised * along_y
            out[1, row, column] = y + raised * along_x
            out[2, row, column] = share
    out[2] *= np.float32(1 - _ramp(HIDDEN, hidden / scale))
    return out


@compiled("void(f4[:,:,::1], f4[:,:,::1], f4[:,::1])")
def lay_over(below: FloatArray, picture: FloatArray, opacity: FloatArray) -> None:
    """Blend a picture over another, float32 [h, w, 3], with opacity [h, w], in place."""
    height, width = opacity.shape
    for y in range(height):
        for x in range(width):
            for c in range(3):
                below[y, x, c] += (picture[y, x, c] - below[y, x, c]) * opacity[y, x]
