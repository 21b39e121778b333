"""The compiled loops: against NumPy and OpenCV, and against themselves without the compiler."""

import cv2
import numpy as np
import pytest

from heygem.rendering.warp import interior_kernels, kernels
from heygem.rendering.warp.mouth_axes import contours, mouth_axes, to_mouth_axes


@pytest.fixture
def random():
    return np.random.default_rng(7)


def both(kernel, *arguments):
    """Results of the compiled kernel and of its Python source; arrays are copied for each."""
    results = []
    for function in (kernel, kernel.py_func):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        results.append((function(*copies), copies))
    return results


def test_an_affine_table_maps_corners_to_corners(random):
    target = random.uniform(0, 100, (30, 2)).astype(np.float32)
    source = random.uniform(0, 100, (30, 2)).astype(np.float32)
    triangles = np.arange(30, dtype=np.int32).reshape(10, 3)
    for table, _ in both(kernels.affine_table, target, source, triangles, 0.0):
        for k, corners in enumerate(triangles):
            a, b, c, d, e, f = table[k]
            x, y = target[corners].T
            mapped = np.stack([a * x + c * y + e, b * x + d * y + f], 1)
            assert np.allclose(mapped, source[corners], atol=1e-2), k
        assert table[-1].tolist() == [1, 0, 0, 1, 0, 0]


def test_an_affine_map_looks_up_the_triangle_of_each_pixel(random):
    table = random.normal(size=(5, 6)).astype(np.float32)
    labels = random.integers(-1, 4, (6, 9)).astype(np.int16)
    empty = np.zeros((6, 9), np.float32)
    row = table[labels]
    y, x = np.mgrid[:6, :9]
    for _, (_, _, map_x, map_y) in both(kernels.affine_map, labels, table, empty, empty):
        assert np.allclose(map_x, row[..., 0] * x + row[..., 2] * y + row[..., 4], atol=1e-5)
        assert np.allclose(map_y, row[..., 1] * x + row[..., 3] * y + row[..., 5], atol=1e-5)


def test_a_colour_plane_solves_the_normal_equations_of_clipped_differences(random):
    own = random.integers(0, 256, (8, 10, 3), np.uint8)
    other = random.uniform(0, 255, (8, 10, 3)).astype(np.float32)
    ring = random.random((8, 10)) < 0.6
    y, x = (places[::2] for places in np.nonzero(ring))
    values = np.clip(own[y, x].astype(float) - other[y, x], -60, 60)
    basis = np.stack([np.ones(len(y)), x / 10 - 0.5, y / 8 - 0.5], 1)
    damping = np.diag([0, 0.05, 0.05]) * len(y)
    expected = np.linalg.solve(basis.T @ basis + damping, basis.T @ values)
    for plane, _ in both(kernels.color_plane, own, other, ring, 2, 0.05):
        assert np.allclose(plane, expected, rtol=1e-4)


def test_a_plane_of_tone_follows_clipped_differences_and_its_level_their_median(random):
    places = random.uniform(-0.5, 0.5, (2, 40)).astype(np.float32)
    difference = random.normal(0, 12, (3, 40)).astype(np.float32)
    usual = np.array([3, -2, 30], np.float32)
    centred = places - places.mean(1, keepdims=True)
    rest = np.clip(difference - usual[:, None], -18, 18)
    slopes = np.linalg.solve(centred @ centred.T + 0.005 * 40 * np.eye(2), centred @ rest.T)
    for plane, _ in both(kernels.tone_plane, difference, places, usual, 18.0, 0.005):
        assert np.allclose(plane[1:], slopes, rtol=1e-3)
        assert np.allclose(plane[0] + places.mean(1) @ slopes, [3, -2, 18], atol=1e-3)


def test_detail_is_the_mean_absolute_laplacian_of_green(random):
    picture = random.integers(0, 256, (9, 11, 3), np.uint8)
    ring = random.random((9, 11)) < 0.7
    expected = np.abs(cv2.Laplacian(picture[..., 1].astype(np.float32), cv2.CV_32F))[ring].mean()
    for kind in (np.uint8, np.float32):
        for value, _ in both(kernels.detail, picture.astype(kind), ring):
            assert value == pytest.approx(expected, rel=1e-5)
    assert kernels.detail(picture, np.zeros((9, 11), bool)) == 0


def test_values_are_rounded_to_levels_as_opencv_does(random):
    values = random.uniform(-40, 300, 1000).astype(np.float32)
    expected = cv2.add(values, 0, dtype=cv2.CV_8U).ravel()
    for _, (rounded,) in both(kernels.round_levels, values):
        assert np.array_equal(rounded, expected)
    for _, (_, stored) in both(kernels.store_levels, values, np.empty(1000, np.uint8)):
        assert np.array_equal(stored, expected)


def test_a_plane_is_added_to_a_picture(random):
    picture = random.uniform(0, 255, (4, 8, 3)).astype(np.float32)
    coefficients = random.normal(size=(3, 3)).astype(np.float32) * 10
    x, y = np.arange(8)[None, :, None] / 8 - 0.5, np.arange(4)[:, None, None] / 4 - 0.5
    expected = picture + coefficients[0] + x * coefficients[1] + y * coefficients[2]
    out = np.empty((4, 8, 3), np.float32)
    for _, (_, _, summed) in both(kernels.add_plane, picture, coefficients, out):
        assert np.allclose(summed, expected, atol=1e-4)


