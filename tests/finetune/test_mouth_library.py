"""Mouth pictures of all footage."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from heygem import avatar, lips
from heygem.avatar.library import MouthLibrary
from heygem.config.params import FaceSettings
from heygem.finetune import mouth_library


@pytest.mark.slow
def test_other_footage_adds_what_is_missing_and_nothing_twice(own_home, footage):
    primary = avatar.load(footage[0], FaceSettings())
    same = mouth_library.extend(primary, [primary])
    assert same.added == 0 and same.own == len(primary.library.crops)
    # A shown video in which the mouth never opens gets open mouths from the other.
    aperture = lips.aperture_of(primary.displacement(primary.library.frames))
    few = np.flatnonzero(aperture < 0.02)
    closed_only = MouthLibrary(
        primary.library.frames[few],
        [primary.library.crops[i] for i in few],
        primary.library.corners[few],
        primary.library.points[few],
        primary.library.pose[few],
    )
    extended = mouth_library.extend(replace(primary, library=closed_only), [primary])
    assert extended.own == len(few) and extended.added > 0
    assert (extended.library.frames[extended.own :] < 0).all()
    assert all(c.shape[2] == 3 for c in extended.library.crops)
    # The meshes of the new pictures lie on their mouths as in the frames.
    frame = -int(extended.library.frames[-1]) - mouth_library.FRAME_OFFSET
    mesh = extended.library.points[-1, :, :2] - extended.library.points[-1, :, :2].mean(0)
    own = primary.track.points[frame, :, :2] - primary.track.points[frame, :, :2].mean(0)
    np.testing.assert_allclose(mesh, own, atol=0.5)


def test_farthest_points_are_spread_and_near_duplicates_left_out():
    features = np.array([[0.0], [0.01], [10.0], [4.0], [10.001]])
    chosen = mouth_library.farthest_points(features, np.full(5, 0.001), 10)
    assert chosen.tolist()[:3] == [0, 4, 3]
    assert len(chosen) == 3
    assert len(mouth_library.farthest_points(features, np.zeros(5), 2)) == 2


def test_penalized_points_are_used_where_nothing_else_is_near():
    features = np.array([[0.0], [1.0], [1.2], [9.0]])
    penalty = np.array([0.0, 0.0, 1.0, 1.0])
    chosen = mouth_library.farthest_points(features, penalty, 10)
    assert sorted(chosen.tolist()) == [0, 1, 3]


def skin_library(rgb):
    """One uniform picture with all points of the skin inside."""
    points = np.full((1, 468, 3), 5.0, np.float32)
    return SimpleNamespace(crops=[np.full((10, 10, 3), rgb, np.uint8)], points=points)


def test_white_balance_maps_one_skin_to_the_other():
    own, target = (120, 100, 90), (150, 90, 100)
    table = mouth_library.white_balance(skin_library(own), skin_library(target))
    assert table.shape == (256, 1, 3) and (table[0] == 0).all()
    for channel in range(3):
        assert abs(int(table[own[channel], 0, channel]) - target[channel]) <= 1
    same = mouth_library.white_balance(skin_library(own), skin_library(own))
    np.testing.assert_array_equal(same[:, 0, 0], np.arange(256))
