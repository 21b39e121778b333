"""A still portrait that moves: its curves, and whether its mesh goes where its picture goes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from heygem import media
from heygem.audio import RATE_HZ
from heygem.avatar import loading
from heygem.avatar.still_animation import animate
from heygem.avatar.still_eyes import wears_glasses
from heygem.avatar.still_motion import LIMIT_DEG, loudness_of, plan_motion
from heygem.avatar.timeline import frames_in_order, planes_in_order
from heygem.config.params import FaceSettings
from heygem.core import assets
from heygem.face.attention_mesh import AttentionEyes
from heygem.face.detector import region_of

COLLINS = Path(__file__).parents[2] / "samples" / "collins.mp4"
RATE = 25.0
NOISE = np.random.default_rng(0).standard_normal(3 * RATE_HZ).astype(np.float32)


@pytest.fixture(scope="module")
def portrait(faces, tmp_path_factory):
    """A still portrait without glasses: the first frame of a sample."""
    path = tmp_path_factory.mktemp("still") / "collins.png"
    with media.VideoReader(COLLINS) as reader:
        Image.fromarray(next(iter(reader)).image).save(path)
    return loading.load(path, FaceSettings(), backend=faces, cache=False)


@pytest.fixture(scope="module")
def moving(portrait):
    return animate(portrait, NOISE, RATE_HZ, 1.5)


def test_curves_are_repeatable_slow_and_small():
    loudness = np.abs(np.sin(np.arange(3000) / 7)).astype(np.float32)
    motion = plan_motion(loudness, RATE, 1.0, [1])
    again, other = (plan_motion(loudness, RATE, 1.0, [seed]) for seed in (1, 2))
    assert np.array_equal(motion.turn_deg, again.turn_deg)
    assert not np.allclose(motion.turn_deg, other.turn_deg)
    assert np.abs(motion.turn_deg).max() < LIMIT_DEG
    assert (motion.turn_deg.std(0) > 0.5).all() and (motion.turn_deg.std(0) < 2).all()
    yaw = np.abs(np.fft.rfft(motion.turn_deg[:, 0])) ** 2
    fast = np.fft.rfftfreq(3000, 1 / RATE) > 2
    assert yaw[fast].sum() < 0.02 * yaw.sum()


def test_blinks_are_apart_and_fall_into_pauses():
    loudness = np.tile(np.repeat([1.0, 0.0], [40, 10]), 60)  # 1.6 s of speech, 0.4 s of pause
    lids = plan_motion(loudness, RATE, 1.0, [3]).lids
    begins = np.flatnonzero((lids[1:] > 0) & (lids[:-1] == 0))
    assert 20 < len(begins) < 50 and np.diff(begins).min() >= RATE - 1  # two minutes
    assert lids.max() == 1 and loudness[begins].mean() < 0.6  # of the time, 0.8 is speech


def test_a_stressed_syllable_nods():
    loudness = np.zeros(200)
    loudness[100:104] = 1
    with_stress, without = (plan_motion(x, RATE, 1.0, [5]) for x in (loudness, 0 * loudness))
    nod = with_stress.turn_deg[:, 1] - without.turn_deg[:, 1]
    assert 99 <= np.argmax(nod) <= 105 and nod.max() > 0.2


def test_loudness_is_relative_to_the_voice():
    samples = np.concatenate([np.zeros(RATE_HZ), 0.01 * NOISE[:RATE_HZ]]).astype(np.float32)
    times_s = np.array([0.5, 1.5])
    quiet, loud = loudness_of(samples, RATE_HZ, times_s)
    assert quiet == 0 and loud > 0.8
    assert loudness_of(np.zeros(100, np.float32), RATE_HZ, times_s).max() == 0


def test_without_movement_and_for_a_video_nothing_changes(portrait):
    assert animate(portrait, NOISE, RATE_HZ, 0.0) is portrait
    two = replace(portrait.track, detected=np.ones(2, bool))
    video = replace(portrait, track=two)
    assert animate(video, NOISE, RATE_HZ, 1.0) is video


def test_the_mesh_goes_where_the_picture_goes(moving, faces):
    frames = np.argsort(-np.abs(moving.animation.motion.turn_deg[:, 0]))[:3]
    for frame, image in zip(frames, frames_in_order(moving, frames), strict=True):
        expected = moving.track.points[frame]
        found, score = faces.mesh(image, region_of(expected))
        error = np.linalg.norm(found[:, :2] - expected[:, :2], axis=1) / moving.pose.scale[frame]
        assert score > 0.9 and np.median(error) < 0.02


def test_the_head_turns_as_planned(moving, portrait):
    turned = moving.pose.angles_deg - portrait.pose.angles_deg
    planned = moving.animation.motion.turn_deg
    for angle in range(3):
        assert np.corrcoef(turned[:, angle], planned[:, angle])[0, 1] > 0.95
        assert 0.7 < np.polyfit(planned[:, angle], turned[:, angle], 1)[0] < 1.15


def test_the_edges_of_the_picture_stay(moving, portrait):
    (still,) = frames_in_order(portrait, np.zeros(1, int))
    frame = int(np.argmax(np.abs(moving.animation.motion.turn_deg[:, 1])))
    (image,) = frames_in_order(moving, np.array([frame]))
    assert not np.array_equal(image, still)
    for edge in (np.s_[:2], np.s_[-2:], np.s_[:, :2], np.s_[:, -2:]):
        assert np.array_equal(image[edge], still[edge])


def test_planes_and_rgb_show_the_same(moving):
    frames = np.array([10, 40])
    coding = moving.info.video.coding
    for image, planes in zip(
        frames_in_order(moving, frames), planes_in_order(moving, frames, coding), strict=True
    ):
        difference = np.abs(image.astype(int) - planes.rgb())
        assert difference.mean() < 2.0


def test_eyes_close(moving, portrait):
    motion = moving.animation.motion
    closed = replace(motion, lids=np.ones_like(motion.lids), turn_deg=0 * motion.turn_deg)
    shut = replace(moving, animation=replace(moving.animation, motion=closed))
    (still,) = frames_in_order(portrait, np.zeros(1, int))
    (image,) = frames_in_order(shut, np.zeros(1, int))
    eyes = AttentionEyes(assets.path("face_landmark_with_attention.tflite"))
    openings = []
    for picture in (still, image):
        points = eyes(picture, portrait.track.points[0])[:, :2]
        gaps = [np.linalg.norm(points[a] - points[b]) for a, b in ((159, 145), (386, 374))]
        openings.append(np.mean(gaps))
    assert openings[1] < 0.6 * openings[0]


def test_lids_behind_glasses_stay_open(portrait, moving, hopper_avatar):
    for person, expected in ((portrait, False), (hopper_avatar, True)):
        (image,) = frames_in_order(person, np.zeros(1, int))
        scale = float(person.pose.scale[0])
        assert wears_glasses(image, person.track.points[0], scale) == expected
    speech = np.tile(NOISE, 5)
    assert animate(hopper_avatar, speech, RATE_HZ, 1.0).animation.motion.lids.max() == 0
    assert animate(portrait, speech, RATE_HZ, 1.0).animation.motion.lids.max() == 1