def test_a_share_of_a_plane_is_added_within_a_limit_and_fades_across_the_contour():
    picture = np.zeros((1, 4, 3), np.float32)
    distance = np.array([[-9, -2, 0, 2]], np.float32)
    plane = np.float32([(8, 0, -40), (8, 0, 0), (0, 0, 0)])  # at the columns 4, 6, 8, 10
    for _, (changed, *_) in both(kernels.add_tone, picture, plane, distance, 2.0, 18.0, 0.5):
        assert changed[0].tolist() == [[2, 0, -9], [3, 0, -9], [2, 0, -4.5], [0, 0, 0]]


def test_layers_are_blended_from_the_skin_up(random):
    skin = random.integers(0, 256, (5, 6, 3), np.uint8)
    lips, interior = random.uniform(-20, 280, (2, 5, 6, 3)).astype(np.float32)
    alpha, opening = random.random((2, 5, 6)).astype(np.float32)
    alpha[0], opening[0] = 0, 0
    mixed = skin + (lips - skin) * alpha[..., None]
    mixed += (interior - mixed) * opening[..., None]
    expected = np.clip(np.rint(mixed), 0, 255)
    for _, (pixels, *_) in both(kernels.compose, skin, lips, alpha, interior, opening):
        assert np.abs(pixels.astype(int) - expected).max() <= 1
        assert np.array_equal(pixels[0], skin[0])


def test_colours_of_the_lips_are_gathered_from_every_nth_pixel(random):
    own = random.integers(0, 256, (6, 7, 3), np.uint8)
    lips = random.uniform(0, 255, (6, 7, 3)).astype(np.float32)
    distance = random.integers(0, 2, (6, 7)).astype(np.float32)
    opening = random.integers(0, 2, (6, 7)).astype(np.float32)
    inside = (distance == 0) & (opening == 0)
    for count, _ in both(kernels.count_lips, distance, opening):
        assert count == inside.sum()
    count = -(-int(inside.sum()) // 2)
    empty = np.empty((3, count), np.float32), np.empty((2, count), np.float32)
    y, x = np.nonzero(inside)
    for _, (*_, difference, places) in both(
        kernels.gather_lips, own, lips, distance, opening, 2, *empty
    ):
        assert np.allclose(difference, (own[inside] - lips[inside])[::2].T, atol=1e-4)
        assert np.allclose(places, [x[::2] / 7 - 0.5, y[::2] / 6 - 0.5], atol=1e-6)


def test_a_state_is_reached_by_the_cheapest_move(random):
    cost, move = random.random(9), random.random((9, 9)).astype(np.float32)
    back = np.empty(9, np.int16)
    total = cost[:, None] + move
    for least, (_, _, chosen) in both(kernels.cheapest_moves, cost, move, back):
        assert np.allclose(least, total.min(0)) and (chosen == total.argmin(0)).all()


@pytest.fixture
def lips():
    """Inner contours of an open mouth, turned a little: corner to corner, 40 x 16 pixels."""
    along = np.linspace(-1, 1, 11)
    arch = 8 * (1 - along**2)
    return [
        np.stack([30 + 20 * along - 0.1 * down, 20 + down + 2 * along], 1).astype(np.float32)
        for down in (-arch, arch)
    ]


def test_an_opening_is_in_coordinates_of_its_mouth(lips):
    y, x = np.mgrid[8:32, 5:55].astype(np.float32)
    axes = mouth_axes(lips[0])
    u, v = to_mouth_axes(axes, np.stack([x, y], -1))
    expected = u, v, *contours(axes, *lips, u)
    for coordinates, _ in both(interior_kernels.opening_coordinates, 5, 8, 50, 24, *lips):
        assert np.allclose(coordinates, expected, atol=1e-3)


def test_the_same_mouth_is_drawn_from_its_own_places(lips):
    opening = interior_kernels.opening_coordinates(5, 8, 50, 24, *lips)
    y, x = np.mgrid[8:32, 5:55]
    for places, _ in both(interior_kernels.lip_layers, opening, *lips, 1.0):
        for part in (places[:2], places[3:5]):
            assert np.allclose(part, (x, y), atol=1e-3)
        assert (places[2] == 1).all() and places[5, 0, 25] == 0 and places[5, -1, 25] == 1


def test_the_skull_gives_the_places_of_its_map_away_from_the_lips(lips):
    opening = interior_kernels.opening_coordinates(5, 8, 50, 24, *lips)
    matrix = np.array([[1, 0, 2], [0, 1, 1]], np.float32)
    y, x = np.mgrid[8:32, 5:55]
    arguments = opening, 5, 8, *lips, matrix, 60.0, 60.0
    for (px, py, opacity), _ in both(interior_kernels.skull_layer, *arguments):
        shown = (opacity > 0.99) & (opening[1] > opening[2] + 2)
        assert shown.sum() > 100 and not opacity[:, 0].any()
        assert np.allclose(px[shown], x[shown] + 2, atol=0.3)
        assert np.allclose(py[shown], y[shown] + 1, atol=0.6)  # under the lip its row is drawn on
