"""Each metric of motion tells a good mouth from a bad one, by the amount that was put in."""

import numpy as np
import pytest
from helpers.mouth import mouth
from helpers.speechlike import speechlike

from heygem.evaluation import motion_metrics

RATE_HZ = 25.0


def test_mouth_curves_have_the_gap_and_width_of_the_mesh():
    times, gap = speechlike(4)
    gap = np.abs(gap)
    curves = mouth(gap, times)
    assert np.allclose(curves.aperture, gap, atol=1e-5)
    assert np.allclose(curves.width, 0.8, atol=1e-5)
    assert curves.rate_hz == pytest.approx(RATE_HZ)


def test_mouth_curves_are_interpolated_linearly_and_cut():
    times = np.arange(4) / RATE_HZ
    curves = mouth(np.array([0.0, 0.1, 0.3, 0.3]), times)
    between = curves.at(times[:3] + 0.5 / RATE_HZ)
    assert np.allclose(between.aperture, [0.05, 0.2, 0.3], atol=1e-6)
    assert np.allclose(between.lips, (curves.lips[:-1] + curves.lips[1:]) / 2, atol=1e-6)
    part = curves.part(np.array([False, True, True, False]))
    assert len(part) == 2 and np.array_equal(part.aperture, curves.aperture[1:3])


def test_correlation_of_known_curves():
    times = np.arange(100) / RATE_HZ
    sine, cosine = np.sin(2 * np.pi * times), np.cos(2 * np.pi * times)
    assert motion_metrics.correlation(3 * sine + 1, sine) == pytest.approx(1)
    assert motion_metrics.correlation(-sine, sine) == pytest.approx(-1)
    assert motion_metrics.correlation(cosine, sine) == pytest.approx(0, abs=1e-9)
    assert motion_metrics.correlation(sine + cosine, sine) == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("late_ms", [-120, -30, 0, 13, 90, 240])
def test_lag_is_found_to_a_quarter_frame_and_positive_when_late(late_ms):
    times = np.arange(300) / RATE_HZ
    fine_t, fine = speechlike(14, rate_hz=1000)
    real = np.interp(times + 1, fine_t, fine)
    rendered = np.interp(times + 1 - late_ms / 1e3, fine_t, fine)
    best = motion_metrics.best_lag(0.5 * rendered + 3, real, times)
    assert best.lag_ms == pytest.approx(late_ms, abs=10) and best.corr > 0.9


def test_lag_of_a_variable_frame_rate_is_measured_in_time_not_in_frames():
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.06], 400))
    fine_t, fine = speechlike(20, rate_hz=1000)
    real = np.interp(times + 1, fine_t, fine)
    rendered = np.interp(times + 0.92, fine_t, fine)
    assert motion_metrics.lag_ms(rendered, real, times) == pytest.approx(80, abs=12)


def test_of_peaks_nearly_as_high_the_nearest_is_the_lag():
    times = np.arange(400) / RATE_HZ
    beat = np.sin(2 * np.pi * 4 * times)
    rendered = np.interp(times - 0.04, times, beat)
    assert motion_metrics.lag_ms(rendered, beat, times) == pytest.approx(40, abs=5)


def test_a_static_mouth_has_no_lag_and_no_correlation():
    times, real = speechlike(8)
    static = np.full_like(real, 0.1)
    assert np.isnan(motion_metrics.lag_ms(static, real, times))
    assert np.isnan(motion_metrics.correlation(static, real))


def test_drift_is_per_ten_minutes():
    fine_t, fine = speechlike(130, rate_hz=200)
    times = np.arange(int(120 * RATE_HZ)) / RATE_HZ
    real = np.interp(times + 1, fine_t, fine)
    # A rate of 29.97 taken for 30 is one part in a thousand: 600 ms in ten minutes.
    rendered = np.interp(times * (1 - 1e-3) + 1, fine_t, fine)
    assert motion_metrics.drift_ms(rendered, real, times) == pytest.approx(600, rel=0.15)
    assert abs(motion_metrics.drift_ms(real, real, times)) < 1
    assert np.isnan(motion_metrics.drift_ms(rendered[:500], real[:500], times[:500]))


def test_amplitude_ratio_of_a_mouth_that_opens_half_way():
    _, real = speechlike(10)
    assert motion_metrics.amplitude_ratio(0.5 * real + 1, real) == pytest.approx(0.5)


def test_closed_gap_lies_a_fifth_of_the_way_from_closed_to_open():
    assert motion_metrics.closed_gap(np.linspace(0, 1, 1001)) == pytest.approx(0.02 + 0.2 * 0.93)


