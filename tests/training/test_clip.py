"""A face track and its sound become a clip on one clock."""

from pathlib import Path

import numpy as np
import pytest
from helpers.training import speech, talking

from heygem.core.errors import InputError
from heygem.face import topology as topo
from heygem.face.tracking import Track
from heygem.lips.features import FEATURE_DIM
from heygem.training.clip import Source, from_track

SOURCE = Source(Path("x.mp4"), "x")


def face_track(seconds, rate, opening):
    """A track of a plain generated face that opens its mouth by `opening(t)` pixels."""
    rng = np.random.default_rng(5)
    face = np.stack(
        [rng.uniform(-100, 100, 468), rng.uniform(-120, 130, 468), rng.uniform(-30, 30, 468)], 1
    )
    face[list(topo.EYE_OUTER)] = [[-60, -30, 0], [60, -30, 0]]
    face[topo.FOREHEAD], face[topo.CHIN] = [0, -110, 0], [0, 130, 0]
    x = np.linspace(-35, 35, 11)
    face[topo.INNER_UPPER] = face[topo.INNER_LOWER] = np.stack([x, 0 * x + 60, 0 * x], 1)
    times = np.arange(int(seconds * rate)) / rate
    points = np.repeat(face[None] + [320, 240, 0], len(times), 0)
    points[:, topo.INNER_LOWER[1:-1], 1] += opening(times)[:, None]
    count = len(times)
    return Track(
        points=points.astype(np.float32),
        detected=np.ones(count, bool),
        cut=np.zeros(count, bool),
        score=np.ones(count, np.float32),
        times_s=times,
        clarity=np.ones(count, np.float32),
        occluded=np.zeros(count, bool),
        width=640,
        height=480,
    )


@pytest.mark.slow
def test_track_and_sound_become_a_clip_on_one_clock():
    """29.97 fps in, 50 Hz out: an opening at 3 s is at row 150, a tenth of the IOD high."""
    track = face_track(4.0, 30000 / 1001, lambda t: 12 * np.exp(-(((t - 3) / 0.1) ** 2)))
    track.detected[30:45] = False
    samples, _ = speech(4.0, np.random.default_rng(0))
    clip = from_track(SOURCE, track, samples)
    assert len(clip.displacement) == 200 and clip.features.shape == (400, FEATURE_DIM)
    assert abs(int(clip.aperture.argmax()) - 150) <= 1
    assert clip.aperture.max() == pytest.approx(0.1, abs=0.02)
    assert clip.iod_px == pytest.approx(120, rel=0.01)
    assert not clip.valid[55:70].any() and clip.valid[80:190].all()


def test_too_little_of_a_face_is_refused():
    track = face_track(2.0, 25, np.zeros_like)
    track.detected[10:] = False
    with pytest.raises(InputError, match="too little of a face"):
        from_track(SOURCE, track, np.zeros(32000, np.float32))


@pytest.mark.slow
def test_a_shifted_clip_has_its_picture_earlier():
    clip = talking("a", 1)
    earlier = clip.shifted(0.1)
    np.testing.assert_allclose(earlier.aperture[:-5], clip.aperture[5:], atol=1e-5)
    assert earlier.valid[:-5].all() and not earlier.valid[-5:].any()
    between = clip.shifted(0.11)  # half a row further
    middle = (clip.aperture[5:-1] + clip.aperture[6:]) / 2
    np.testing.assert_allclose(between.aperture[:-6], middle, atol=1e-5)
    assert clip.shifted(0.001).displacement is clip.displacement


@pytest.mark.slow
def test_speaking_rows_have_a_face_and_a_voice():
    clip = talking("a", 1, seconds=2.0)
    clip.voice[100:] = 0
    clip.valid[:10] = False
    assert np.flatnonzero(clip.speaking).tolist() == list(range(10, 50))
