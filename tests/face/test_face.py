"""Finding, following and measuring a face."""

from types import SimpleNamespace

import numpy as np
import pytest

from heygem.face import topology as topo
from heygem.face import tracking
from heygem.face.detector import Region, region_of
from heygem.face.pose import (
    Pose,
    aperture,
    fit_pose,
    from_canonical,
    mouth_width,
    smooth,
    to_canonical,
)
from heygem.face.rest import fit_rest
from heygem.face.topology import LOWER, LOWER_WEIGHT


def frames(images):
    return [SimpleNamespace(index=i, time_s=i / 25, image=im) for i, im in enumerate(images)]


def follow(images, backend, **more):
    h, w = images[0].shape[:2]
    return tracking.track(frames(images), backend, width=w, height=h, **more)


@pytest.fixture(scope="module")
def mesh(hopper, faces):
    """One real mesh, float32 [468, 3]."""
    return follow([hopper], faces).points[0]


def turned(shape, yaw_deg, scale, shift):
    a = np.radians(yaw_deg)
    turn = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    return shape @ turn.T * scale + shift


def test_one_face_is_found_where_it_is(hopper, faces):
    (region,) = faces.detect(hopper)
    assert np.hypot(*(region.centre - (268, 228))) < 15  # the middle of her face
    assert 150 < region.face_px < 260


def test_nobody_is_found_in_noise(faces):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    assert faces.detect(noise) == []


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


def test_a_lost_face_is_found_again_and_the_gap_is_known(hopper, faces):
    nothing = np.full_like(hopper, 90)
    track = follow([hopper] * 4 + [nothing] * 3 + [hopper] * 5, faces)
    assert track.detected.tolist() == [True] * 4 + [False] * 3 + [True] * 5
    assert track.runs == [(0, 4), (7, 12)]


def test_a_cut_is_seen_and_a_moving_head_is_none(hopper, faces):
    sway = [np.roll(hopper, k * 3, 1) for k in range(6)]
    other = np.ascontiguousarray(255 - hopper[:, ::-1])
    track = follow(sway + [other], faces)
    assert track.cut.tolist() == [False] * 6 + [True]


