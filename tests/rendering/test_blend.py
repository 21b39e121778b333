"""Masks and colours between the layers, on pictures whose answer is known."""

import numpy as np
import pytest

from heygem.face import topology as topo
from heygem.rendering.warp import blend, kernels


@pytest.fixture
def mesh():
    """Lips as two ellipses around (60, 40): outer 40 x 16 pixels, inner 24 x 6."""
    points = np.zeros((topo.POINTS, 2), np.float32)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for ring, a, b in ((topo.LIPS_OUTER, 20, 8), (topo.LIPS_INNER, 12, 3)):
        # From the corner at the picture's left over the upper lip and back.
        points[ring] = np.stack([60 - a * np.cos(angle), 40 - b * np.sin(angle)], 1)
    return points


def test_lip_distance_is_in_pixels_and_negative_inside(mesh):
    distance = blend.lip_distance(mesh, (80, 120))
    assert distance[40, 60] < 0
    assert distance[40, 90] == pytest.approx(10, abs=1)
    assert distance[60, 60] == pytest.approx(12, abs=1)


def test_lip_mask_is_one_on_the_lips_and_falls_smoothly_to_zero():
    distance = np.array([[0, 4, 10, 14, 20]], np.float32)
    mask, _ = blend.lip_edges(distance, 50.0, 10.0, np.zeros((1, 5), np.int16))
    assert mask[0, 0] == 1 and mask[0, 1] == 1 and mask[0, 3] == 0 and mask[0, 4] == 0
    assert mask[0, 2] == pytest.approx(3 * 0.4**2 - 2 * 0.4**3)


def test_interior_mask_covers_the_area_between_the_lips(mesh):
    mask = blend.interior_mask(mesh, (80, 120))
    assert mask.sum() == pytest.approx(np.pi * 12 * 3, rel=0.05)
    assert mask[40, 60] == 1 and mask[30, 60] == 0
    assert ((mask > 0) & (mask < 1)).any()  # a soft edge


def test_the_edge_of_the_opening_is_as_soft_as_the_face_is_large(mesh):
    def edge_px(iod_px):
        mesh[list(topo.EYE_OUTER)] = (60 - iod_px / 2, 10), (60 + iod_px / 2, 10)
        column = blend.interior_mask(mesh, (80, 120))[40:, 60]
        return np.interp(0.2, column[::-1], np.arange(39, -1, -1)) - np.interp(
            0.8, column[::-1], np.arange(39, -1, -1)
        )

    assert edge_px(20) < 1.0
    assert 1.7 < edge_px(120) < 2.6  # sigma 1.2: 1.68 sigma from 0.2 to 0.8, and the pixel's own


def test_an_edge_inside_the_opening_leaves_the_lips_alone(mesh):
    mesh[list(topo.EYE_OUTER)] = (10, 10), (110, 10)
    on_contour, inside = (blend.interior_mask(mesh, (80, 120), inside=x)[:, 60] for x in (0, 1))
    assert inside[40] == pytest.approx(1, abs=0.02) == on_contour[40]
    below_lip = np.s_[44:48]  # the contour lies at row 43
    assert on_contour[below_lip].max() > 0.1 and inside[below_lip].max() < 0.02
    assert (inside <= on_contour).all() and inside[41] > 0.3


def test_the_skin_ring_leaves_out_lips_and_background():
    distance = np.array([[0.5, 3, 9, 20]], np.float32)
    labels = np.array([[1, 1, -1, 1]], np.int16)
    _, ring = blend.lip_edges(distance, 50.0, 10.0, labels)
    assert ring.tolist() == [[False, True, False, False]]


def test_a_colour_plane_is_recovered_from_the_ring():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    truth = np.stack([5 + 8 * (x / 80 - 0.5), -3 + 0 * x, 2 + 6 * (y / 60 - 0.5)], -1)
    ring = np.hypot(x - 40, y - 30) < 28
    ring &= np.hypot(x - 40, y - 30) > 10
    own = np.rint(100 + truth).astype(np.uint8)
    coefficients = blend.fit_color_plane(own, np.full(own.shape, 100, np.float32), ring)
    plane = np.empty(own.shape, np.float32)
    kernels.add_plane(np.zeros(own.shape, np.float32), coefficients, plane)
    assert plane[30, 40] == pytest.approx(truth[30, 40], abs=0.2)
    # Slopes are damped, so that a noisy ring does not tilt the mouth.
    slope = plane[30, 70, 0] - plane[30, 10, 0]
    assert 0.4 < slope / (truth[30, 70, 0] - truth[30, 10, 0]) < 1


