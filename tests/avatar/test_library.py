"""The library of mouth images: which are chosen, where they are cut, how alike two mouths are."""

import numpy as np

from heygem.avatar.library import CROP_UNITS, farthest_points, lip_features, mouth_box
from heygem.face import topology as topo
from heygem.face.template import TEMPLATE
from heygem.face.topology import LOWER


def test_farthest_points_cover_all_clusters_before_any_twice():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])
    features = np.repeat(centres, 50, 0) + rng.normal(0, 0.1, (200, 2))
    chosen = farthest_points(features, 4)
    assert sorted(chosen // 50) == [0, 1, 2, 3]
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(farthest_points(features[:3], 5), [0, 1, 2])


def test_lip_features_are_distances_in_shape_and_aperture():
    rest = TEMPLATE[LOWER][None].astype(np.float32)
    moved = rest + np.float32([0.2, 0.0, 0.0])
    features = lip_features(np.concatenate([rest, moved]))
    assert features.shape == (2, 83)
    # All forty points moved by 0.2, the three gaps by nothing.
    np.testing.assert_allclose(np.linalg.norm(features[1] - features[0]), 0.2, atol=1e-5)
    opened = rest.copy()
    row = {int(i): k for k, i in enumerate(LOWER)}
    opened[0, [row[i] for i in topo.INNER_LOWER[[3, 5, 7]]], 1] += 0.1
    gaps = (lip_features(opened) - lip_features(rest))[0, -3:]
    np.testing.assert_allclose(gaps, 0.2, atol=1e-5)  # a gap counts twice


def test_mouth_box_lies_around_the_lips_and_inside_the_picture():
    points = TEMPLATE * 100 + (300, 200, 0)
    x0, y0, x1, y1 = mouth_box(points, 100.0, (600, 600, 3))
    lips = points[topo.LIPS_OUTER, :2]
    assert x0 < lips[:, 0].min() and x1 > lips[:, 0].max()
    assert y0 < lips[:, 1].min() and y1 > lips[:, 1].max()
    assert abs((x1 - x0) - 200 * CROP_UNITS[0]) <= 2 and abs((y1 - y0) - 200 * CROP_UNITS[1]) <= 2
    assert mouth_box(points - (400, 0, 0), 100.0, (600, 600, 3))[0] == 0
    left, top, right, bottom = mouth_box(points + (0, 250, 0), 100.0, (600, 600, 3))
    assert bottom == 600 and top < bottom
