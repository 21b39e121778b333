"""What is added when one texture fades over to another, in pixels of either width."""

import cv2
import numpy as np
import pytest

from heygem.rendering.warp import crossfade
from heygem.rendering.warp.mesh_warp import sample


@pytest.fixture
def smooth():
    noise = np.random.default_rng(5).uniform(0, 255, (61, 84, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 5)


def test_a_point_keeps_its_place_in_wider_pixels(smooth):
    y, x = np.mgrid[10:40, 12:60].astype(np.float32)
    places = crossfade.reduced_points(np.stack([x, y], -1), 2)
    there = sample(crossfade.reduced_picture(smooth, 2), *np.moveaxis(places, -1, 0).copy())
    assert np.abs(there - smooth[10:40, 12:60]).max() < 2


def test_a_change_is_added_without_its_detail():
    canvas, other = np.full((41, 60, 3), 90, np.float32), np.full((41, 60, 3), 110, np.float32)
    other[:, ::2] += 40  # detail
    crossfade.add_change(canvas, [other], [0.25], 2.0)
    assert np.abs(canvas - (90 + 0.25 * 40)).max() < 0.5


@pytest.mark.parametrize("weights", [[0.25], [0.25, 0.25]])
def test_a_change_in_wider_pixels_is_the_same(smooth, weights):
    canvas = np.random.default_rng(6).uniform(0, 60, (60, 84, 3)).astype(np.float32)
    others = [smooth[:60] + 30 * k for k in range(len(weights))]
    wide = [crossfade.reduced_picture(other, 2) for other in others]
    one, two = canvas.copy(), canvas.copy()
    crossfade.add_change(one, others, weights, 2.5)
    crossfade.add_change(two, wide, weights, 2.5)
    inner = np.s_[6:-6, 6:-6]  # beyond the border both continue differently
    assert np.abs(one - canvas).max() > 10
    assert np.abs(two - one)[inner].max() < 1.5


def test_small_faces_are_faded_pixel_by_pixel():
    assert [crossfade.fade_step(scale) for scale in (20.0, 85.0, 95.0, 400.0)] == [1, 1, 2, 2]
