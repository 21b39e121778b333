"""Boxes that the visible label keeps clear of: the face over the whole clip."""

from types import SimpleNamespace

import numpy as np

from heygem.config.params import LabelSettings
from heygem.pipeline import face_boxes
from heygem.provenance import VisibleLabel

FRAMES, RATE = 1500, 25


def avatar_at(centres, detected=None):
    """An avatar whose face, 100 px wide, is at a centre (x, y) in each frame."""
    corners = np.array([[-50, -60, 0], [50, 60, 0]], np.float32)
    points = np.pad(np.asarray(centres, np.float32), ((0, 0), (0, 1)))[:, None] + corners
    track = SimpleNamespace(
        points=points,
        times_s=np.arange(len(centres)) / RATE,
        detected=np.ones(len(centres), bool) if detected is None else detected,
    )
    return SimpleNamespace(track=track)


def test_a_single_frame_counts():
    centres = np.tile([640, 400], (FRAMES, 1))
    for frame in (1, 700, 1498):  # none of 500 evenly spaced ones
        centres[frame] = [90, 80]
    boxes = face_boxes(avatar_at(centres))
    label = VisibleLabel(LabelSettings(), 1280, 720, keep_clear=boxes)
    assert label.notes == ["visible label moved to top-right, clear of the face"]


def test_frames_in_which_the_tracker_lost_the_face_lie_between_those_it_did_not():
    centres = np.stack([np.linspace(100, 1100, RATE), np.full(RATE, 80)], 1)  # across in a second
    detected = np.zeros(RATE, bool)
    detected[[0, -1]] = True
    (box,) = face_boxes(avatar_at(centres, detected))
    assert box[0] == 50 and box[2] == 1150


def test_without_a_face_there_is_nothing_to_keep_clear():
    none = np.zeros(10, bool)
    assert face_boxes(avatar_at(np.zeros((10, 2)), none)).shape == (0, 4)
