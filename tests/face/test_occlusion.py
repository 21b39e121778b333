"""Occlusion, from colours of made-up frames."""

import numpy as np

from heygem.face import topology as topo
from heygem.face.occlusion import MIN_FRAMES, NO_COLOURS, occluded_frames, skin_colours
from heygem.face.template import TEMPLATE

POINTS = len(NO_COLOURS)
MOUTH = POINTS - len(topo.STABLE)  # the points around the mouth come first


def skin(frames, seed=0):
    """Colours of a face whose light drifts, with the camera's noise : uint8 [T, P, 3]."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(90, 180, (POINTS, 3))
    light = 15 * np.sin(np.arange(frames) / 9)[:, None, None]
    return np.clip(base + light + rng.normal(0, 2, (frames, POINTS, 3)), 0, 255).astype(np.uint8)


def occluded(colours, detected=None, cuts=None):
    count = len(colours)
    detected = np.ones(count, bool) if detected is None else detected
    cuts = np.zeros(count, bool) if cuts is None else cuts
    return np.flatnonzero(occluded_frames(colours, detected, cuts)).tolist()


def test_changing_light_is_no_occlusion():
    assert occluded(skin(100)) == []


def test_a_hand_occludes_and_so_do_its_arrival_and_departure():
    colours = skin(100)
    colours[40:50, :MOUTH] = 230  # a hand over all of it
    colours[38:40, : int(0.25 * MOUTH)] = 230  # over a quarter, on its way
    colours[70:72, : int(0.25 * MOUTH)] = 230  # a quarter, far from any occlusion
    assert occluded(colours) == list(range(38, 50))


def test_what_is_there_most_of_the_time_belongs_to_the_person():
    colours = skin(100)
    colours[20:80, :MOUTH] = 230
    assert occluded(colours) == []


def test_every_shot_has_its_own_light_and_short_shots_are_not_judged():
    colours = np.concatenate([skin(60, seed=0), skin(60, seed=5)])
    assert occluded(colours, cuts=np.arange(120) == 60) == []
    short = skin(MIN_FRAMES - 1)
    short[5, :MOUTH] = 230
    assert occluded(short) == []


def test_frames_without_a_face_are_left_out():
    colours, detected = skin(100), np.ones(100, bool)
    colours[30:34], detected[30:34] = 0, False
    assert occluded(colours, detected) == []


def test_colours_are_read_at_the_points():
    points = TEMPLATE * 100 + (200, 200, 0)
    image = np.zeros((500, 400, 3), np.uint8)
    image[..., 0] = np.arange(400)[None] // 2  # red is half of x
    colours = skin_colours(image, points)
    assert colours.shape == NO_COLOURS.shape and not colours[:, 1:].any()
    np.testing.assert_allclose(colours[MOUTH:, 0], points[topo.STABLE, 0] / 2, atol=3)
    np.testing.assert_array_equal(skin_colours(image, points + 2000), NO_COLOURS)