@pytest.mark.parametrize(
    "choose, expected_x", [("largest", 600), (0, 150), (1, 600), ((0, 0, 300, 300), 150)]
)
def test_of_two_faces_the_wanted_one_is_followed(hopper, faces, choose, expected_x):
    import cv2

    picture = np.full((600, 900, 3), 80, np.uint8)
    small = cv2.resize(hopper, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    picture[100 : 100 + small.shape[0], : small.shape[1]] = small
    picture[:, 388:900] = hopper
    start, most = tracking.survey([picture] * 2, faces, choose)
    assert most == 2
    track = follow([picture] * 2, faces, start=start, faces=most)
    assert abs(track.points[1][:, 0].mean() - expected_x) < 120
    assert "2 faces" in track.notes[0]


def test_pose_of_a_known_turn(mesh):
    _, template = fit_pose(mesh[None], sigma_frames=0)
    yaws = np.array([-25.0, -5.0, 0.0, 12.0, 28.0])
    points = np.stack([turned(template, y, 80 + y, (200, 150, 0)) for y in yaws])
    pose, _ = fit_pose(points, sigma_frames=0, template=template)
    assert np.allclose(pose.angles_deg[:, 0], yaws, atol=0.1)
    assert np.allclose(pose.scale, 80 + yaws, rtol=1e-3)
    assert np.allclose(to_canonical(points, pose), template, atol=1e-3)
    back = from_canonical(to_canonical(points, pose), pose)
    assert np.allclose(back, points, atol=1e-2)


def test_speech_does_not_move_the_head(mesh):
    loud = mesh.copy()
    loud[LOWER, 1] += 15
    quiet, template = fit_pose(mesh[None], sigma_frames=0)
    spoken, _ = fit_pose(loud[None], sigma_frames=0, template=template)
    assert np.allclose(quiet.offset, spoken.offset, atol=0.05)
    assert np.allclose(quiet.angles_deg, spoken.angles_deg, atol=0.05)


def test_rest_is_the_shut_mouth_and_knows_nothing_of_the_words(mesh):
    rng = np.random.default_rng(0)
    _, template = fit_pose(mesh[None], sigma_frames=0)
    shut = template.copy()
    middle = shut[list(topo.LIP_MIDDLE), 1].mean()
    shut[topo.LIPS_INNER, 1] = middle
    talk = np.repeat(shut[None], 200, 0)
    opening = np.abs(rng.normal(0, 0.1, 200)).astype(np.float32)
    talk[:, topo.INNER_LOWER[1:-1], 1] += opening[:, None]
    yaws = rng.uniform(-20, 20, 200)
    points = np.stack([turned(t, y, 100, (300, 300, 0)) for t, y in zip(talk, yaws, strict=True)])
    pose, own = fit_pose(points, sigma_frames=0)
    canonical = to_canonical(points, pose)
    rest = fit_rest(canonical, pose)
    assert aperture(rest.neutral) < 0.03 < opening.mean()
    same_pose = pose[np.zeros(5, int)]
    assert np.ptp(rest.at(same_pose), axis=0).max() == 0


def test_rest_is_relaxed_although_most_shut_mouths_are_pursed(mesh):
    _, template = fit_pose(mesh[None], sigma_frames=0)
    shut = template.copy()
    shut[topo.LIPS_INNER, 1] = shut[list(topo.LIP_MIDDLE), 1].mean()
    middle_x = shut[topo.LIPS_INNER, 0].mean()
    frames = np.repeat(shut[None], 200, 0)
    lips = np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])
    frames[:, topo.INNER_LOWER[1:-1], 1] += (0.08 + 0.06 * np.sin(np.arange(200)))[:, None]
    for start in range(10, 200, 10):  # a short, pursed m every ten frames
        frames[start : start + 2] = shut
        frames[start : start + 2, lips, 0] = middle_x + 0.75 * (shut[lips, 0] - middle_x)
    # One pursed hole that the mesh's middle calls shut, and one real pause.
    frames[150:158, topo.INNER_LOWER[1:-1]] = shut[topo.INNER_LOWER[1:-1]]
    frames[150:158, topo.INNER_LOWER[[3, 4, 6, 7]], 1] += 0.04
    frames[188:197] = shut
    pose = Pose(np.repeat(np.eye(3)[None], 200, 0), np.ones(200), np.zeros((200, 3)))
    rest = fit_rest(frames.astype(np.float32), pose)
    assert mouth_width(rest.neutral) == pytest.approx(mouth_width(shut), rel=0.02)
    gaps = rest.neutral[topo.INNER_LOWER, 1] - rest.neutral[topo.INNER_UPPER, 1]
    assert gaps.max() < 0.005


def test_smoothing_stops_at_a_cut_and_delays_nothing():
    step = np.r_[np.zeros(10), np.ones(10)]
    assert np.array_equal(smooth(step, [(0, 10), (10, 20)], 2.0), step)
    across = smooth(step, [(0, 20)], 2.0)
    assert across[9] == pytest.approx(1 - across[10])  # symmetric about the step


def test_what_speech_moves_is_the_lower_face():
    lower = set(LOWER.tolist())
    assert set(topo.LIPS_OUTER) | set(topo.LIPS_INNER) <= lower
    assert not lower & {33, 133, 362, 263, 10, 4, 1}  # eye corners, forehead, nose tip
    assert LOWER_WEIGHT.min() > 0 and LOWER_WEIGHT.max() == 1


def test_region_follows_the_mesh(mesh):
    region = region_of(mesh)
    assert isinstance(region, Region)
    assert abs(region.angle) < 0.3
    assert region.size_px == pytest.approx(1.5 * np.ptp(mesh[:, :2], axis=0).max())
