"""Loops over the pixels of one mouth, compiled by Numba.

Each does in one pass what would take NumPy many passes over full-size arrays. They release the GIL,
so that several frames are rendered at the same time. They are compiled at the first import, which
takes seconds; the machine code is then cached on disk.
"""

import numpy as np

from heygem.core.compiled import compiled
from heygem.core.types import BoolArray, FloatArray, Image, IntArray

EDGE_PX = 0.5
MIN_AREA_PX = 1e-3  # twice the area of a triangle that has none
LIGHT_LEVEL = 140.0  # of skin that shows how light has changed
LIGHT_RANGE = 0.6, 1.5  # gains of an interior's brightness
MAX_DIFFERENCE = 60.0  # grey levels between two pictures of the same skin


@compiled("f4[:,::1](f4[:,::1], f4[:,::1], i4[:,::1], f8)")
def affine_table(
    target: FloatArray, source: FloatArray, triangles: IntArray, sliver_px: float
) -> FloatArray:
    """The affine map of each triangle from target to source, and one of the identity.

    Parameters
    ----------
    target, source : float32 [n, 2]
        Corresponding points, pixels.
    triangles : int32 [K, 3]
    sliver_px : float
        Triangles lower than this only shift.

    Returns
    -------
    float32 [K + 1, 6]
        a, b, c, d, e, f of `x' = a x + c y + e`, `y' = b x + d y + f`; the last is the identity.
    """
    count = len(triangles)
    table = np.zeros((count + 1, 6), np.float32)
    table[count, 0], table[count, 3] = 1, 1
    for k in range(count):
        i, j, m = triangles[k]
        x0, y0 = float(target[i, 0]), float(target[i, 1])
        x1, y1 = float(target[j, 0]) - x0, float(target[j, 1]) - y0
        x2, y2 = float(target[m, 0]) - x0, float(target[m, 1]) - y0
        u0, v0 = float(source[i, 0]), float(source[i, 1])
        u1, v1 = float(source[j, 0]) - u0, float(source[j, 1]) - v0
        u2, v2 = float(source[m, 0]) - u0, float(source[m, 1]) - v0
        det = x1 * y2 - y1 * x2
        longest = max(np.hypot(x1, y1), np.hypot(x2, y2), np.hypot(x2 - x1, y2 - y1))
        if abs(det) < MIN_AREA_PX:
            det = -MIN_AREA_PX if det < 0 else MIN_AREA_PX
        if abs(det) / max(longest, 1e-6) < sliver_px:
            # Its slope is noise: half a pixel beyond its edge it would fetch a speck from anywhere.
            table[k, 0], table[k, 3] = 1, 1
            table[k, 4] = u0 - x0 + (u1 - x1 + u2 - x2) / 3
            table[k, 5] = v0 - y0 + (v1 - y1 + v2 - y2) / 3
            continue
        a, c = (y2 * u1 - y1 * u2) / det, (x1 * u2 - x2 * u1) / det
        b, d = (y2 * v1 - y1 * v2) / det, (x1 * v2 - x2 * v1) / det
        table[k, 0], table[k, 1], table[k, 2], table[k, 3] = a, b, c, d
        table[k, 4], table[k, 5] = u0 - a * x0 - c * y0, v0 - b * x0 - d * y0
    return table


@compiled("void(i2[:,::1], f4[:,::1], f4[:,::1], f4[:,::1])")
def affine_map(labels: IntArray, table: FloatArray, map_x: FloatArray, map_y: FloatArray) -> None:
    """Write the source place of every target pixel into `map_x` and `map_y`, float32 [h, w].

    Parameters
    ----------
    labels : int16 [h, w]
        Triangle of each pixel; -1 stands for the last row of the table.
    table : float32 [K + 1, 6]
        From `affine_table`.
    map_x, map_y : float32 [h, w]
    """
    height, width = labels.shape
    for y in range(height):
        fy = np.float32(y)
        previous = -2
        for x in range(width):
            if labels[y, x] != previous:
                previous = labels[y, x]
                a, b, c, d, e, f = table[previous]
            fx = np.float32(x)
            map_x[y, x] = a * fx + c * fy + e
            map_y[y, x] = b * fx + d * fy + f


@compiled("f8[:,::1](f8[:,::1], f8[:,::1])")
def _solve(gram: FloatArray, products: FloatArray) -> FloatArray:
    """Solve a small positive definite system by elimination; changes its arguments."""
    size = len(gram)
    for k in range(size):
        for row in range(size):
            if row != k:
                factor = gram[row, k] / gram[k, k]
                gram[row] -= factor * gram[k]
                products[row] -= factor * products[k]
    for k in range(size):
        products[k] /= gram[k, k]
    return products


