"""The loss against values computed by hand."""

import numpy as np
import pytest
import torch

from heygem.training.loss import MIN_STD, WIDTH_WEIGHT, correlation_loss, motion_loss

ALL_VALID = torch.ones(1, 4, dtype=torch.bool)


def loss(predicted, target, valid=ALL_VALID, *, weights=(1.0,), correlation_weight=0.0):
    count = predicted.shape[-1]
    return float(
        motion_loss(
            predicted,
            target,
            valid,
            weights=torch.tensor(weights),
            measures=torch.eye(count, 2),
            correlation_weight=correlation_weight,
        )
    )


def test_error_and_velocity_error_by_hand():
    target = torch.zeros(1, 4, 1)
    predicted = torch.tensor([0.0, 1.0, 1.0, 3.0]).reshape(1, 4, 1)
    # |error|: (0 + 1 + 1 + 3) / 4; |velocity|: (1 + 0 + 2) / 3
    assert loss(predicted, target) == pytest.approx(5 / 4 + 3 / 3)


def test_coefficients_are_weighted_and_invalid_rows_do_not_count():
    target = torch.zeros(1, 4, 2)
    predicted = torch.zeros(1, 4, 2)
    predicted[..., 0], predicted[..., 1] = 1.0, 10.0
    assert loss(predicted, target, weights=(1.0, 0.1)) == pytest.approx((4 * 1 + 4 * 1) / 8)
    valid = torch.tensor([[True, True, False, False]])
    predicted[:, 2:] = 100.0
    assert loss(predicted, target, valid, weights=(1.0, 0.1)) == pytest.approx((2 + 2) / 8)


def test_correlation_is_part_of_the_loss_by_its_weight():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 50, 2, generator=generator)
    predicted = torch.randn(2, 50, 2, generator=generator)
    valid = torch.ones(2, 50, dtype=torch.bool)
    plain = loss(predicted, target, valid, weights=(1.0, 1.0))
    whole = loss(predicted, target, valid, weights=(1.0, 1.0), correlation_weight=3.0)
    r = [
        [np.corrcoef(predicted[b, :, m], target[b, :, m])[0, 1] for b in range(2)] for m in range(2)
    ]
    aperture, width = 1 - np.mean(r, 1)
    assert whole == pytest.approx(plain + 3 * (aperture + WIDTH_WEIGHT * width), abs=1e-4)


def test_correlation_ignores_scale_and_offset():
    real = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 100, 2)))
    valid = torch.ones(3, 100, dtype=torch.bool)
    assert correlation_loss(0.2 * real + 5, real, valid).max() < 0.01
    assert abs(correlation_loss(-real, real, valid) - 2).max() < 0.01


def test_correlation_is_that_of_the_valid_rows():
    real = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 100, 2)))
    half = torch.ones(3, 100, dtype=torch.bool)
    half[:, 50:] = False
    dubbed = torch.where(half[..., None], real, torch.flip(real, [1]))
    assert correlation_loss(dubbed, real, half).max() < 0.01


def test_windows_with_a_mouth_at_rest_do_not_count():
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(2, 100, 1, generator=generator)
    valid = torch.ones(2, 100, dtype=torch.bool)
    assert correlation_loss(real, real * 1e-3, valid).max() == 0
    flat = real.clone()
    flat[1] *= 0.9 * MIN_STD / real[1].std()
    predicted = flat.clone()
    predicted[1] *= -1  # opposite motion, in the flat window only
    assert correlation_loss(predicted, flat, valid).max() < 0.01
