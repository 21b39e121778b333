"""Smiles that come and go in a video, apart from speech."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from heygem.avatar.expression import LARGEST, slow_expression
from heygem.face import topology as topo
from heygem.face.pose import Pose
from heygem.face.topology import LOWER

RATE_HZ, SCALE = 25, 100.0
T = 500  # frames
SECONDS = np.arange(T) / RATE_HZ
SMILE = 0.04 * np.exp(-(((SECONDS - 10) / 3) ** 2))  # IOD, of each corner
SPEECH = 0.03 * np.sin(2 * np.pi * 4 * SECONDS)


@dataclass
class CornerTrack:
    """Corners that move apart by `apart` [T] IOD each, on a head that looks into the camera."""

    apart: np.ndarray
    cut: np.ndarray

    def __post_init__(self):
        self.times_s = np.arange(len(self.apart)) / RATE_HZ
        self.points = np.zeros((len(self.apart), 468, 3), np.float32)
        for point, side in zip(topo.MOUTH_CORNERS, (-1, 1), strict=True):
            self.points[:, point, 0] = side * SCALE * (0.3 + self.apart)

    def __len__(self):
        return len(self.apart)


def expression(apart, *, usable=None, speaking=None, cut=None):
    count = len(apart)
    track = CornerTrack(apart, np.zeros(count, bool) if cut is None else cut)
    pose = Pose(
        np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
        np.full(count, SCALE, np.float32),
        np.zeros((count, 3), np.float32),
    )
    rest = SimpleNamespace(at=lambda pose: np.zeros((len(pose.scale), len(LOWER), 3), np.float32))
    usable = np.ones(count, bool) if usable is None else usable
    corners = slow_expression(track, pose, rest, usable, speaking)
    assert corners.shape == (count, 2, 2) and np.abs(corners[..., 1]).max() < 1e-6
    np.testing.assert_allclose(corners[:, 0, 0], -corners[:, 1, 0], atol=1e-6)
    return corners[:, 1, 0]


def test_a_smile_stays_and_the_movement_of_speech_goes():
    slow = expression(SMILE + SPEECH)
    assert slow - slow.min() == pytest.approx(SMILE - SMILE.min(), abs=0.004)
    assert slow.mean() == pytest.approx(0, abs=1e-3)


def test_speech_that_is_wider_than_rest_is_no_smile():
    speaking = SECONDS < 10
    assert np.abs(expression(np.where(speaking, 0.05, 0), speaking=speaking)).max() < 1e-6
    assert np.abs(expression(np.where(speaking, 0.05, 0))).max() > 0.02  # the sound does not tell


def test_unusable_frames_do_not_count_and_have_what_is_near():
    usable = np.abs(SECONDS - 10) > 0.2
    hidden = np.where(usable, SMILE, 5.0)
    seen, all_seen = expression(hidden, usable=usable), expression(SMILE)
    assert seen - seen.min() == pytest.approx(all_seen - all_seen.min(), abs=0.003)
    gone = SECONDS > 5
    assert np.abs(expression(SMILE, usable=~gone)[300:]).max() == 0


def test_it_does_not_reach_across_a_cut_and_has_a_limit():
    smiling = np.where(SECONDS < 10, 0.5, 0)
    slow = expression(smiling, cut=np.arange(T) == 250)
    assert slow[:250] == pytest.approx(LARGEST) and slow[250:] == pytest.approx(-LARGEST)
