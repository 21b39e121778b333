"""A cached result is used for the same evaluation only."""

import pytest
from helpers.media import write_video

from heygem.config.params import Params
from heygem.evaluation import EvaluateSettings, cache
from heygem.evaluation.clips import Clip
from heygem.evaluation.results import ClipResult, FinetunePoint, Measure, Row


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "commit", lambda: "of today")

    def make(tree=None, model_id="a", settings=None, cross_audio=()):
        params = Params.from_dict(tree or {})
        settings = settings or EvaluateSettings()
        return cache.ResultCache(tmp_path / "cache", params, model_id, settings, cross_audio)

    return make


@pytest.fixture
def video(tmp_path):
    return Clip(write_video(tmp_path / "clip.mp4", frames=3), "anna")


RESULT = ClipResult(
    [Row("clip.mp4", "anna", "model", "own", {"lmd": Measure(0.1, 0.01, 4)}, (0.0, 3.0))],
    {"speaker": "anna"},
    [FinetunePoint("clip.mp4", "anna", 15.0, 15.1, [], (4.0, 6.0), True, {"lmd": Measure(0.1)})],
)


def test_a_result_is_read_back_as_it_was(make, video):
    assert make().get(video) is None
    make().put(video, RESULT)
    result = make().get(video)
    assert result.rows[0].measures == RESULT.rows[0].measures
    assert result.facts == RESULT.facts and result.points[0].kept_base
    assert [path.suffix for path in make()._path(video).parent.iterdir()] == [".json"]


def test_anything_that_changes_the_result_misses_the_cache(make, video, tmp_path):
    make().put(video, RESULT)
    checkpoint = tmp_path / "own.pth"
    checkpoint.write_bytes(b"weights")
    speech = tmp_path / "speech.wav"
    speech.write_bytes(b"speech")
    others = (
        make(model_id="b"),
        make({"lips": {"openness_gain": 1.2}}),
        make({"engine": "wav2lip", "checkpoint": str(checkpoint)}),
        make(settings=EvaluateSettings(windows=5)),
        make(cross_audio=[speech]),
    )
    assert all(other.get(video) is None for other in others)
    assert make().get(Clip(video.path, "anna", boundary_s=1.0)) is None


def test_a_damaged_file_is_ignored(make, video):
    make().put(video, RESULT)
    make()._path(video).write_text("{")
    assert make().get(video) is None
