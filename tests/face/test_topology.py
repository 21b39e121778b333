"""Named groups of mesh points."""

import numpy as np

from heygem.face import topology as topo
from heygem.face.topology import LOWER, LOWER_WEIGHT, MIRROR


def test_what_speech_moves_is_the_lower_face():
    lower = set(LOWER.tolist())
    assert set(topo.LIPS_OUTER) | set(topo.LIPS_INNER) <= lower
    assert not lower & {33, 133, 362, 263, 10, 4, 1}  # eye corners, forehead, nose tip
    assert LOWER_WEIGHT.min() > 0 and LOWER_WEIGHT.max() == 1


def test_the_lower_face_is_symmetric():
    weight = dict(zip(LOWER.tolist(), LOWER_WEIGHT.tolist(), strict=True))
    mirrored = {int(MIRROR[i]): w for i, w in weight.items()}
    assert sum(mirrored.get(i) == w for i, w in weight.items()) > 0.9 * len(weight)


def test_triangles_use_points_of_the_mesh_and_leave_the_mouth_open():
    triangles = topo.TRIANGLES
    assert triangles.min() >= 0 and triangles.max() < topo.POINTS and len(triangles) == 852
    inner = set(topo.LIPS_INNER.tolist())
    assert not any(set(triangle.tolist()) <= inner for triangle in triangles)


def test_inner_lips_are_pairs_from_corner_to_corner():
    upper, lower = topo.INNER_UPPER, topo.INNER_LOWER
    assert upper[0] == lower[0] and upper[-1] == lower[-1]
    assert topo.LIP_MIDDLE == (upper[5], lower[5])
    np.testing.assert_array_equal(MIRROR[upper], upper[::-1])
    np.testing.assert_array_equal(MIRROR[lower], lower[::-1])
