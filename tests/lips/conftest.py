"""Fixtures of the lips tests."""

import numpy as np
import pytest

from heygem import lips
from heygem.face.topology import LOWER


@pytest.fixture
def basis():
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.01, (6, len(LOWER), 3)).astype(np.float32)


@pytest.fixture
def trajectory(basis):
    """Three seconds of smooth, arbitrary movement."""
    t = np.arange(150) / 50
    coefficients = np.stack([np.sin(2 * np.pi * (k + 1) * t / 1.7 + k) for k in range(6)], 1)
    return lips.Trajectory(coefficients.astype(np.float32), 50.0, basis)
