"""Two faces by their proportions, whatever their pose, size and expression."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from heygem.core.errors import InputError
from heygem.face import topology as topo
from heygem.finetune import identity_check


def face(seed=0):
    """A generated mesh, about 120 px between the outer eye corners."""
    rng = np.random.default_rng(seed)
    points = np.stack(
        [rng.uniform(-100, 100, 468), rng.uniform(-120, 130, 468), rng.uniform(-30, 30, 468)], 1
    )
    points[list(topo.EYE_OUTER)] = [[-60, -30, 0], [60, -30, 0]]
    points[topo.FOREHEAD], points[topo.CHIN] = [0, -110, 0], [0, 130, 0]
    return points


def video(points, name, *, scale=1.0, seed=1):
    """An avatar of a face that turns and speaks: 50 frames."""
    rng = np.random.default_rng(seed)
    speech = np.setdiff1d(np.arange(468), topo.STABLE)
    frames = []
    for angle in np.deg2rad(rng.uniform(-12, 12, 50)):
        moved = points.copy()
        moved[speech] += rng.normal(0, 3, (len(speech), 3))
        c, s = np.cos(angle), np.sin(angle)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        frames.append(scale * moved @ turn.T + rng.uniform(200, 300, 3))
    track = SimpleNamespace(points=np.array(frames, np.float32))
    return SimpleNamespace(track=track, usable=np.ones(50, bool), path=Path(name))


def widened(points, share):
    """The face with a wider skull below the eyes."""
    other = points.copy()
    low = other[:, 1] > 0
    other[low, 0] *= 1 + share
    return other


def test_one_person_in_another_pose_size_and_expression_is_the_same():
    one, other = video(face(), "a.mp4"), video(face(), "b.mp4", scale=2.5, seed=9)
    difference = identity_check.distance(identity_check.skull(one), identity_check.skull(other))
    assert difference < 0.012
    assert identity_check.check_same_person([one, other]) == []


def test_the_distance_is_a_root_mean_square_in_the_plane():
    one = np.zeros((4, 3))
    other = np.array([[3.0, 4.0, 99.0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert identity_check.distance(one, other) == pytest.approx(np.sqrt(25 / 4))


def test_a_different_face_is_refused_and_a_similar_one_doubted():
    primary = video(face(), "a.mp4")
    differences = {}
    for share in (0.05, 0.3):
        other = video(widened(face(), share), "b.mp4", seed=2)
        skulls = identity_check.skull(primary), identity_check.skull(other)
        differences[share] = identity_check.distance(*skulls)
    assert differences[0.05] < differences[0.3]
    with pytest.raises(InputError, match=r"b\.mp4 seems to show another person than a\.mp4"):
        identity_check.check_same_person([primary, video(face(7), "b.mp4")])


def test_doubts_are_reported(monkeypatch):
    monkeypatch.setattr(identity_check, "distance", lambda one, other: 0.03)
    doubts = identity_check.check_same_person([video(face(), "a.mp4"), video(face(), "b.mp4")])
    assert len(doubts) == 1 and doubts[0].startswith("b.mp4")
