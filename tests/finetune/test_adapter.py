"""Adapters: what they add to the base model, and their files."""

import numpy as np
import pytest
from helpers.finetune import QUICK, speaker, unlike

from heygem.core.errors import AssetError
from heygem.finetune import adapter
from heygem.finetune.adapt import adapt

pytestmark = pytest.mark.slow


@pytest.fixture
def features(utterances):
    return utterances[0].features[:400]


def zero(base, **changes):
    """An adapter that changes nothing, but for `changes`."""
    head = base.networks[0].weights["head.weight"]
    weights = np.zeros((len(base.networks), *head.shape[:2]), np.float32)
    numbers = {"scale": 1.0, "spread": 1.0, "opening_std": 0.05}
    bias = np.zeros(len(base.basis), np.float32)
    return adapter.Adapter(**{"weights": weights, "bias": bias, **numbers, **changes})


@pytest.mark.slow
def test_scale_bias_and_spread_act_on_the_prediction(base, features):
    plain = base.predict_features(features).coefficients
    bias = np.linspace(-1, 1, len(base.basis)).astype(np.float32)
    model = zero(base, scale=0.5, bias=bias, spread=2.0).apply(base)
    changed = model.predict_features(features).coefficients
    np.testing.assert_allclose(changed, 2.0 * (0.5 * plain + bias), atol=1e-4)
    assert model.opening_std == 0.05
    np.testing.assert_array_equal(base.predict_features(features).coefficients, plain)


def test_weights_are_added_to_the_prediction_as_fitted(base, utterances, features):

    hidden, plain = base.hidden_and_coefficients(features)
    weights = np.random.default_rng(0).normal(0, 1e-3, zero(base).weights.shape)
    weights = weights.astype(np.float32)
    model = zero(base, weights=weights).apply(base)
    added = hidden @ np.concatenate(list(weights.transpose(0, 2, 1)))
    changed = model.predict_features(features).coefficients
    np.testing.assert_allclose(changed, plain + added, atol=1e-3 * np.abs(added).max() + 1e-4)


@pytest.mark.slow
def test_an_adapter_file_belongs_to_its_base(base, utterances, tmp_path):
    adaptation = adapt(base, speaker(base, utterances, unlike(base)), QUICK)
    path = tmp_path / "adapter.safetensors"
    adapter.save(adaptation.adapter, path, base_sha256="a" * 64)
    loaded = adapter.load(path, base, base_sha256="a" * 64)
    features = utterances[0].features
    one, other = (m.predict_features(features).coefficients for m in (adaptation.model, loaded))
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert path.stat().st_size < 1e6  # some ten thousand numbers
    with pytest.raises(AssetError, match="heygem finetune"):
        adapter.load(path, base, base_sha256="b" * 64)
    path.write_bytes(b"no adapter")
    with pytest.raises(AssetError, match="cannot read"):
        adapter.load(path, base, base_sha256="a" * 64)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"bias": np.float32("nan")}, r"bias holds values .*NaN"),
        ({"scale": float("nan")}, "numbers holds values"),
        ({"weights": np.zeros((1, 2, 3), np.float32)}, r"weights of \(1, 2, 3\)"),
    ],
)
def test_an_adapter_that_is_not_finite_or_of_another_shape_is_refused(
    changes, match, base, tmp_path
):
    if "bias" in changes:
        changes = {"bias": np.full(len(base.basis), changes["bias"])}
    path = tmp_path / "adapter.safetensors"
    adapter.save(zero(base, **changes), path, base_sha256="a" * 64)
    with pytest.raises(AssetError, match=match):
        adapter.load(path, base, base_sha256="a" * 64)
