"""Following a face through images."""

import cv2
import numpy as np
import pytest
from helpers.faces import follow

from heygem.face import topology as topo
from heygem.face import tracking
from heygem.face.tracking import eye_clarity


def test_the_mesh_moves_with_the_picture(hopper, faces):
    moved = np.roll(hopper, (7, -11), (0, 1))
    track = follow([hopper, moved], faces)
    shift = (track.points[1] - track.points[0])[:, :2]
    assert np.abs(np.median(shift, 0) - (-11, 7)).max() < 1.0


def test_scale_of_the_picture_is_scale_of_the_mesh(hopper, faces):
    half = follow([hopper[::2, ::2]], faces).points[0]
    full = follow([hopper], faces).points[0]
    # Pixel centres are at integers: the half picture's pixel i is the whole one's 2 i.
    assert np.abs(np.median(half[:, :2] * 2 - full[:, :2], 0)).max() < 1.5


def test_a_lost_face_is_detected_again_and_the_gap_is_recorded(hopper, faces):
    nothing = np.full_like(hopper, 90)
    track = follow([hopper] * 4 + [nothing] * 3 + [hopper] * 5, faces)
    assert track.detected.tolist() == [True] * 4 + [False] * 3 + [True] * 5
    assert track.runs == [(0, 4), (7, 12)]


def test_a_cut_is_recorded_and_a_moving_head_is_none(hopper, faces):
    sway = [np.roll(hopper, k * 3, 1) for k in range(6)]
    other = np.ascontiguousarray(255 - hopper[:, ::-1])
    track = follow(sway + [other], faces)
    assert track.cut.tolist() == [False] * 6 + [True]


@pytest.mark.parametrize(
    "select, expected_x", [("largest", 600), (0, 150), (1, 600), ((0, 0, 300, 300), 150)]
)
def test_of_two_faces_the_selected_one_is_followed(hopper, faces, select, expected_x):
    picture = np.full((600, 900, 3), 80, np.uint8)
    small = cv2.resize(hopper, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    picture[100 : 100 + small.shape[0], : small.shape[1]] = small
    picture[:, 388:900] = hopper
    start, most = tracking.survey([picture] * 2, faces, select)
    assert most == 2
    track = follow([picture] * 2, faces, start=start, faces=most)
    assert abs(track.points[1][:, 0].mean() - expected_x) < 120
    assert "2 faces" in track.notes[0]


def test_eye_clarity_falls_with_blur_and_hardly_with_size(hopper, mesh):
    sharp = eye_clarity(hopper, mesh)
    blurred = eye_clarity(cv2.GaussianBlur(hopper, (0, 0), 4), mesh)
    half = cv2.resize(hopper, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert blurred < 0.5 * sharp < eye_clarity(half, mesh * 0.5)
    assert eye_clarity(hopper, mesh + 10_000) == 0


def test_face_width_is_the_distance_of_the_temples(hopper, faces):
    track = follow([hopper], faces)
    right, left = track.points[0, list(topo.TEMPLES), :2]
    assert track.face_px[0] == pytest.approx(np.hypot(*(left - right)))
