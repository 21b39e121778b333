"""A network that tells real mouths from drawn ones."""

import numpy as np
import pytest

from heygem.evaluation import realism
from heygem.face.pose import Pose

SIDE = realism.SIZE + 2 * realism.BORDER


def film(speaker, seed, *, mark):
    """Coloured noise as a mouth; drawn, it has a darker patch of strength `mark`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 160, (12, SIDE // 8, SIDE // 8, 3))
    real = np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)
    drawn = real.copy()
    drawn[:, 40:64, 30:74] -= mark
    return realism.MouthFilm(speaker, real, drawn)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(realism, "EPOCHS", 16)
    monkeypatch.setattr(realism, "BATCH", 8)


@pytest.mark.slow
def test_a_drawing_that_shows_is_found_on_a_person_who_was_not_trained_on(quick):
    judge = realism.train_judge([film(f"p{k}", k, mark=60) for k in range(3)], 1, 0)
    unseen = film("unseen", 9, mark=60)
    real, drawn = realism.scores(judge, unseen.real), realism.scores(judge, unseen.drawn)
    assert (drawn > real).all() and (real < 0).mean() + (drawn > 0).mean() > 1.6
    heat = realism.heat_map(judge, unseen.drawn[:2])
    row, column = np.unravel_index(int(np.argmax(heat)), heat.shape)
    assert heat.shape == (8, 8) and 2 <= row <= 5 and 1 <= column <= 6  # where the mark is


def test_each_person_is_tested_once_by_a_network_that_never_saw_them(monkeypatch):
    trained = []

    def record(films, frames, seed):
        trained.append({each.speaker for each in films})
        return realism.Judge(frames).eval()

    monkeypatch.setattr(realism, "train_judge", record)
    films = [film(f"p{k}", k, mark=0) for k in range(5)]
    result, judges = realism.judge_realism(films, folds=2)
    assert len(judges) == 2 and set(result.by_speaker) == {f"p{k}" for k in range(5)}
    assert not trained[0] & trained[1]
    assert trained[0] | trained[1] == set(result.by_speaker)
    assert result.accuracy == 0.5  # the same pictures cannot be told apart
    assert result.ranking == pytest.approx(0.5)


def test_the_ranking_does_not_depend_on_a_persons_own_level(monkeypatch):
    """Everything looks drawn to the network, but what is drawn looks more so."""
    monkeypatch.setattr(realism, "train_judge", lambda films, frames, seed: None)
    monkeypatch.setattr(
        realism, "scores", lambda judge, crops: 300 - crops.mean((1, 2, 3)).astype(np.float32)
    )
    result, _ = realism.judge_realism([film(f"p{k}", k, mark=60) for k in range(4)])
    assert result.accuracy == 0.5 and result.ranking > 0.95


def test_clips_are_judged_by_how_they_change():
    judge = realism.Judge(4)
    clips = realism.scores(judge.eval(), film("p", 0, mark=30).drawn)
    assert clips.shape == (5,)  # half-overlapping clips of 4 in 12 frames


def test_a_crop_is_fixed_to_the_skull():
    image = np.zeros((400, 600, 3), np.uint8)
    image[198:203, 298:303] = 255
    middle = np.array([0.0, 1.0, 0.0], np.float32)
    for scale in (60.0, 300.0):
        pose = Pose(
            np.eye(3, dtype=np.float32)[None],
            np.array([scale], np.float32),
            np.array([[300.0, 200.0 - scale, 0.0]], np.float32),
        )
        crop = realism.crop_mouth(image, pose, 0, middle)
        ys, xs = np.nonzero(crop[..., 0] > crop.max() / 2)
        assert crop.shape == (SIDE, SIDE, 3)
        assert abs(ys.mean() - SIDE / 2) < 1.5 and abs(xs.mean() - SIDE / 2) < 1.5


def test_the_codec_keeps_size_and_count():
    images = [np.full((SIDE, SIDE, 3), 10 * k, np.uint8) for k in range(5)]
    out = realism.through_codec(images)
    assert out.shape == (5, SIDE, SIDE, 3)
    assert np.abs(out.astype(int) - np.stack(images)).max() <= 4
