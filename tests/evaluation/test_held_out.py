"""What of a held-out part is judged, and that no threshold comes from it."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation.conftest import HOPPER

from heygem import audio
from heygem.config.params import Params
from heygem.evaluation import rerender
from heygem.evaluation.held_out import build_test_clip
from heygem.face import topology as topo
from heygem.lips.motion import RecordedMotion
from heygem.rendering.warp.renderer import WarpRenderer, replacement_strength

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def samples():
    return audio.load(HOPPER).samples


def test_frames_that_fade_to_the_real_mouth_are_left_out_and_counted(person, samples):
    whole = build_test_clip(person, samples, max_s=4)
    usable = person.avatar.usable.copy()
    usable[whole.frames[40]] = False
    occluded = replace(person, avatar=replace(person.avatar, usable=usable))
    clip = build_test_clip(occluded, samples, max_s=4)
    assert (replacement_strength(occluded.avatar)[clip.frames] == 1).all()
    near = clip.left_out["near_unusable"] - whole.left_out["near_unusable"]
    assert clip.left_out["unusable"] == whole.left_out["unusable"] + 1 and near >= 2
    assert len(clip.frames) == len(whole.frames) - 1 - near
    assert len(clip.real) == len(clip.speech) == len(clip.frames)


def test_the_beginning_of_a_long_part_is_judged_whatever_it_contains(person, samples):
    clip = build_test_clip(person, samples, max_s=2)
    assert clip.times_s[0] - person.split.start_s < 0.1
    assert clip.times_s[-1] < person.split.start_s + 2


def test_the_threshold_of_a_closed_mouth_is_that_of_the_library_part(person, samples):
    track = person.avatar.track
    points = track.points.copy()
    held_out = track.times_s >= person.split.start_s
    points[np.ix_(held_out, topo.LIPS_INNER[11:], [1])] += 0.2 * track.width  # wide open
    gaping = replace(person, avatar=replace(person.avatar, track=replace(track, points=points)))
    clip, changed = (build_test_clip(p, samples, max_s=2) for p in (person, gaping))
    assert changed.real.aperture.mean() > clip.real.aperture.mean() + 0.1
    assert changed.closed_gap == clip.closed_gap


def test_frames_in_which_the_drawn_face_is_not_found_are_left_out_and_counted(
    person, hopper_test_clip, monkeypatch
):
    clip = hopper_test_clip
    count = len(clip.frames)

    class EverySecondFrame:
        """A tracker that finds the face in every second frame only, where it really is."""

        def __init__(self, backend, start):
            self.calls = 0

        def __call__(self, image):
            number = clip.frames[self.calls]
            self.calls += 1
            return (person.avatar.track.points[number] if self.calls % 2 else None,)

    monkeypatch.setattr(rerender.tracking, "Tracker", EverySecondFrame)
    renderer = WarpRenderer(person.avatar, Params().renderer)
    motion = RecordedMotion(person.avatar.displacement(clip.frames))
    rendered = rerender.render_clip(clip, motion, np.zeros(0, np.float32), renderer, None)
    assert rendered.lost == pytest.approx((count // 2) / count)
    assert len(rendered.mouth) == len(rendered.clip.frames) == count - count // 2
    np.testing.assert_array_equal(rendered.clip.frames, clip.frames[::2])
    measures = rerender.image_measures(clip, rendered, same_words=True)
    assert measures["lost_frames"].value == rendered.lost
    assert rerender.compare_with_real(rendered.clip, rendered.mouth)["aperture_corr"].value > 0.99
