"""Linear interpolation of arrays along their first axis, smooth steps, and the cubic kernel."""

from typing import Any

import numpy as np

from heygem.core.types import FloatArray, IntArray


def interpolate_at_times(rows: FloatArray, times_s: FloatArray, at_s: FloatArray) -> FloatArray:
    """Rows at other times; before the first and after the last time, that row itself.

    Parameters
    ----------
    rows : float [N, K]
    times_s : float64 [N], increasing
        Time of each row.
    at_s : float64 [M]

    Returns
    -------
    float64 [M, K]
    """
    return np.stack([np.interp(at_s, times_s, column) for column in rows.T], -1)


def interpolate_at_positions(rows: FloatArray, positions: FloatArray) -> FloatArray:
    """Rows at fractional indices.

    Parameters
    ----------
    rows : float32 [N, ...], N >= 2
    positions : float [M], 0..N-1
        2.25 is a quarter of the way from row 2 to row 3.

    Returns
    -------
    float32 [M, ...]
    """
    low = np.minimum(positions.astype(int), len(rows) - 2)
    return blend_neighbours(rows, low, (positions - low).astype(np.float32))


def blend_neighbours(rows: FloatArray, low: IntArray, fraction: FloatArray) -> FloatArray:
    """`rows[low] * (1 - fraction) + rows[low + 1] * fraction`, for any shape of a row.

    Parameters
    ----------
    rows : float [N, ...]
    low : int [M], 0..N-2
    fraction : float [M], 0..1

    Returns
    -------
    float [M, ...]
        Of the wider type of `rows` and `fraction`.
    """
    fraction = fraction.reshape(-1, *[1] * (rows.ndim - 1))
    return rows[low] * (1 - fraction) + rows[low + 1] * fraction


def cubic_weights(t: Any) -> list[Any]:
    """Weights of the two pixels before and after places, as of OpenCV's INTER_CUBIC.

    Parameters
    ----------
    t : array or tensor of floats, 0..1
        How far past a pixel each place is.

    Returns
    -------
    list of four of the same kind
    """
    a = -0.75  # slope of the kernel at a distance of one pixel
    outer, rest = t + 1, 1 - t
    first = ((a * outer - 5 * a) * outer + 8 * a) * outer - 4 * a
    second = ((a + 2) * t - (a + 3)) * t * t + 1
    third = ((a + 2) * rest - (a + 3)) * rest * rest + 1
    return [first, second, third, 1 - first - second - third]


def smoothstep(low: float | FloatArray, high: float | FloatArray, x: FloatArray) -> FloatArray:
    """Smooth step from 0 at `low` to 1 at `high` (Hermite)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def linear_ramp(low: float, high: float, x: FloatArray | float) -> FloatArray:
    """0 up to `low`, 1 from `high` on, and straight between them."""
    return np.clip((x - low) / (high - low), 0, 1)


def mean_rate_hz(times_s: FloatArray) -> float:
    """Rows a second of a track whose rows are at `times_s`, float [N] in ascending order, N > 1."""
    return float((len(times_s) - 1) / max(times_s[-1] - times_s[0], 1e-6))
