"""The sample person, fitted once for all tests of the evaluation."""

from pathlib import Path

import pytest

from heygem import audio
from heygem.config.params import Params
from heygem.evaluation.held_out import build_test_clip
from heygem.evaluation.split import fit_person

HOPPER = Path(__file__).parents[2] / "samples" / "hopper.mp4"


@pytest.fixture(scope="session")
def person():
    """A person fitted on the library part of a sample clip."""
    return fit_person(HOPPER, Params().face)


@pytest.fixture(scope="session")
def hopper_test_clip(person):
    """Two held-out seconds of the sample clip."""
    return build_test_clip(person, audio.load(HOPPER).samples, max_s=2)
