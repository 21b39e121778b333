"""Baseline motions do what their names say."""

import numpy as np
import pytest
from helpers.speechlike import speechlike

from heygem.evaluation import baselines, motion_metrics
from heygem.face import topology as topo
from heygem.face.topology import LOWER


@pytest.fixture
def library():
    """Ten seconds of one mouth: [250, L, 3], opening by a speech-like curve."""
    times, gap = speechlike(10, seed=2)
    shapes = np.zeros((len(gap), len(LOWER), 3), np.float32)
    shapes[:, np.flatnonzero(LOWER == topo.LIP_MIDDLE[1])[0], 1] = gap
    return times, gap, shapes


def test_baselines_without_audio(library):
    _, gap, shapes = library
    assert np.array_equal(baselines.static_mouth(shapes, 7), np.zeros((7, len(LOWER), 3)))
    assert np.allclose(baselines.mean_mouth(shapes, 3)[1], shapes.mean(0))
    copied = baselines.source_copy(shapes, 400)
    assert np.array_equal(copied[:250], shapes)
    assert np.array_equal(copied[250], shapes[248])  # ping-pong, the last frame is not doubled


def test_energy_jaw_follows_loudness_with_the_spread_of_the_person(library):
    times, gap, shapes = library
    level = 200 * gap - 60 + np.random.default_rng(0).normal(0, 2, len(gap))
    motion = baselines.energy_jaw(shapes, level, level[::-1])
    lower = np.flatnonzero(LOWER == topo.LIP_MIDDLE[1])[0]
    assert motion_metrics.correlation(motion[:, lower, 1], gap[::-1]) > 0.8
    assert motion_metrics.amplitude_ratio(motion[:, lower, 1], gap) == pytest.approx(1, abs=0.05)


def test_loudness_is_in_decibels_of_full_scale():
    tone = np.sin(2 * np.pi * 200 * np.arange(32000) / 16000).astype(np.float32)
    tone[16000:] = 0
    level = baselines.loudness_db(tone, np.array([0.5, 1.5]))
    assert level[0] == pytest.approx(-3, abs=0.2) and level[1] == -60


def test_nearest_audio_finds_the_same_audio_again(library):
    times, _, shapes = library
    mel = np.random.default_rng(1).normal(size=(1000, 20)).astype(np.float32)
    excerpt = mel[300:700]
    motion = baselines.nearest_audio(shapes, mel, times, excerpt, times[:75] + 0.2)
    assert np.array_equal(motion[:75], shapes[80:155])


def test_shifted_audio_is_the_same_audio_elsewhere():
    samples = np.arange(64000, dtype=np.float32)
    assert np.array_equal(np.sort(baselines.shift_audio(samples)), samples)
    assert baselines.shift_audio(samples)[0] == 32000
    with pytest.raises(ValueError, match="too short"):
        baselines.shift_audio(samples[:20000])


def test_ping_pong_runs_forwards_and_backwards():
    assert baselines.ping_pong(3, 8).tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
    assert baselines.ping_pong(1, 3).tolist() == [0, 0, 0]
    assert baselines.ping_pong(5, 2).tolist() == [0, 1]