@compiled("f4[:,::1](u1[:,:,::1], f4[:,:,::1], b1[:,::1], i8, f8)")
def color_plane(
    own: Image, other: FloatArray, ring: BoolArray, step: int, damping: float
) -> FloatArray:
    """Least-squares plane per channel through `own - other` on every `step`-th ring pixel.

    Parameters
    ----------
    own, other : uint8 and float32 [h, w, 3]
    ring : bool [h, w]
    step : int
    damping : float
        Of the slopes.

    Returns
    -------
    float32 [3, 3]
        Coefficients of 1, x / w - 1/2 and y / h - 1/2 (rows) for each channel.
    """
    height, width = ring.shape
    gram, products = np.zeros((3, 3)), np.zeros((3, 3))
    basis = np.ones(3)
    number = 0
    for y in range(height):
        basis[2] = y / height - 0.5
        for x in range(width):
            if not ring[y, x]:
                continue
            if number % step == 0:
                basis[1] = x / width - 0.5
                for a in range(3):
                    for b in range(3):
                        gram[a, b] += basis[a] * basis[b]
                for c in range(3):
                    value = float(own[y, x, c]) - float(other[y, x, c])
                    value = min(max(value, -MAX_DIFFERENCE), MAX_DIFFERENCE)
                    for a in range(3):
                        products[a, c] += basis[a] * value
            number += 1
    gram[1, 1] += damping * gram[0, 0]
    gram[2, 2] += damping * gram[0, 0]
    return _solve(gram, products).astype(np.float32)


@compiled("void(f4[:,:,::1], f4[:,::1], f4[:,:,::1])")
def add_plane(picture: FloatArray, coefficients: FloatArray, out: FloatArray) -> None:
    """Write the picture plus a plane per channel into `out`.

    Parameters
    ----------
    picture : float32 [h, w, 3]
    coefficients : float32 [3, 3]
        Of 1, x / w - 1/2 and y / h - 1/2 (rows) for each channel.
    out : float32 [h, w, 3]
    """
    height, width = picture.shape[:2]
    half = np.float32(0.5)
    for y in range(height):
        gy = np.float32(y) / np.float32(height) - half
        for x in range(width):
            gx = np.float32(x) / np.float32(width) - half
            for c in range(3):
                plane = coefficients[0, c] + gx * coefficients[1, c] + gy * coefficients[2, c]
                out[y, x, c] = picture[y, x, c] + plane


@compiled("f4[:,::1](f4[:,::1], f4[:,::1], f4[::1], f8, f8)")
def tone_plane(
    difference: FloatArray, places: FloatArray, usual: FloatArray, limit: float, damping: float
) -> FloatArray:
    """Plane per channel through differences of tone.

    Parameters
    ----------
    difference : float32 [3, n]
    places : float32 [2, n]
        See `gather_lips`.
    usual : float32 [3]
        Median of the differences: the plane goes through it in the middle of the places.
    limit : float
        What differs from the usual by more counts as this, and so does the usual itself.
    damping : float
        Of the slopes.

    Returns
    -------
    float32 [3, 3]
        As `color_plane`.
    """
    count = places.shape[1]
    middle_x, middle_y = places[0].mean(), places[1].mean()
    gram, products = damping * count * np.eye(2), np.zeros((2, 3))
    for k in range(count):
        x, y = places[0, k] - middle_x, places[1, k] - middle_y
        gram[0, 0] += x * x
        gram[0, 1] += x * y
        gram[1, 1] += y * y
        for c in range(3):
            rest = min(max(difference[c, k] - usual[c], -limit), limit)
            products[0, c] += x * rest
            products[1, c] += y * rest
    gram[1, 0] = gram[0, 1]
    slopes = _solve(gram, products)
    plane = np.empty((3, 3), np.float32)
    for c in range(3):
        level = min(max(float(usual[c]), -limit), limit)
        plane[0, c] = level - middle_x * slopes[0, c] - middle_y * slopes[1, c]
        plane[1, c], plane[2, c] = slopes[0, c], slopes[1, c]
    return plane


