"""The lag of a clip, and whether its sound is that of its picture, where both are known."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.training import MOUTH, prediction, talking

from heygem.training.sync import SyncCheck, check_sync


def moving(clip, opening, width):
    """The clip with the mouth of two curves, float [N]."""
    curves = np.stack([opening, width], 1).astype(np.float32)
    return replace(clip, displacement=np.einsum("tk,knd->tnd", curves, MOUTH))


@pytest.mark.parametrize(
    ("check", "verdict", "correction_s"),
    [
        (SyncCheck(0.02, 0.6, 2.0, 0.6), "ok", 0.02),
        (SyncCheck(0.16, 0.6, 2.0, 0.1), "shifted", 0.16),
        (SyncCheck(0.40, 0.6, 2.0, 0.1), "off", 0.0),  # too far to be corrected
        (SyncCheck(0.00, 0.6, 0.1, 0.3), "ok", 0.0),  # no clear peak, but it correlates
        (SyncCheck(0.00, 0.1, 2.0, 0.1), "off", 0.0),
    ],
)
def test_verdict(check, verdict, correction_s):
    assert (check.verdict, check.correction_s) == (verdict, correction_s)


def test_sync_check_measures_the_lag_of_a_late_picture():
    clip = talking("a", 1, seconds=10.0)
    (check,) = check_sync([clip], [prediction(np.roll(clip.aperture, -5))])
    assert check.verdict == "shifted" and check.lag_s == pytest.approx(0.1)


def test_sync_check_rejects_somebody_elses_sound():
    clip, other = talking("a", 1), talking("b", 2)
    (check,) = check_sync([clip], [prediction(other.aperture[: len(clip.valid)])])
    assert check.verdict == "off" and check.correction_s == 0


def test_the_width_of_a_mouth_tells_a_lag_that_its_aperture_does_not():
    clip, rounding = talking("a", 1, seconds=4.0), talking("b", 2, seconds=4.0).aperture
    unrelated = np.random.default_rng(3).normal(size=len(rounding)) * rounding.std()
    clip = moving(clip, unrelated, np.roll(rounding, 4))
    (check,) = check_sync([clip], [prediction(talking("c", 4, seconds=4.0).aperture, rounding)])
    assert check.lag_s == pytest.approx(0.08)


def test_short_clips_of_one_speaker_have_one_verdict_and_lags_of_their_own():
    clips = [talking("a", seed, seconds=4.0) for seed in (1, 2)] + [talking("b", 3, seconds=4.0)]
    predicted = [
        prediction(np.roll(clips[0].aperture, -3)),
        prediction(np.roll(clips[1].aperture, 2)),
        prediction(np.zeros(200)),
    ]
    first, second, third = check_sync(clips, predicted)
    assert first.peak == second.peak != third.peak
    assert (first.lag_s, second.lag_s) == (pytest.approx(0.06), pytest.approx(-0.04))


def test_a_lag_is_not_invented_where_a_second_says_little():
    rng = np.random.default_rng(0)
    clip = talking("a", 1, seconds=2.0)
    weak = clip.aperture + 3 * clip.aperture.std() * rng.normal(size=100)
    (check,) = check_sync([clip], [prediction(np.roll(weak, 20))])
    assert abs(check.lag_s) < 0.1
