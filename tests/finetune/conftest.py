"""The base model, speech of the samples, and one avatar fine-tuned to a sample video."""

import contextlib
import os

import pytest
from helpers.finetune import QUICK, Utterance
from helpers.home import home_with_models

from heygem import audio, lips
from heygem.batch.notebooks import root
from heygem.finetune.consent import Statement
from heygem.finetune.run import finetune
from heygem.lips.features import extract_features


@pytest.fixture(scope="session")
def base():
    return lips.LipsModel.load()


@pytest.fixture(scope="session")
def utterances(base):
    """Some 24 s of speech in three voices."""
    result = []
    for name in ("speech_en.wav", "speech_zh.wav", "hopper.mp4"):
        samples = audio.load(root() / "samples" / name).samples
        features = extract_features(samples, rows=len(samples) // 320, embedding=base.embedding)
        result.append(Utterance(features, base.predict_features(features).coefficients))
    return result


@contextlib.contextmanager
def home(folder):
    """`HEYGEM_HOME` is `folder`."""
    before = os.environ.get("HEYGEM_HOME")
    os.environ["HEYGEM_HOME"] = str(folder)
    try:
        yield folder
    finally:
        if before is None:
            del os.environ["HEYGEM_HOME"]
        else:
            os.environ["HEYGEM_HOME"] = before


@pytest.fixture(scope="session")
def home_folder(tmp_path_factory):
    """A folder for caches and records of these tests alone."""
    return home_with_models(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def own_home(home_folder):
    with home(home_folder):
        yield home_folder


@pytest.fixture(scope="session")
def footage():
    return [root() / "samples" / "hopper.mp4"]


@pytest.fixture(scope="session")
def recorded_consent():
    return Statement("recorded", "P-7", "training films", "2999-12-31", "contract 12")


@pytest.fixture(scope="session")
def result(home_folder, footage, recorded_consent):
    """An avatar fine-tuned to the sample video."""
    with home(home_folder):
        return finetune(footage, home_folder / "grace.heygem", QUICK, consent=recorded_consent)
