"""Fixtures of the face tests."""

import pytest
from helpers.faces import follow


@pytest.fixture(scope="module")
def mesh(hopper, faces):
    """One real mesh, float32 [468, 3]."""
    return follow([hopper], faces).points[0]
