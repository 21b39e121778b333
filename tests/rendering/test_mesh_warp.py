"""The warp itself: triangles, maps and samples against ones worked out by hand."""

import cv2
import numpy as np
import pytest

from heygem.face import topology as topo
from heygem.rendering.warp.mesh_warp import (
    RIM,
    TRIANGLES,
    backward_map,
    bounds,
    mesh_topology,
    rasterize,
    remove_specks,
    sample,
    sample_covered,
    with_rim,
)

SQUARE = np.array([[0, 0], [20, 0], [20, 20], [0, 20]], np.float32)
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def test_bounds_are_whole_pixels_with_margin_inside_the_picture():
    points = np.array([[3.2, 4.7], [8.1, 9.0]], np.float32)
    assert bounds(points, 0, (100, 100)) == (3, 4, 10, 10)
    assert bounds(points, 5, (12, 11)) == (0, 0, 11, 12)
    assert bounds(np.array([[-9.0, -9.0]]), 0, (5, 5)) == (0, 0, 1, 1)  # never empty


def test_triangles_cover_the_pixels_that_opencv_gives_them():
    """Folded, degenerate and clipped ones too: sizes from a pixel to twice the picture."""
    rng = np.random.default_rng(0)
    for trial in range(400):
        size = tuple(int(n) for n in rng.integers(5, 90, 2))
        spread = (1, 4, 15, 120)[trial % 4]
        points = rng.normal(0, spread, (30, 3, 2)) + rng.uniform(-10, 100, (30, 1, 2))
        if trial % 5 == 0:
            points[::3, 2] = points[::3, 1]
            points[1::3, :, 1] = points[1::3, :1, 1]
        triangles = np.arange(90).reshape(30, 3)
        expected = np.full(size, -1, np.int16)
        for k, corners in enumerate(np.rint(points * 16).astype(np.int32)):
            cv2.fillConvexPoly(expected, corners, k, cv2.LINE_8, 4)
        np.testing.assert_array_equal(rasterize(points.reshape(-1, 2), triangles, size), expected)


def test_rasterize_labels_each_pixel_with_its_triangle():
    labels = rasterize(SQUARE, HALVES, (30, 30))
    assert labels[2, 15] == 0 and labels[15, 2] == 1
    assert labels[25, 25] == labels[5, 25] == -1
    assert (labels >= 0).sum() == pytest.approx(21 * 21, abs=2)


def test_an_affine_change_of_the_mesh_is_inverted_exactly():
    matrix, offset = np.array([[1.2, 0.1], [-0.2, 0.9]]), np.array([4.0, 6.0])
    target = (SQUARE @ matrix.T + offset).astype(np.float32)
    labels = rasterize(target, HALVES, (40, 40))
    map_x, map_y = backward_map(target, SQUARE, HALVES, labels)
    y, x = np.nonzero(labels >= 0)
    expected = (np.stack([x, y], 1) - offset) @ np.linalg.inv(matrix).T
    assert np.allclose(np.stack([map_x[y, x], map_y[y, x]], 1), expected, atol=1e-3)


def test_pixels_outside_every_triangle_stay_where_they_are():
    labels = rasterize(SQUARE, HALVES, (30, 30))
    map_x, map_y = backward_map(SQUARE + 3, SQUARE, HALVES, labels)
    assert (map_x[25, 28], map_y[25, 28]) == (28, 25)


def test_a_sliver_only_shifts():
    """Half a pixel beyond the edge of a triangle of no height, its slope would point anywhere."""
    target = np.array([[0, 0], [20, 0], [10, 0.5]], np.float32)
    source = np.array([[0, 0], [20, 0], [10, 15]], np.float32)
    labels = np.zeros((4, 20), np.int16)
    map_x, map_y = backward_map(target, source, np.array([[0, 1, 2]]), labels)
    shift = (source - target).mean(0)
    y, x = np.mgrid[:4, :20]
    assert np.allclose(map_x, x + shift[0], atol=1e-4)
    assert np.allclose(map_y, y + shift[1], atol=1e-4)


def test_the_sampler_reads_a_linear_ramp_at_fractions_of_pixels():
    image = np.repeat((np.arange(40, dtype=np.uint8) * 5)[None, :, None], 30, 0).repeat(3, 2)
    y, x = np.mgrid[5:25, 5:35].astype(np.float32)
    sampled = sample(image, x + 0.4, y)
    assert np.abs(sampled[..., 0] - 5 * (x + 0.4)).max() <= 1


def test_the_rim_lies_outside_the_jaw_by_its_share_of_the_iod(hopper_avatar):
    points = hopper_avatar.track.points[0][:, :2]
    whole = with_rim(points, 100.0)
    assert np.array_equal(whole[: topo.POINTS], points)
    jaw, rim = whole[topo.JAW], whole[topo.POINTS :]
    assert np.allclose(np.linalg.norm(rim - jaw, axis=1), 100 * RIM, atol=0.01)
    centre = points[topo.LIPS_OUTER].mean(0)
    assert (np.linalg.norm(rim - centre, axis=1) > np.linalg.norm(jaw - centre, axis=1)).all()


def test_every_moving_point_is_in_a_triangle_and_the_rim_closes_the_region(hopper_avatar):
    triangles = mesh_topology()
    assert np.array_equal(triangles, TRIANGLES)
    assert set(topo.LOWER) <= set(triangles.ravel())
    points = with_rim(hopper_avatar.track.points[0][:, :2], float(hopper_avatar.pose.scale[0]))
    region = (rasterize(points, triangles, (600, 512)) >= 0).astype(np.uint8)
    assert cv2.connectedComponents(region)[0] == 2  # background, and one region


def test_only_covered_pixels_are_sampled():
    image = np.random.default_rng(3).integers(0, 256, (75, 60, 3), np.uint8)
    map_y, map_x = np.mgrid[:75, :60].astype(np.float32)
    labels = np.full((75, 60), -1, np.int16)
    labels[10:50, 20:30] = 0
    map_x[labels >= 0] += 1.5
    whole = sample(image, map_x, map_y)
    assert np.array_equal(sample_covered(image, map_x, map_y, labels), whole)
    labels[:, :] = -1
    assert np.array_equal(sample_covered(image, map_x, map_y, labels), image)


def test_a_speck_in_the_warp_goes_and_the_triangles_stay():
    """One pixel fetched from 9 pixels away, beside a fold where two triangles really meet."""
    y, x = np.mgrid[:30, :40].astype(np.float32)
    map_x = np.where(x < 20, 0.8 * x + 0.1 * y + 3, 1.1 * x - 4).astype(np.float32)
    map_y = (0.9 * y + 2).astype(np.float32)
    clean = map_x.copy(), map_y.copy()
    map_x[12, 8], map_y[12, 8] = map_x[12, 8] + 9, map_y[12, 8] - 9
    map_x[25, 35] += 9  # outside the box
    remove_specks(map_x, map_y, (2, 2, 30, 22))
    inside = np.s_[4:20, 4:28]
    away_from_fold = np.abs(x[inside] - 19.5) > 3
    assert np.abs(map_x[inside] - clean[0][inside])[away_from_fold].max() < 1.0
    assert np.abs(map_y[inside] - clean[1][inside]).max() < 1.0
    assert map_x[25, 35] == clean[0][25, 35] + 9
