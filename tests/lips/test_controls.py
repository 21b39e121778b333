"""Every control on the trajectory, against what it promises."""

from dataclasses import replace

import numpy as np
import pytest

from heygem import lips
from heygem.config.params import LipsSettings

PLAIN = LipsSettings(silence_gate=False)


def test_openness_and_width_are_exact_and_leave_each_other_alone(trajectory):
    wide = lips.apply_controls(trajectory, PLAIN.model_copy(update={"width_gain": 1.5}))
    np.testing.assert_allclose(wide.width(), 1.5 * trajectory.width(), atol=1e-5)
    np.testing.assert_allclose(wide.aperture(), trajectory.aperture(), atol=1e-5)
    open_ = lips.apply_controls(trajectory, PLAIN.model_copy(update={"openness_gain": 0.5}))
    np.testing.assert_allclose(open_.aperture(), 0.5 * trajectory.aperture(), atol=1e-5)
    np.testing.assert_allclose(open_.width(), trajectory.width(), atol=1e-5)


def test_opening_scale_scales_all_coefficients(trajectory):
    bigger = lips.apply_controls(trajectory, PLAIN, opening_scale=1.3)
    np.testing.assert_allclose(bigger.coefficients, 1.3 * trajectory.coefficients, rtol=1e-5)


@pytest.mark.parametrize("offset_ms", [40.0, -60.0])
def test_positive_offset_is_a_later_mouth(trajectory, offset_ms):
    moved = lips.apply_controls(trajectory, PLAIN.model_copy(update={"offset_ms": offset_ms}))
    rows = round(offset_ms / 20)
    inner = slice(10, -10)
    np.testing.assert_allclose(
        moved.coefficients[inner], np.roll(trajectory.coefficients, rows, 0)[inner], atol=1e-5
    )


def test_smoothing_reduces_acceleration_without_delay(trajectory):
    smooth = lips.apply_controls(trajectory, PLAIN.model_copy(update={"smoothing_ms": 120.0}))
    assert (
        np.square(np.diff(smooth.coefficients, 2, axis=0)).sum()
        < 0.7 * np.square(np.diff(trajectory.coefficients, 2, axis=0)).sum()
    )
    a, b = smooth.coefficients[10:-10, 5], trajectory.coefficients[:, 5]
    lags = [np.corrcoef(a, b[10 + k : len(b) - 10 + k])[0, 1] for k in (-2, -1, 0, 1, 2)]
    assert np.argmax(lags) == 2


def test_closure_closes_the_narrowest_tenth_of_speech_and_no_open_mouth(trajectory):
    gap = trajectory.aperture()
    lifted = replace(
        trajectory,
        coefficients=trajectory.coefficients
        + np.outer(
            0.03 - gap.min() + 0 * gap,
            np.linalg.pinv(lips.aperture_direction(trajectory.basis)[None])[:, 0],
        ).astype(np.float32),
    )
    gap = lifted.aperture()  # lips that never meet
    assert gap.min() > 0.02
    closed = lips.apply_controls(lifted, PLAIN.model_copy(update={"closure": 1.0})).aperture()
    assert 0.04 < (closed < 0.003).mean() < 0.3 and closed.min() > -1e-4
    wide = gap > np.quantile(gap, 0.9)
    np.testing.assert_allclose(closed[wide], gap[wide], rtol=0.1)
    assert np.corrcoef(closed, gap)[0, 1] > 0.97
    unchanged = lips.apply_controls(lifted, PLAIN.model_copy(update={"closure": 0.0})).aperture()
    np.testing.assert_allclose(unchanged, gap, atol=1e-5)


def test_silence_rests_the_mouth_and_breaths_do_not(trajectory):
    voice = np.zeros(300, np.float32)
    voice[60:120] = 1  # words
    voice[120:180] = 0  # a breath of 600 ms
    voice[180:200] = 1
    voice[270] = 1  # a click
    still = lips.apply_controls(trajectory, LipsSettings(), voice).coefficients
    assert not still[:18].any() and not still[120:].any()
    np.testing.assert_allclose(still[30:100], trajectory.coefficients[30:100], atol=1e-6)


def test_apertures_approach_the_limit_and_small_ones_are_unchanged(trajectory):
    aperture = trajectory.aperture()
    widest = 0.8 * aperture.max()
    limited = lips.limit_aperture(trajectory, widest)
    small = aperture <= 0.75 * widest
    np.testing.assert_array_equal(limited.coefficients[small], trajectory.coefficients[small])
    assert limited.aperture().max() < widest
    order = np.argsort(aperture)
    assert (np.diff(limited.aperture()[order]) > -1e-6).all()
    over = ~small  # the whole shape is scaled, not the aperture alone
    ratio = limited.aperture()[over] / aperture[over]
    np.testing.assert_allclose(limited.width()[over], ratio * trajectory.width()[over], atol=1e-6)
