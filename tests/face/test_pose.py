"""Pose fit, canonical frame, smoothing and the two measures of a mouth, against known motion."""

import numpy as np
import pytest
from helpers.faces import rotation_about_y, turned

from heygem.face import topology as topo
from heygem.face.pose import (
    Pose,
    aperture,
    fit_canonical_mesh,
    fit_pose,
    from_canonical,
    mouth_width,
    smooth,
    tilt_deg,
    to_canonical,
    umeyama,
)
from heygem.face.template import TEMPLATE
from heygem.face.topology import LOWER


def test_umeyama_recovers_known_similarities():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(30, 3))
    rotations = np.stack([rotation_about_y(yaw) for yaw in (-70, 0, 40)])
    scales, offsets = np.array([0.5, 1.0, 80.0]), rng.normal(size=(3, 3))
    target = np.einsum("tij,nj->tni", rotations, source) * scales[:, None, None]
    target += offsets[:, None]
    rotation, scale, offset = umeyama(source, target)
    np.testing.assert_allclose(rotation, rotations, atol=1e-9)
    np.testing.assert_allclose(scale, scales)
    np.testing.assert_allclose(offset, offsets, atol=1e-9)


def test_umeyama_never_reflects():
    source = np.random.default_rng(0).normal(size=(30, 3))
    rotation, _, _ = umeyama(source, (source * (-1, 1, 1))[None])
    assert np.linalg.det(rotation[0]) == pytest.approx(1)


def test_the_canonical_mesh_of_turned_heads_is_the_head():
    points = np.stack([turned(TEMPLATE, yaw, 90, (200, 150, 0)) for yaw in (-20, -5, 0, 10, 25)])
    mesh = fit_canonical_mesh(points)
    eyes = mesh[list(topo.EYE_OUTER)]
    np.testing.assert_allclose(eyes.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(eyes[1] - eyes[0], [1, 0, 0], atol=1e-9)
    assert mesh[topo.CHIN, 1] > mesh[topo.FOREHEAD, 1]
    # The same shape as the template, up to a similarity.
    rotation, scale, offset = umeyama(TEMPLATE.astype(np.float64), mesh[None])
    again = TEMPLATE @ rotation[0].T * scale[0] + offset[0]
    np.testing.assert_allclose(again, mesh, atol=1e-4)


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


@pytest.mark.parametrize(
    "axis, expected", [("yaw", (20, 0, 0)), ("pitch", (0, 20, 0)), ("roll", (0, 0, 20))]
)
def test_angles_of_single_rotations(axis, expected):
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    rotation = {
        "yaw": [[c, 0, -s], [0, 1, 0], [s, 0, c]],
        "pitch": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "roll": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis]
    pose = Pose(np.array([rotation]), np.ones(1), np.zeros((1, 3)))
    np.testing.assert_allclose(pose.angles_deg[0], expected, atol=1e-4)


def test_smoothing_stops_at_a_cut_and_delays_nothing():
    step = np.r_[np.zeros(10), np.ones(10)]
    assert np.array_equal(smooth(step, [(0, 10), (10, 20)], 2.0), step)
    across = smooth(step, [(0, 20)], 2.0)
    assert across[9] == pytest.approx(1 - across[10])  # symmetric about the step


def test_aperture_and_width_are_distances_of_their_points():
    shape = np.zeros((2, topo.POINTS, 3), np.float32)
    shape[1, topo.LIP_MIDDLE[1], 1] = 0.25
    shape[1, topo.MOUTH_CORNERS[0]] = (-0.3, 0, 0.4)
    np.testing.assert_allclose(aperture(shape), [0, 0.25])
    np.testing.assert_allclose(mouth_width(shape), [0, 0.5])


def test_a_pose_is_indexed_by_frames():
    pose = Pose(np.stack([np.eye(3)] * 4), np.arange(4.0), np.zeros((4, 3)))
    assert len(pose) == 4 and pose[1:3].scale.tolist() == [1, 2]


def test_the_tilt_of_a_face_in_the_picture():
    faces = np.zeros((4, topo.POINTS, 3), np.float32)
    faces[:, topo.CHIN, :2] = [(0, 100), (100, 0), (-100, 0), (0, -100)]
    np.testing.assert_allclose(tilt_deg(faces), [0, 90, 90, 180])