def test_too_small_a_ring_gives_no_correction():
    own = np.full((9, 9, 3), 50, np.uint8)
    assert not blend.fit_color_plane(own, own - np.float32(20), np.zeros((9, 9), bool)).any()


@pytest.mark.parametrize("skin_level", [None, np.float32((150, 110, 90))])
def test_the_interior_is_lit_in_its_box_as_in_the_whole(skin_level):
    coefficients = np.float32([[20, -30, 5], [40, 10, 0], [0, -25, 60]])
    teeth = np.full((40, 60, 3), 170, np.float32)
    whole, part = teeth.copy(), teeth.copy()
    blend.light_interior(whole, coefficients, np.s_[0:40, 0:60], skin_level)
    blend.light_interior(part, coefficients, np.s_[10:20, 5:30], skin_level)
    assert np.array_equal(part[10:20, 5:30], whole[10:20, 5:30])
    part[10:20, 5:30] = 170
    assert np.array_equal(part, teeth)


@pytest.fixture
def texture():
    return np.random.default_rng(0).normal(120, 25, (64, 64, 3)).astype(np.float32)


def test_a_picture_as_sharp_as_the_frame_is_left_alone(texture):
    ring = np.ones((64, 64), bool)
    matched, sigma_px = blend.match_sharpness(texture, texture, ring)
    assert matched is texture and sigma_px == 0


def test_a_picture_sharper_than_the_frame_is_blurred_to_it(texture):
    import cv2

    ring = np.ones((64, 64), bool)
    frame = np.clip(np.rint(cv2.GaussianBlur(texture, (0, 0), 2.2)), 0, 255).astype(np.uint8)
    matched, sigma_px = blend.match_sharpness(texture, frame, ring)
    assert 1.5 <= sigma_px <= 3.2
    assert matched[8:-8, 8:-8].std() == pytest.approx(frame[8:-8, 8:-8].std(), rel=0.15)


def test_lips_take_half_of_the_frames_tone_and_skin_does_not(mesh):
    size = (80, 120)
    own = np.full((*size, 3), (150, 90, 90), np.uint8)
    lips = own - np.float32((8, 0, 4))
    distance, opening = blend.lip_distance(mesh, size), blend.interior_mask(mesh, size)
    before = lips.copy()
    blend.match_lip_tone(lips, own, opening, distance, 12.0)
    middle = np.unravel_index(distance.argmin(), size)
    assert lips[middle] == pytest.approx([150 - 4, 90, 90 - 2])
    assert np.array_equal(lips[distance > 5], before[distance > 5])
    change = (lips - before)[..., 0]
    steps = np.abs(np.diff(change, axis=0)).max(), np.abs(np.diff(change, axis=1)).max()
    assert max(steps) < 1.5  # no line along the contour


def test_the_light_across_the_lips_is_followed(mesh):
    size = (80, 120)
    shade = np.linspace(-30, 30, 120, dtype=np.float32)[None, :, None]  # from one side
    lips = np.full((*size, 3), (150, 90, 90), np.float32)
    own = np.rint(lips + shade).astype(np.uint8)
    distance, opening = blend.lip_distance(mesh, size), blend.interior_mask(mesh, size)
    before = lips.copy()
    blend.match_lip_tone(lips, own, opening, distance, 3.0)
    change = (lips - before)[40, :, 0]
    assert change[48] < -1 and change[72] > 1
    assert abs(change[48]) < 0.5 * abs(shade[0, 48, 0])


def test_an_unlikely_difference_of_lips_is_limited(mesh):
    own = np.full((80, 120, 3), 200, np.uint8)
    lips = np.full((80, 120, 3), 110, np.float32)
    distance = blend.lip_distance(mesh, (80, 120))
    blend.match_lip_tone(lips, own, blend.interior_mask(mesh, (80, 120)), distance, 12.0)
    assert lips.max() == pytest.approx(110 + 0.5 * blend.MAX_LIP_TONE)


def test_brighter_light_brightens_the_interior_in_proportion():
    lit = np.full((20, 20, 3), 100, np.float32)
    brighter = np.float32([[28, 28, 28], [0, 0, 0], [0, 0, 0]])
    blend.light_interior(lit, brighter, np.s_[:, :], np.full(3, 140, np.float32))
    assert np.allclose(lit, 120)
