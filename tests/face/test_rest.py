"""The rest shape, from made-up speech of a known mouth."""

import numpy as np
import pytest
from helpers.faces import rotation_about_y, turned

from heygem.face import topology as topo
from heygem.face.pose import Pose, aperture, fit_pose, mouth_width, to_canonical
from heygem.face.rest import RestShape, fit_rest
from heygem.face.topology import LOWER


def test_rest_is_the_closed_mouth_and_does_not_depend_on_speech(mesh):
    rng = np.random.default_rng(0)
    _, template = fit_pose(mesh[None], sigma_frames=0)
    closed = template.copy()
    middle = closed[list(topo.LIP_MIDDLE), 1].mean()
    closed[topo.LIPS_INNER, 1] = middle
    speech = np.repeat(closed[None], 200, 0)
    opening = np.abs(rng.normal(0, 0.1, 200)).astype(np.float32)
    speech[:, topo.INNER_LOWER[1:-1], 1] += opening[:, None]
    yaws = rng.uniform(-20, 20, 200)
    points = np.stack([turned(t, y, 100, (300, 300, 0)) for t, y in zip(speech, yaws, strict=True)])
    pose, _ = fit_pose(points, sigma_frames=0)
    canonical = to_canonical(points, pose)
    rest = fit_rest(canonical, pose)
    assert aperture(rest.neutral) < 0.03 < opening.mean()
    same_pose = pose[np.zeros(5, int)]
    assert np.ptp(rest.at(same_pose), axis=0).max() == 0


def test_rest_is_relaxed_although_most_closed_mouths_are_pursed(mesh):
    _, template = fit_pose(mesh[None], sigma_frames=0)
    closed = template.copy()
    closed[topo.LIPS_INNER, 1] = closed[list(topo.LIP_MIDDLE), 1].mean()
    middle_x = closed[topo.LIPS_INNER, 0].mean()
    frames = np.repeat(closed[None], 200, 0)
    lips = np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])
    frames[:, topo.INNER_LOWER[1:-1], 1] += (0.08 + 0.06 * np.sin(np.arange(200)))[:, None]
    for start in range(10, 200, 10):  # a short, pursed m every ten frames
        frames[start : start + 2] = closed
        frames[start : start + 2, lips, 0] = middle_x + 0.75 * (closed[lips, 0] - middle_x)
    # One pursed hole that the mesh's middle calls closed, and one real pause.
    frames[150:158, topo.INNER_LOWER[1:-1]] = closed[topo.INNER_LOWER[1:-1]]
    frames[150:158, topo.INNER_LOWER[[3, 4, 6, 7]], 1] += 0.04
    frames[188:197] = closed
    pose = Pose(np.repeat(np.eye(3)[None], 200, 0), np.ones(200), np.zeros((200, 3)))
    rest = fit_rest(frames.astype(np.float32), pose)
    assert mouth_width(rest.neutral) == pytest.approx(mouth_width(closed), rel=0.02)
    gaps = rest.neutral[topo.INNER_LOWER, 1] - rest.neutral[topo.INNER_UPPER, 1]
    assert gaps.max() < 0.005


def test_rest_bends_with_the_head_up_to_the_fitted_reach():
    bend = np.zeros((3, len(LOWER), 3), np.float32)
    bend[0, :, 0] = 0.001  # 0.001 IOD to the side a degree of yaw
    neutral = np.zeros((topo.POINTS, 3), np.float32)
    rest = RestShape(neutral, np.float32([5, 0, 0]), np.float32([10, 1, 1]), bend)
    rotation = np.stack([rotation_about_y(yaw) for yaw in (5.0, 10.0, 40.0)])
    shape = rest.at(Pose(rotation, np.ones(3), np.zeros((3, 3))))
    np.testing.assert_allclose(shape[:, 0, 0], [0, 0.005, 0.01], atol=1e-6)
