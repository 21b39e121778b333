"""Agreement of curves whose answer is known."""

import numpy as np
import pytest

from heygem.training import metrics


@pytest.fixture
def curve():
    noise = np.random.default_rng(0).normal(size=1000)
    return np.convolve(noise, np.hanning(9), "same")


ALL = np.ones(1000, bool)


def test_lag_curve_peaks_where_the_second_curve_is_later(curve):
    lags, correlations = metrics.lag_curve(curve, np.roll(curve, 6), ALL)
    assert lags[0] == -0.5 and lags[-1] == 0.5
    assert lags[correlations.argmax()] == pytest.approx(0.12)
    assert correlations.max() > 0.97


def test_agreement_of_a_scaled_and_delayed_curve(curve):
    late = metrics.agreement([(0.5 * curve + 3, np.roll(curve, 2), ALL)])
    assert late.lag_ms == pytest.approx(40)
    assert late.ratio == pytest.approx(0.5, abs=0.01)
    assert late.seconds == 20
    assert late.aligned > 0.99 > late.correlation
    assert late.correlation == pytest.approx(np.corrcoef(curve, np.roll(curve, 2))[0, 1])


def test_the_best_lag_is_no_worse_than_none_whatever_the_clips_weigh(curve):
    rng = np.random.default_rng(5)
    loud, soft = curve[:500], 0.01 * rng.normal(size=500)
    pairs = [(loud, loud + 0.3 * rng.normal(size=500), ALL[:500])]
    pairs.append((soft, rng.normal(size=500), ALL[500:]))  # a clip that fits at no lag
    pooled = metrics.agreement(pairs)
    assert pooled.aligned >= pooled.correlation > 0.5
    assert pooled.lag_ms == 0 and pooled.aligned == pytest.approx(pooled.correlation)


def test_agreement_pools_clips_about_their_own_means(curve):
    first, second = curve[:400], curve[400:] + 100
    pooled = metrics.agreement(
        [(first, first, ALL[:400]), (second, second, ALL[400:]), (first, -first, ALL[:400] & False)]
    )
    assert pooled.correlation == pytest.approx(1)
    assert pooled.seconds == 20
    assert metrics.agreement([]).seconds == 0
