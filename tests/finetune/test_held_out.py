"""The choice between base and fit, and the gain that is reported, come from different seconds."""

import numpy as np
import pytest

from heygem.finetune.held_out import JudgedPart, agreement_before_and_after, is_improvement

LEAST = 0.01


def judged(quality):
    """One part of each fold, in which the fit correlates with the real mouth by about `quality`."""
    parts = []
    for fold, share in enumerate(quality):
        rng = np.random.default_rng(fold)
        real, error, other = rng.normal(size=(3, 400))
        after = share * real + np.sqrt(1 - share**2) * error
        parts.append(JudgedPart(fold, real, 0.5 * real + other, after, np.ones(400, bool)))
    return parts


def test_a_gain_in_one_fold_only_is_not_reported():
    parts = judged([0.99, 0.45, 0.44, 0.46])
    before, after = agreement_before_and_after(parts, LEAST)
    assert after.correlation <= before.correlation + LEAST  # the others would have kept the base


def test_a_gain_in_every_fold_is_chosen_and_reported():
    parts = judged([0.8, 0.85, 0.8, 0.85])
    before, after = agreement_before_and_after(parts, LEAST)
    assert is_improvement(parts, LEAST)
    assert after.correlation > before.correlation + 0.2


def test_where_the_others_keep_the_base_a_fold_is_that_of_the_base():
    parts = judged([0.99, 0.1, 0.1, 0.1])
    before, after = agreement_before_and_after(parts, LEAST)
    assert after.correlation == pytest.approx(before.correlation, abs=0.02)
