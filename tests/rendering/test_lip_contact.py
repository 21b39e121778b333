"""Lips stop at contact."""

import numpy as np

from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.rendering.warp.renderer import resolve_lip_contact


def test_lips_never_pass_through_each_other():
    rng = np.random.default_rng(1)
    row = {int(point): k for k, point in enumerate(LOWER)}
    upper = np.array([row[i] for i in topo.INNER_UPPER])
    lower = np.array([row[i] for i in topo.INNER_LOWER])
    rest = rng.normal(0, 0.2, (len(LOWER), 3)).astype(np.float32)
    rest[lower, 1] = rest[upper, 1] + 0.01  # nearly closed
    free = rest + rng.normal(0, 0.02, (150, len(LOWER), 3)).astype(np.float32)
    met = resolve_lip_contact(free)
    inside = slice(1, -1)  # the corners are points of both lips
    gap = (free[:, lower, 1] - free[:, upper, 1])[:, inside]
    assert gap.min() < -0.01
    assert (met[:, lower, 1] - met[:, upper, 1])[:, inside].min() > -1e-6
    upper, lower = upper[inside], lower[inside]
    np.testing.assert_array_equal(met[:, lower][gap > 0], free[:, lower][gap > 0])
    middle = (free[:, lower, 1] + free[:, upper, 1]) / 2
    np.testing.assert_allclose(met[:, lower, 1][gap < 0], middle[gap < 0], atol=1e-6)