@compiled("void(f4[:,:,::1], f4[:,::1], f4[:,::1], f8, f8, f8)")
def add_tone(
    picture: FloatArray,
    coefficients: FloatArray,
    distance: FloatArray,
    reach: float,
    limit: float,
    share: float,
) -> None:
    """Add a share of a plane per channel, in place, fading out across a contour.

    Parameters
    ----------
    picture : float32 [h, w, 3]
    coefficients : float32 [3, 3]
        As of `add_plane`.
    distance : float32 [h, w]
        From the contour, negative inside, pixels.
    reach : float
        Pixels outside of the contour at which nothing is added, and inside at which all is.
    limit : float
        Values of the plane beyond it count as this.
    share : float
        Of the plane.
    """
    height, width = distance.shape
    for y in range(height):
        gy = np.float32(y) / np.float32(height) - np.float32(0.5)
        for x in range(width):
            if distance[y, x] < reach:
                gx = np.float32(x) / np.float32(width) - np.float32(0.5)
                inside = min(np.float32(0.5 - distance[y, x] / (2 * reach)), np.float32(1))
                soft = np.float32(share) * inside * inside * (3 - 2 * inside)
                for c in range(3):
                    plane = coefficients[0, c] + gx * coefficients[1, c] + gy * coefficients[2, c]
                    picture[y, x, c] += soft * np.float32(min(max(plane, -limit), limit))


@compiled("void(f4[::1])")
def round_levels(values: FloatArray) -> None:
    """Round to whole levels 0..255, float32 [n], in place."""
    for k in range(len(values)):
        values[k] = min(max(np.rint(values[k]), np.float32(0)), np.float32(255))


@compiled("void(f4[::1], u1[::1])")
def store_levels(values: FloatArray, out: Image) -> None:
    """Write values, float32 [n], as levels 0..255 into `out`, uint8 [n]."""
    for k in range(len(values)):
        level = min(max(np.rint(values[k]), np.float32(0)), np.float32(255))
        out[k] = np.uint8(np.int32(level))


@compiled("i8(f4[:,::1], f4[:,::1])")
def count_lips(distance: FloatArray, opening: FloatArray) -> int:
    """Number of pixels on the lips: inside of their outer contour, and not in the opening.

    `distance` and `opening` are float32 [h, w].
    """
    height, width = distance.shape
    count = 0
    for y in range(height):
        for x in range(width):
            count += (distance[y, x] <= 0) & (opening[y, x] == 0)
    return count


@compiled("void(u1[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], i8, f4[:,::1], f4[:,::1])")
def gather_lips(
    own: Image,
    lips: FloatArray,
    distance: FloatArray,
    opening: FloatArray,
    step: int,
    difference: FloatArray,
    places: FloatArray,
) -> None:
    """Write the difference of two pictures at every `step`-th pixel on the lips, row by row.

    Parameters
    ----------
    own, lips : uint8 and float32 [h, w, 3]
    distance, opening : float32 [h, w]
        See `count_lips`.
    step : int
    difference : float32 [3, n]
        `own - lips`, written; n is the count over the step, rounded up.
    places : float32 [2, n]
        x / w - 1/2 and y / h - 1/2 of these pixels, written.
    """
    height, width = distance.shape
    number = 0
    for y in range(height):
        for x in range(width):
            if distance[y, x] <= 0 and opening[y, x] == 0:
                if number % step == 0:
                    k = number // step
                    for c in range(3):
                        difference[c, k] = np.float32(own[y, x, c]) - lips[y, x, c]
                    places[0, k] = np.float32(x) / np.float32(width) - np.float32(0.5)
                    places[1, k] = np.float32(y) / np.float32(height) - np.float32(0.5)
                number += 1


@compiled("void(f4[:,:,:], f4[:,::1], i8, i8, i8, i8, f4[::1], f4, f4)")
def light_interior(
    interior: FloatArray,
    coefficients: FloatArray,
    height: int,
    width: int,
    top: int,
    left: int,
    skin_level: FloatArray,
    usual_tint: float,
    max_tint: float,
) -> None:
    """Bring a mouth interior to another light, in place; see `blend.light_interior`.

    Parameters
    ----------
    interior : float32 [h, w, 3]
        The part of a picture of `height` and `width` that begins at `top` and `left`.
    coefficients : float32 [3, 3]
    skin_level : float32 [3]
        Infinite where only brightness is corrected.
    """
    one, half = np.float32(1), np.float32(0.5)
    correction = np.empty(3, np.float32)
    for y in range(interior.shape[0]):
        gy = np.float32(top + y) / np.float32(height) - half
        for x in range(interior.shape[1]):
            gx = np.float32(left + x) / np.float32(width) - half
            for c in range(3):
                correction[c] = (
                    coefficients[0, c] + gx * coefficients[1, c] + gy * coefficients[2, c]
                )
            light = (correction[0] + correction[1] + correction[2]) / np.float32(3)
            gain = one + light / np.float32(LIGHT_LEVEL)
            gain = min(max(gain, np.float32(LIGHT_RANGE[0])), np.float32(LIGHT_RANGE[1]))
            for c in range(3):
                tint = (correction[c] - light) / skin_level[c]
                size = min(max(abs(tint) - usual_tint, np.float32(0)), max_tint)
                interior[y, x, c] *= gain * (one + (size if tint > 0 else -size))


