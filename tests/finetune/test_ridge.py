"""The ridge regression against closed-form solutions by numpy."""

import numpy as np
import pytest

from heygem.finetune.ridge import SCALE_LIMITS, Folds, Ridge, choose_penalty

ROWS, FEATURES, OUTPUTS = 400, 6, 3
DIRECTION = np.array([1.0, 0.0, 0.0])


@pytest.fixture
def data():
    """Features, base and target with target = 0.8 base + features @ weights + 0.3 + noise."""
    rng = np.random.default_rng(0)
    features = rng.normal(2.0, rng.uniform(0.5, 3, FEATURES), (ROWS, FEATURES))
    base = rng.normal(size=(ROWS, OUTPUTS))
    weights = rng.normal(0, 0.1, (FEATURES, OUTPUTS))
    target = 0.8 * base + features @ weights + 0.3 + rng.normal(0, 0.05, (ROWS, OUTPUTS))
    return [v.astype(np.float32) for v in (features, base, target)]


def prepared(data, *, folds=4, gap=0, preserved=None):
    features, base, target = data
    ridge = Ridge(Folds.split([np.ones(ROWS, bool)], folds, gap), DIRECTION)
    ridge.add(features, base, target)
    if preserved is not None:
        ridge.preserve(preserved, weight=1.0)
    ridge.prepare(lambda: None)
    return ridge


def standardized(features):
    """The features in the coordinates in which the penalty is isotropic."""
    sample = features[::2]
    return (features - sample.mean(0)) / (sample.std(0) + 1e-6)


def closed_form(features, residual, penalty):
    """Weights of ridge regression with an intercept: (X'X + n penalty I)^-1 X'y about the means."""
    x, y = features - features.mean(0), residual - residual.mean(0)
    gram = x.T @ x + penalty * len(x) * np.eye(x.shape[1])
    return np.linalg.solve(gram, x.T @ y)


def test_without_a_penalty_it_is_least_squares(data):
    features, base, target = data
    scale, weights, bias = prepared(data).fit([1e-9])[0]
    design = np.column_stack([features, np.ones(ROWS)])
    expected, *_ = np.linalg.lstsq(design, target - scale * base, rcond=None)
    np.testing.assert_allclose(weights, expected[:-1], atol=1e-3)
    np.testing.assert_allclose(bias, expected[-1], atol=5e-3)


@pytest.mark.parametrize("penalty", [0.01, 0.3, 10.0])
def test_with_a_penalty_it_is_the_closed_form_on_standardized_features(data, penalty):
    features, base, target = data
    scale, weights, bias = prepared(data).fit([penalty])[0]
    z = standardized(features.astype(np.float64))
    expected = closed_form(z, target - scale * base, penalty)
    predicted = features @ weights + bias
    residual_mean = (target - scale * base).mean(0)
    np.testing.assert_allclose(predicted, (z - z.mean(0)) @ expected + residual_mean, atol=2e-3)


def test_the_scale_is_least_squares_on_the_base_alone(data):
    _, base, target = data
    scale = prepared(data).fit([1.0])[0][0]
    b, y = base[:, 0] - base[:, 0].mean(), target[:, 0] - target[:, 0].mean()
    assert scale == pytest.approx(b @ y / (b @ b), rel=1e-3)
    features, base, target = data
    wild = prepared((features, base, 100 * base)).fit([1.0])[0][0]
    assert wild == SCALE_LIMITS[1]


def test_an_infinite_penalty_leaves_the_scaled_base(data):
    features, base, target = data
    ridge = prepared(data)
    solution = ridge.fit([1e9])[0]
    assert np.abs(solution[1]).max() < 1e-6
    predicted = ridge.predict(solution, 0)
    expected = solution[0] * (base - base.mean(0)) + target.mean(0)
    np.testing.assert_allclose(predicted, expected, atol=2e-3)


def test_preserved_rows_pull_the_change_towards_zero(data):
    features, base, target = data
    target = target - target.mean(0)  # no constant to be preserved against
    free = prepared((features, base, target)).fit([0.1])[0]
    preserved = np.tile(features, (10, 1))
    held = prepared((features, base, target), preserved=preserved).fit([0.1])[0]
    assert np.abs(held[1]).max() < 0.5 * np.abs(free[1]).max()
    # Eleven times the rows, a change wanted in one of them: a weighted closed form.
    z = standardized(np.concatenate([features, preserved]).astype(np.float64))
    sample = features[::2]
    z = (np.concatenate([features, preserved]) - sample.mean(0)) / (sample.std(0) + 1e-6)
    change = np.concatenate([target - held[0] * base, np.zeros((len(preserved), OUTPUTS))])
    expected = closed_form(z.astype(np.float64), change, 0.1)
    np.testing.assert_allclose(held[1] * (sample.std(0) + 1e-6)[:, None], expected, atol=2e-3)


def test_leaving_a_fold_out_equals_fitting_the_rest(data):
    features, base, target = data
    gap = 10
    ridge = prepared(data, folds=4, gap=gap)
    without = ridge.fit([0.5], (1,))[0]
    rest = np.ones(ROWS, bool)
    rest[100 - gap : 200 + gap] = False
    z = standardized(features.astype(np.float64))
    expected = closed_form(z[rest], (target - without[0] * base)[rest], 0.5)
    std = features[::2].std(0) + 1e-6
    np.testing.assert_allclose(without[1] * std[:, None], expected, atol=2e-3)


def test_folds_have_equally_many_valid_rows_over_all_clips():
    valid = [np.ones(70, bool), np.ones(50, bool)]
    valid[0][:20] = False
    folds = Folds.split(valid, 4, gap=3)
    index = np.concatenate(folds.index)
    assert (index[:20] == -1).all()
    assert np.bincount(index[20:]).tolist() == [25, 25, 25, 25]
    assert (np.diff(index[20:]) >= 0).all()


def test_rows_beside_a_fold_are_left_out_with_it():
    folds = Folds.split([np.ones(40, bool)], 4, gap=3)
    excluded = folds.excluded_by(0)
    assert excluded[5] == {0}
    assert excluded[8] == {0, 1} and excluded[12] == {0, 1} and excluded[13] == {1}
    assert folds.excluded_by(0)[39] == {3}


def test_cross_validation_predicts_unseen_folds_and_rates_penalties(data):
    _, base, target = data
    penalties = [1e-3, 1.0, 1e6]
    calls = []
    correlations, held_out = prepared(data, gap=5).cross_validate(
        penalties, lambda: calls.append(1)
    )
    assert len(calls) == 4 + 6  # single folds and pairs
    assert correlations[0] > 0.99 > correlations[2]
    in_folds = held_out[0][:, 0]
    assert np.corrcoef(in_folds, target[:, 0])[0, 1] > 0.99
    assert not np.allclose(in_folds, base[:, 0], atol=0.1)


def test_held_out_predictions_do_not_use_their_own_fold(data):
    features, base, target = data
    changed = target.copy()
    changed[100:200] += 50.0  # fold 1
    before = prepared(data).cross_validate([1.0], lambda: None)[1][0]
    after = prepared((features, base, changed)).cross_validate([1.0], lambda: None)[1][0]
    np.testing.assert_allclose(before[100:200], after[100:200], atol=1e-2)
    assert np.abs(before - after).max() > 1  # other folds do use it


def test_of_equally_good_penalties_the_largest_is_chosen():
    assert choose_penalty(np.array([0.70, 0.80, 0.799, 0.796, 0.79])) == 3
    assert choose_penalty(np.array([0.9, 0.5, 0.4])) == 0
