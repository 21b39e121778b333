"""Coverage of mouth shapes and poses."""

from dataclasses import replace

import numpy as np
import pytest

from heygem import avatar
from heygem.config.params import FaceSettings
from heygem.finetune import coverage


@pytest.mark.slow
def test_missing_mouth_shapes_are_named(own_home, footage):
    primary = avatar.load(footage[0], FaceSettings())
    whole = coverage.measure(primary)
    assert whole.counts["closed"].sum() > 3 and whole.frames_per_pose.sum() == primary.usable.sum()
    lacking = replace(whole, counts={k: v * (k != "rounded") for k, v in whole.counts.items()})
    (sentence,) = [w for w in lacking.words if "rounded" in w]
    assert "'oo'" in sentence and "straight ahead" in sentence and "record" in sentence
    figure = coverage.plot(lacking)
    assert len(figure.axes) == 9


def test_mouth_shapes_by_aperture_and_width():
    aperture = np.array([0.0, 0.05, 0.05, 0.12, 0.05])
    width = np.array([0.05, 0.05, -0.05, 0.0, 0.0])
    rows = {k: np.flatnonzero(v).tolist() for k, v in coverage.classify(aperture, width).items()}
    assert rows == {"closed": [0], "spread": [1], "rounded": [2], "wide open": [3]}


def table(**cells):
    """3 x 3 zeros but for cells named by yaw and pitch, such as `y1p0`."""
    values = np.zeros((3, 3), int)
    for name, count in cells.items():
        values[int(name[1]), int(name[3])] = count
    return values


def coverage_of(frames_per_pose, **counts):
    empty = np.zeros(0, np.float32)
    every = {name: counts.get(name.split()[0], np.full((3, 3), 9)) for name in coverage.MOUTHS}
    return coverage.Coverage(empty, empty, np.zeros((0, 2), int), frames_per_pose, every)


def test_only_poses_of_the_shown_video_can_lack_a_mouth_shape():
    frames_per_pose = table(y1p1=90, y0p1=8, y2p2=2)  # the last has less than 4 %
    covered = coverage_of(frames_per_pose, spread=table(y1p1=2, y2p1=50))
    assert covered.missing == [("spread", 1, 1), ("spread", 0, 1)]
    (sentence,) = covered.words
    assert "straight ahead or to the left of the picture" in sentence and "'ee'" in sentence
    assert coverage_of(frames_per_pose).words == []


def test_poses_in_words():
    assert coverage.pose_words(1, 1) == "straight ahead"
    assert coverage.pose_words(2, 0) == "to the right of the picture and up"