def test_closures_count_when_on_time_and_cost_when_missed_or_invented():
    times = np.arange(250) / RATE_HZ
    real = np.full(250, 0.3)
    for at in (30, 80, 140, 200):
        real[at : at + 3] = 0.0
    threshold = motion_metrics.closed_gap(np.concatenate([real, np.linspace(0, 0.4, 50)]))
    one_frame_late = np.roll(real, 1)
    never, always = np.full(250, 0.3), np.zeros(250)
    half = real.copy()
    half[130:] = 0.3

    def score(rendered):
        return motion_metrics.closure_f1(rendered, real, times, threshold)

    assert score(real) == 1.0
    assert score(one_frame_late) == 1.0
    assert score(np.roll(real, 15)) == 0.0
    assert score(never) == 0.0
    assert score(half) == pytest.approx(2 / 3, abs=0.05)
    assert score(always) < 0.3
    assert np.isnan(motion_metrics.closure_f1(real, never, times, threshold))


def test_pauses_do_not_count_as_closures():
    times = np.arange(250) / RATE_HZ
    real = np.full(250, 0.3)
    real[100:] = 0.0  # a long pause
    real[50:53] = 0.0  # and one closure in speech
    lazy = real.copy()
    lazy[50:53] = 0.3
    assert motion_metrics.closure_f1(lazy, real, times, 0.1) > 0.9
    assert motion_metrics.closure_f1(lazy, real, times, 0.1, speech=np.arange(250) < 90) == 0.0


def test_landmark_distance_is_in_inter_ocular_distances():
    times, gap = speechlike(4)
    real, rendered = mouth(gap, times), mouth(gap, times)
    rendered.lips[..., 0] += 0.03
    rendered.lips[..., 1] += 0.04
    assert motion_metrics.landmark_distance(rendered.lips, real.lips) == pytest.approx(
        0.05, abs=1e-5
    )


def test_motion_energy_of_lips_that_part_at_constant_speed():
    lips = np.zeros((20, 2, 2))
    lips[:, 1, 1] = 0.01 * np.arange(20)  # one of two points: half the speed after centring
    assert motion_metrics.motion_energy(lips, RATE_HZ) == pytest.approx((0.005 * RATE_HZ) ** 2)
    assert np.isnan(motion_metrics.motion_energy(lips[:4], RATE_HZ))


def test_energy_is_of_the_mouth_and_not_of_the_head():
    times, gap = speechlike(6)
    real = mouth(gap, times)
    static = mouth(np.full_like(gap, 0.1), times)
    nodding = static.lips + 0.1 * np.sin(times * 9)[:, None, None]
    assert motion_metrics.energy_ratio(real.lips, real.lips, RATE_HZ) == pytest.approx(1)
    assert motion_metrics.energy_ratio(nodding, real.lips, RATE_HZ) < 1e-6
    half = mouth(0.5 * gap, times)
    assert motion_metrics.energy_ratio(half.lips, real.lips, RATE_HZ) == pytest.approx(
        0.25, rel=0.02
    )


def test_jitter_rises_with_noise_and_falls_with_smoothing():
    times, gap = speechlike(6)
    real = mouth(gap, times)
    rng = np.random.default_rng(0)
    shaky = real.lips + rng.normal(0, 0.004, real.lips.shape)
    assert motion_metrics.jitter_ratio(real.lips, real.lips) == pytest.approx(1)
    assert motion_metrics.jitter_ratio(shaky, real.lips) > 1.3
    assert motion_metrics.jitter_ratio(mouth(0.3 * gap, times).lips, real.lips) < 0.5


def test_audio_dependence_tells_a_mouth_that_follows_the_audio_from_one_that_only_moves():
    times, real = speechlike(12, seed=1)
    rng = np.random.default_rng(0)
    following = real + rng.normal(0, 0.5 * real.std(), len(real))
    _, unrelated = speechlike(12, seed=7)
    dependent = motion_metrics.audio_dependence(following, real, times)
    independent = motion_metrics.audio_dependence(unrelated, real, times)
    assert dependent.p < 0.01 and dependent.gap > 0.5
    assert independent.p > 0.05
    assert np.isnan(motion_metrics.audio_dependence(real[:30], real[:30], times[:30]).p)


def test_windows_cover_everything_once():
    windows = motion_metrics.window_slices(103, 4)
    covered = np.concatenate([np.arange(103)[window] for window in windows])
    assert np.array_equal(covered, np.arange(103))
    assert {len(np.arange(103)[window]) for window in windows} == {25, 26}
