"""The compiled loops: against NumPy and OpenCV, and against themselves without the compiler."""

import cv2
import numpy as np
import pytest

from heygem.rendering.warp import kernels


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


def test_plane_sums_are_the_normal_equations_of_clipped_differences(random):
    own = random.integers(0, 256, (8, 10, 3), np.uint8)
    other = random.integers(0, 256, (8, 10, 3), np.uint8)
    ring = random.random((8, 10)) < 0.6
    y, x = (places[::2] for places in np.nonzero(ring))
    values = np.clip(own[y, x].astype(float) - other[y, x], -60, 60)
    basis = np.stack([np.ones(len(y)), x / 10 - 0.5, y / 8 - 0.5], 1)
    for (gram, products), _ in both(kernels.plane_sums, own, other, ring, 2):
        assert np.allclose(gram, basis.T @ basis)
        assert np.allclose(products, basis.T @ values)


def test_detail_is_the_mean_absolute_laplacian_of_green(random):
    picture = random.integers(0, 256, (9, 11, 3), np.uint8)
    ring = random.random((9, 11)) < 0.7
    expected = np.abs(cv2.Laplacian(picture[..., 1].astype(np.float32), cv2.CV_32F))[ring].mean()
    for kind in (np.uint8, np.float32):
        for value, _ in both(kernels.detail, picture.astype(kind), ring):
            assert value == pytest.approx(expected, rel=1e-5)
    assert kernels.detail(picture, np.zeros((9, 11), bool)) == 0


def test_a_plane_is_added_to_a_picture(random):
    picture = random.integers(0, 256, (4, 8, 3), np.uint8)
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
