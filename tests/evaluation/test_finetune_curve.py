"""The file's own lag and the fine-tuning curve, on clips whose lag and motion are known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.media import gape
from helpers.mouth import lip_mesh

from heygem import pipeline
from heygem.evaluation import av_offset, finetune_curve
from heygem.lips.trajectory import Trajectory
from heygem.training.dataset import Clip, Source


@pytest.fixture(scope="module")
def person():
    """A person without an own scale: all that the curve needs of one."""
    neutral = lip_mesh(np.array([0.02]))[0]
    avatar = SimpleNamespace(speech_scale=None, rest=SimpleNamespace(neutral=neutral))
    return SimpleNamespace(avatar=avatar)


class FirstBand:
    """A model whose aperture is the first band of the features."""

    opening_std, about = 0.04, {}

    def __init__(self, neutral):
        self.basis = gape(np.ones(1), neutral)

    def predict_features(self, features):
        return Trajectory(features[::2, :1].copy(), 50, self.basis)


def synthetic_clip(person, seconds, *, late_rows=0, seed=0):
    """A clip whose mouth is `late_rows` rows of 20 ms late."""
    rng = np.random.default_rng(seed)
    gap = np.convolve(rng.normal(size=int(seconds * 50) + 40), np.hanning(9), "same") * 0.02
    gap = gap.astype(np.float32)
    rows = int(seconds * 50)
    features = np.zeros((2 * rows, 3), np.float32)
    features[:, 0] = np.repeat(gap[20 : 20 + rows], 2)
    displacement = gape(gap[20 - late_rows : 20 - late_rows + rows], person.avatar.rest.neutral)
    valid = np.ones(rows, bool)
    return Clip(Source(Path("x.mp4"), "x"), "", features, valid.repeat(2), displacement, valid)


@pytest.mark.parametrize("late_rows", [-3, 0, 5])
def test_the_files_own_lag_is_estimated_and_corrected(person, late_rows):
    clip = synthetic_clip(person, 20, late_rows=late_rows)
    model = FirstBand(person.avatar.rest.neutral)
    lag = av_offset.estimate_file_lag(clip, model)
    assert lag.reliable and lag.lag_s == pytest.approx(0.02 * late_rows, abs=0.006)
    measures = finetune_curve.measure_prediction(model, clip, person, file_lag_s=lag.lag_s)
    assert measures["lag_corrected_corr"].value > 0.97
    assert abs(measures["residual_lag_ms"].value) < 6
    if late_rows:
        assert measures["aperture_corr"].value < 0.8


def test_another_persons_audio_has_no_reliable_lag(person):
    clip, other = synthetic_clip(person, 20), synthetic_clip(person, 20, seed=1)
    dubbed = Clip(clip.source, "", other.features, other.voice, clip.displacement, clip.valid)
    lag = av_offset.estimate_file_lag(dubbed, FirstBand(person.avatar.rest.neutral))
    assert not lag.reliable and lag.lag_s == 0 and lag.verdict == "off"


def test_amounts_of_footage_are_nested(person, monkeypatch):
    adapt = pytest.importorskip("heygem.finetune.adapt")

    used = []

    def fake_adapt(model, clips, *_, **__):
        used.append(clips)
        return adapt.Adaptation(model, False, None, None)

    monkeypatch.setattr(adapt, "adapt", fake_adapt)
    clips = [synthetic_clip(person, 12), synthetic_clip(person, 30, seed=1)]
    model = FirstBand(person.avatar.rest.neutral)
    points = finetune_curve.measure_curve(
        clips, synthetic_clip(person, 8, seed=2), person, model, [10, 30, 60], name="x"
    )
    assert [point.requested_s for point, _ in points] == [0, 10, 30, 42]
    assert [round(point.seconds) for point, _ in points] == [0, 10, 30, 42]
    assert [len(part) for part in used] == [1, 2, 2]
    assert np.array_equal(used[1][0].features, clips[0].features)
    assert points[0][0].kept_base and not points[1][0].kept_base
    assert points[0][0].measures["lag_corrected_corr"].windows == 4


def test_amounts_beyond_the_footage_become_all_of_it():
    assert finetune_curve.available_amounts([15, 30, 60], 200) == [15, 30, 60]
    assert finetune_curve.available_amounts([60, 15, 30], 42) == [15, 30, 42]
    assert finetune_curve.available_amounts([15, 30], 28) == [15, 30]  # nearly 30 s count as 30
    assert finetune_curve.available_amounts([15], 5) == [5]
    assert finetune_curve.available_amounts([], 100) == []


def test_seconds_without_a_face_do_not_count(person):
    clip = synthetic_clip(person, 10)
    clip.valid[:100] = False  # two seconds
    (part,) = finetune_curve.take_seconds([clip], 3)
    assert len(part.valid) == pytest.approx(250, abs=1) and part.duration_s >= 3
    assert len(part.features) == len(part.voice) == 2 * len(part.displacement)


def test_the_prediction_is_scaled_to_the_amplitude_of_the_person(person):
    clip, model = synthetic_clip(person, 20), FirstBand(person.avatar.rest.neutral)
    own = SimpleNamespace(
        avatar=SimpleNamespace(speech_scale=1.2 * model.opening_std, speech_posture=None)
    )
    plain = finetune_curve.measure_prediction(model, clip, person)["amplitude_ratio"]
    scaled = finetune_curve.measure_prediction(model, clip, own)["amplitude_ratio"]
    prediction = model.predict_features(clip.features)
    scale = pipeline.speaker_style(prediction, clip.voice, own.avatar, model).opening_scale
    assert plain.value == pytest.approx(1, abs=0.01) and abs(scale - 1) > 0.05
    assert scaled.value == pytest.approx(scale * plain.value)
