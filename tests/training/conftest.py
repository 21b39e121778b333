"""A small data set of generated speakers, and a model trained on it once."""

import pytest
from helpers.training import SMALL, talking

from heygem.training.dataset import Dataset
from heygem.training.trainer import TrainingResult, train


@pytest.fixture(scope="session")
def generated_speakers() -> Dataset:
    """Nine speakers: one with late picture, one under a forbidden licence, one of split `dev`."""
    clips = [talking(f"p{i}", i) for i in range(6)]
    clips.append(talking("late", 20, late_s=0.16))
    clips.append(talking("forbidden", 21, licence="research-only"))
    clips.append(talking("unseen", 22, split="dev"))
    return Dataset(clips)


@pytest.fixture(scope="session")
def trained(generated_speakers) -> TrainingResult:
    return train(generated_speakers, SMALL)
