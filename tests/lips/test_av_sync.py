"""Lags between curves that were shifted by a known time, and a mouth against its audio."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from heygem import lips
from heygem.lips.av_sync import (
    av_agreement,
    correlation,
    estimate_lag,
    lag_correlations,
    parabola_vertex,
    peak_offset,
)

RATE_HZ = 50.0


@pytest.fixture
def curve():
    """Eight seconds of smooth noise."""
    return gaussian_filter1d(np.random.default_rng(0).normal(size=400), 3)


@pytest.mark.parametrize("options", [{}, {"fixed_window": True}, {"valid": np.ones(400, bool)}])
@pytest.mark.parametrize("rows", [-7, 0, 5])
def test_a_late_signal_has_a_positive_lag(curve, rows, options):
    lag = estimate_lag(np.roll(curve, rows), curve, RATE_HZ, 0.2, **options)
    assert lag.lag_ms == pytest.approx(rows * 20)
    assert lag.corr > 0.97


def test_a_lag_between_rows_is_found(curve):
    rows = np.arange(400)
    late = np.interp(rows - 2.4, rows, curve)
    lag = estimate_lag(late, curve, RATE_HZ, 0.2, refine=True)
    assert lag.lag_s == pytest.approx(0.048, abs=0.002)


def test_rows_that_are_not_valid_do_not_count(curve):
    valid = np.arange(400) < 300
    signal = np.roll(curve, 4)
    signal[320:] = 50.0
    assert estimate_lag(signal, curve, RATE_HZ, 0.2, valid=valid).lag_ms == pytest.approx(80)


def test_correlation_at_each_lag_is_that_of_the_shifted_rows(curve):
    signal = np.random.default_rng(1).normal(size=400)
    corrs = lag_correlations(signal, curve, 6)
    assert corrs[6] == pytest.approx(np.corrcoef(signal, curve)[0, 1])
    assert corrs[6 + 2] == pytest.approx(np.corrcoef(signal[2:], curve[:-2])[0, 1])
    assert corrs[6 - 3] == pytest.approx(np.corrcoef(signal[:-3], curve[3:])[0, 1])


def test_constant_curves_have_no_lag(curve):
    assert np.isnan(correlation(np.ones(400), curve))
    assert estimate_lag(np.ones(400), curve, RATE_HZ, 0.2) is None


def test_parabola_vertex_of_a_known_parabola():
    def parabola(x):
        return 1 - (x - 0.3) ** 2

    assert parabola_vertex(*map(parabola, (-1, 0, 1))) == pytest.approx(0.3)
    assert parabola_vertex(0, 1, 1) == pytest.approx(0.5)
    assert parabola_vertex(1, 1, 1) == 0  # flat: no vertex
    assert peak_offset(np.array([1.0, 2.0]), 1) == 0  # at the end


@pytest.fixture
def spoken():
    """Syllables for four seconds, then silence for four: the audio, and its loudness at 50 Hz."""
    rng = np.random.default_rng(0)
    rhythm = np.maximum(gaussian_filter1d(rng.normal(size=400), 3), 0)
    rhythm[200:] = 0
    samples = np.repeat(rhythm / rhythm.max(), 320) * np.sin(np.arange(128000) * 0.4)
    voice = (np.arange(800) < 400).astype(np.float32)
    audio = SimpleNamespace(speech=SimpleNamespace(samples=samples.astype(np.float32)), voice=voice)
    return audio, np.log10(rhythm**2 / 2 + 1e-6)


@pytest.mark.parametrize("late_rows", [-3, 0, 4])
def test_a_mouth_that_follows_loudness_agrees_at_its_own_offset(spoken, basis, late_rows):
    audio, loudness = spoken
    direction = np.linalg.pinv(lips.aperture_direction(basis)[None])[:, 0]
    aperture = 0.02 * np.roll(loudness, late_rows)
    mouth = lips.Trajectory(np.outer(aperture, direction).astype(np.float32), RATE_HZ, basis)
    measures = av_agreement(mouth, audio)
    assert measures["av_offset_ms"] == late_rows * 20
    assert measures["av_corr"] > 0.95


def test_silence_leakage_is_the_movement_in_silence_over_that_in_speech(spoken, basis):
    audio, _ = spoken
    direction = np.linalg.pinv(lips.aperture_direction(basis)[None])[:, 0]
    aperture = np.sin(np.arange(400)) * np.where(np.arange(400) < 200, 0.1, 0.02)
    mouth = lips.Trajectory(np.outer(aperture, direction).astype(np.float32), RATE_HZ, basis)
    assert av_agreement(mouth, audio)["silence_leakage"] == pytest.approx(0.2, abs=0.01)
    static = lips.Trajectory(np.zeros((400, len(basis)), np.float32), RATE_HZ, basis)
    assert set(av_agreement(static, audio)) == {"silence_leakage"}  # no offset of a static mouth
