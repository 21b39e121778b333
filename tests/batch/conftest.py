"""Fixtures of the batch tests."""

import pytest
from helpers.batch import PipelineStub

from heygem import pipeline
from heygem.config.params import Params


@pytest.fixture
def pipeline_stub(monkeypatch):
    """`heygem.pipeline` replaced by a stub; returns it."""
    stub = PipelineStub()
    monkeypatch.setattr(pipeline, "load_models", stub.load_models)
    monkeypatch.setattr(pipeline, "generate", stub.generate)
    return stub


@pytest.fixture
def recipe(tmp_path):
    """Make a recipe with one video for each kind that `PipelineStub` knows."""
    audio = tmp_path / "voice.wav"
    audio.write_bytes(b"sound")

    def make(*kinds, names=None, **more):
        videos = []
        for i, kind in enumerate(kinds):
            path = tmp_path / (names[i] if names else f"p{i}.mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{kind} {i}")
            videos.append(str(path))
        inputs = {"audio": str(audio), "videos": videos, "output": str(tmp_path / "out")}
        return Params.from_dict({"inputs": inputs, "mlflow": {"enabled": False}, **more})

    return make


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A working folder with three videos and two audio files; the pipeline fails on bad.mp4."""
    monkeypatch.chdir(tmp_path)
    for name, kind in (("anna", "fine"), ("ben", "fine"), ("bad", "faceless")):
        (tmp_path / f"{name}.mp4").write_text(f"{kind} {name}")
    for name in ("hello", "bye"):
        (tmp_path / f"{name}.wav").write_bytes(name.encode())
    return tmp_path
