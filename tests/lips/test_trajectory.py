"""Sampling a trajectory, and its two measures."""

import numpy as np

from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.lips.trajectory import aperture_of, width_of


def test_times_between_rows_and_beyond_the_ends(trajectory):
    at = trajectory.at([0.01, -1.0, 99.0])
    rows = np.einsum("tk,knd->tnd", trajectory.coefficients, trajectory.basis)
    np.testing.assert_allclose(at[0], (rows[0] + rows[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(at[1], rows[0], atol=1e-6)
    np.testing.assert_allclose(at[2], rows[-1], atol=1e-6)


def test_aperture_and_width_are_those_of_the_displaced_points(trajectory):
    row = {int(point): k for k, point in enumerate(LOWER)}
    displacement = np.zeros((3, len(LOWER), 3), np.float32)
    displacement[1, row[topo.LIP_MIDDLE[1]], 1] = 0.1  # the lower lip drops
    displacement[2, row[topo.MOUTH_CORNERS[0]], 0] = -0.02
    displacement[2, row[topo.MOUTH_CORNERS[1]], 0] = 0.03
    np.testing.assert_allclose(aperture_of(displacement), [0, 0.1, 0])
    np.testing.assert_allclose(width_of(displacement), [0, 0, 0.05])
    moved = trajectory.at(trajectory.times_s)
    np.testing.assert_allclose(trajectory.aperture(), aperture_of(moved), atol=1e-6)
    np.testing.assert_allclose(trajectory.width(), width_of(moved), atol=1e-6)


def test_frames_get_the_displacement_of_their_own_time(trajectory):
    times_s = np.arange(40) / 29.97
    sampled = trajectory.for_frames(times_s)
    assert len(sampled) == 40 and trajectory.duration_s == 3.0
    np.testing.assert_array_equal(sampled[5:9], trajectory.at(times_s)[5:9])