@compiled("f8(u1[:,:,::1], b1[:,::1])", "f8(f4[:,:,::1], b1[:,::1])")
def detail(picture: Image | FloatArray, ring: BoolArray) -> float:
    """Mean absolute Laplacian of the green channel on the ring, grey levels.

    `picture` is uint8 or float32 [h, w, 3]; its border is mirrored.
    """
    height, width = ring.shape
    total, count = 0.0, 0
    for y in range(height):
        above, below = abs(y - 1), y + 1 if y + 1 < height else height - 2
        for x in range(width):
            if ring[y, x]:
                left, right = abs(x - 1), x + 1 if x + 1 < width else width - 2
                total += abs(
                    float(picture[above, x, 1])
                    + float(picture[below, x, 1])
                    + float(picture[y, left, 1])
                    + float(picture[y, right, 1])
                    - 4.0 * float(picture[y, x, 1])
                )
                count += 1
    return total / max(count, 1)


@compiled("void(u1[:,:,:], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,::1])")
def compose(
    skin: Image, lips: FloatArray, alpha: FloatArray, interior: FloatArray, opening: FloatArray
) -> None:
    """Blend lips and mouth interior over the skin, in place.

    Parameters
    ----------
    skin : uint8 [h, w, 3]
    lips, interior : float32 [h, w, 3]
    alpha, opening : float32 [h, w]
        Opacity of each, 0..1.
    """
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            if alpha[y, x] <= 0 and opening[y, x] <= 0:
                continue
            for c in range(3):
                value = np.float32(skin[y, x, c])
                value += (lips[y, x, c] - value) * alpha[y, x]
                value += (interior[y, x, c] - value) * opening[y, x]
                skin[y, x, c] = np.uint8(min(max(np.rint(value), 0.0), 255.0))


@compiled("Tuple((f4[:,::1], b1[:,::1]))(f4[:,::1], i2[:,::1], f8, f8)")
def lip_edges(
    distance: FloatArray, labels: IntArray, off_lips_px: float, margin_px: float
) -> tuple[FloatArray, BoolArray]:
    """Where the library's lips replace the skin, and the skin around them.

    Parameters
    ----------
    distance : float32 [h, w]
        From the lips' outer contour, negative inside, pixels.
    labels : int16 [h, w]
        -1 where no triangle is.
    off_lips_px : float
        Distance from which on it is skin.
    margin_px : float
        Width of the lips' soft edge.

    Returns
    -------
    float32 [h, w], bool [h, w]
        Opacity of the lips, and where pictures are compared.
    """
    alpha, ring = np.empty(distance.shape, np.float32), np.empty(distance.shape, np.bool_)
    soft, end = np.float32(max(margin_px, 1.0)), np.float32(1.4 * margin_px)
    height, width = distance.shape
    for y in range(height):
        for x in range(width):
            away = distance[y, x]
            inside = min(max((end - away) / soft, np.float32(0)), np.float32(1))
            alpha[y, x] = inside * inside * (np.float32(3) - np.float32(2) * inside)
            ring[y, x] = away > off_lips_px and away < end and labels[y, x] >= 0
    return alpha, ring


@compiled("UniTuple(f8, 4)(f4[:,:])", "UniTuple(f8, 4)(f8[:,:])")
def extent(points: FloatArray) -> tuple[float, float, float, float]:
    """Smallest x and y, and largest, of points [n, 2]."""
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for x, y in points:
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
    return left, top, right, bottom


@compiled("f8[::1](f8[::1], f4[:,::1], i2[::1])")
def cheapest_moves(cost: FloatArray, move: FloatArray, back: IntArray) -> FloatArray:
    """The least cost at which each state is reached from another, a step of a Viterbi search.

    Parameters
    ----------
    cost : float64 [n]
        Of the states before.
    move : float32 [n, n]
        Of going from one (row) to another.
    back : int16 [n]
        From which state, written: the first of several.

    Returns
    -------
    float64 [n]
    """
    least = cost[0] + move[0]
    back[:] = 0
    for k in range(1, len(cost)):
        row = move[k]
        for j in range(len(row)):
            total = cost[k] + row[j]
            back[j] = k if total < least[j] else back[j]
            least[j] = min(total, least[j])
    return least
