"""Training on generated speakers whose mouths are known to follow their sound."""

import numpy as np
import pytest
from helpers.training import SMALL, talking

from heygem import lips
from heygem.core.errors import InputError
from heygem.training import model_card
from heygem.training.dataset import Dataset
from heygem.training.trainer import save, train

pytestmark = pytest.mark.slow


def test_the_model_follows_a_speaker_it_was_not_trained_on(trained, generated_speakers):
    unseen = [c for c in generated_speakers.clips if c.source.speaker == "unseen"]
    evaluation = model_card.evaluate(trained.model, unseen)
    model, shuffled = (evaluation[key]["unseen"] for key in ("model", "shuffled audio"))
    assert model.correlation > 0.8
    assert model.correlation > shuffled.correlation
    assert abs(model.lag_ms) <= 20
    assert 0.6 < model.ratio < 1.6


def test_only_permitted_clips_of_the_train_split_are_used(trained):
    speakers = {c.source.speaker for c in trained.clips}
    assert "forbidden" not in speakers and "unseen" not in speakers
    assert set(trained.held_out) <= speakers


def test_the_sync_check_measures_the_late_clip(trained):
    for clip, check in zip(trained.clips, trained.sync, strict=True):
        if clip.source.speaker == "late":
            assert check.verdict == "shifted" and abs(check.lag_s - 0.16) <= 0.02
        else:
            assert abs(check.correction_s) <= 0.04


def test_an_interrupted_training_gives_the_same_result(generated_speakers, tmp_path):
    settings = SMALL.model_copy(update={"iterations": 20, "eval_every": 10, "sync_iterations": 0})
    uninterrupted = train(generated_speakers, settings)
    calls = 0

    def interrupt(stage, done, total):
        nonlocal calls
        calls += 1
        if calls == 15:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "t.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train(generated_speakers, settings, checkpoint=checkpoint, progress=interrupt)
    steps = []
    resumed = train(
        generated_speakers,
        settings,
        checkpoint=checkpoint,
        progress=lambda stage, done, total: steps.append((stage, done)),
    )
    assert steps[0] == ("train network0", 11)  # from the last evaluation, not from the start
    assert resumed.history == uninterrupted.history
    for a, b in zip(uninterrupted.model.networks, resumed.model.networks, strict=True):
        for key, value in a.weights.items():
            np.testing.assert_allclose(b.weights[key], value, atol=1e-6)


def test_a_checkpoint_of_other_settings_is_not_used(generated_speakers, tmp_path):
    settings = SMALL.model_copy(update={"iterations": 2, "eval_every": 2, "sync_iterations": 0})
    checkpoint = tmp_path / "t.checkpoint"
    train(generated_speakers, settings, checkpoint=checkpoint)
    steps = []
    train(
        generated_speakers,
        settings.model_copy(update={"seed": 1}),
        checkpoint=checkpoint,
        progress=lambda stage, done, total: steps.append((stage, done)),
    )
    assert ("train network0", 1) in steps


def test_too_few_speakers_are_refused():
    with pytest.raises(InputError, match="too few speakers"):
        train(Dataset([talking("alone", 1)]), SMALL)


def test_a_saved_model_holds_every_network(trained, tmp_path):
    path = tmp_path / "m.safetensors"
    save(trained.model, path)
    loaded = lips.LipsModel.load(path)
    assert len(loaded.networks) == 2
    np.testing.assert_allclose(loaded.gain, trained.model.gain)
    features = trained.clips[0].features
    before, after = (m.predict_features(features).aperture() for m in (trained.model, loaded))
    np.testing.assert_allclose(before, after, atol=5e-3 * before.std())
