"""Linear interpolation of rows: against `np.interp`, and at its ends."""

import numpy as np
import pytest

from heygem.core.interpolation import (
    blend_neighbours,
    interpolate_at_positions,
    interpolate_at_times,
)


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def test_rows_at_times_are_np_interp_column_by_column(rows):
    times_s = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.06, 20))
    at_s = np.linspace(times_s[0] - 0.1, times_s[-1] + 0.1, 57)
    result = interpolate_at_times(rows, times_s, at_s)
    assert result.shape == (57, 3)
    for k in range(3):
        np.testing.assert_array_equal(result[:, k], np.interp(at_s, times_s, rows[:, k]))
    np.testing.assert_array_equal(result[0], rows[0])  # held before the first time
    np.testing.assert_array_equal(result[-1], rows[-1])


def test_rows_at_positions_include_both_ends_and_keep_their_shape(rows):
    np.testing.assert_array_equal(interpolate_at_positions(rows, np.arange(20.0)), rows)
    stacked = rows.reshape(20, 3, 1)
    quarter = interpolate_at_positions(stacked, np.array([2.25]))
    assert quarter.dtype == np.float32 and quarter.shape == (1, 3, 1)
    np.testing.assert_allclose(quarter[0], 0.75 * stacked[2] + 0.25 * stacked[3], rtol=1e-6)


def test_a_ramp_is_interpolated_exactly():
    ramp = np.arange(10, dtype=np.float32)[:, None]
    positions = np.array([0.5, 3.125, 8.75])
    np.testing.assert_array_equal(interpolate_at_positions(ramp, positions)[:, 0], positions)
    low = positions.astype(int)
    np.testing.assert_array_equal(blend_neighbours(ramp, low, positions - low)[:, 0], positions)
